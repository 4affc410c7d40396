"""The runs: fits of kernels, training of networks, the ansatz in them, and images through their layers."""


rule fit_rfm:
    input:
        **run_inputs("rfm"),
    output:
        **run_files("rfm"),
    log:
        run_log("rfm"),
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: threads_of("fit_rfm")
    resources:
        **needs("fit_rfm"),
    params:
        **run_params("rfm"),
    script:
        "../scripts/job.py"


rule fit_features:
    input:
        **run_inputs("features"),
    output:
        **run_files("features"),
    log:
        run_log("features"),
    conda:
        ENVIRONMENT
    threads: threads_of("fit_features")
    resources:
        **needs("fit_features"),
    params:
        **run_params("features"),
    script:
        "../scripts/job.py"


rule train_feature_network:
    input:
        **run_inputs("feature-network"),
    output:
        **run_files("feature-network"),
    log:
        run_log("feature-network"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_feature_network"),
    params:
        **run_params("feature-network"),
    script:
        "../scripts/job.py"


STEP_LOGS = f"{RESULTS}/logs/steps/{{experiment}}/{{protocol}}/{{run}}"


rule fill_gram:
    input:
        draw=asked_often(step_draw, PLAN),
        rounds=asked_often(step_rounds, PLAN),
    output:
        train=temp(part_pattern(RESULTS, "train")),
        test=temp(part_pattern(RESULTS, "test")),
    log:
        f"{STEP_LOGS}/{{stage}}-{{round}}.part-{{part}}-of-{{parts}}.log",
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: threads_of("fill_gram")
    resources:
        **needs("fill_gram"),
    params:
        **job_params("convrfm.replication.jobs.fits:fill_gram", asked_often(step_settings, PLAN)),
    script:
        "../scripts/job.py"


rule fit_round:
    input:
        draw=asked_often(step_draw, PLAN),
        rounds=asked_often(step_rounds, PLAN),
        parts=asked_often(step_parts, PLAN),
    output:
        round=temp(round_pattern(RESULTS)),
    log:
        f"{STEP_LOGS}/round-{{stage}}-{{round}}.log",
    priority: 10
    conda:
        ENVIRONMENT
    threads: threads_of("fit_round")
    resources:
        **needs("fit_round"),
    params:
        **job_params("convrfm.replication.jobs.fits:fit_round", asked_often(step_settings, PLAN)),
    script:
        "../scripts/job.py"


rule train_cnn:
    input:
        **run_inputs("cnn"),
    output:
        **run_files("cnn"),
    log:
        run_log("cnn"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_cnn"),
    params:
        **run_params("cnn"),
    script:
        "../scripts/job.py"


rule train_standin:
    input:
        **run_inputs("standin"),
    output:
        **run_files("standin"),
    log:
        run_log("standin"),
    # The longest way to a figure; and while one kernel fit compiles what all of them run, the other core trains.
    priority: 20
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_standin"),
    params:
        **run_params("standin"),
    script:
        "../scripts/job.py"


rule measure_ansatz:
    input:
        **run_inputs("ansatz"),
    output:
        **run_files("ansatz"),
    log:
        run_log("ansatz"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("measure_ansatz"),
    params:
        **run_params("ansatz"),
    script:
        "../scripts/job.py"


rule transform_images:
    input:
        **run_inputs("transformed"),
    output:
        **run_files("transformed"),
    log:
        run_log("transformed"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("transform_images"),
    params:
        **run_params("transformed"),
    script:
        "../scripts/job.py"


rule transform_layers:
    input:
        **run_inputs("layers"),
    output:
        **run_files("layers"),
    log:
        run_log("layers"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("transform_layers"),
    params:
        **run_params("layers"),
    script:
        "../scripts/job.py"


rule fit_images:
    input:
        **run_inputs("image-rfm"),
    output:
        **run_files("image-rfm"),
    log:
        run_log("image-rfm"),
    # The longest jobs first.
    priority: 10
    group:
        swarm
    conda:
        ENVIRONMENT
    threads: threads_of("fit_images")
    resources:
        **needs("fit_images"),
    params:
        **run_params("image-rfm"),
    script:
        "../scripts/job.py"


rule train_images:
    input:
        **run_inputs("image-cnn"),
    output:
        **run_files("image-cnn"),
    log:
        run_log("image-cnn"),
    group:
        swarm
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_images"),
    params:
        **run_params("image-cnn"),
    script:
        "../scripts/job.py"


rule train_simplenet:
    input:
        **run_inputs("simplenet"),
    output:
        **run_files("simplenet"),
    log:
        run_log("simplenet"),
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_simplenet", simplenet_memory),
    params:
        **run_params("simplenet"),
    script:
        "../scripts/job.py"


rule measure_simplenet:
    input:
        **run_inputs("simplenet-ansatz"),
    output:
        **run_files("simplenet-ansatz"),
    log:
        run_log("simplenet-ansatz"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("measure_simplenet", simplenet_memory),
    params:
        **run_params("simplenet-ansatz"),
    script:
        "../scripts/job.py"


rule train_shallow:
    input:
        **run_inputs("shallow"),
    output:
        **run_files("shallow"),
    log:
        run_log("shallow"),
    wildcard_constraints:
        architecture="[A-Za-z0-9]+",
        patch_size=r"\d+",
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_shallow"),
    params:
        **run_params("shallow"),
    script:
        "../scripts/job.py"


use rule draw as draw_sized with:
    input:
        **run_inputs("sized-draw"),
    output:
        **run_files("sized-draw"),
    log:
        run_log("sized-draw"),
    resources:
        **needs("draw_sized"),
    params:
        **run_params("sized-draw"),


use rule fit_rfm as fit_variant with:
    input:
        **run_inputs("variant"),
    output:
        **run_files("variant"),
    log:
        run_log("variant"),
    threads: threads_of("fit_variant")
    resources:
        **needs("fit_variant"),
    params:
        **run_params("variant"),


use rule fit_variant as fit_printed with:
    input:
        **run_inputs("printed-rfm"),
    output:
        **run_files("printed-rfm"),
    log:
        run_log("printed-rfm"),
    threads: threads_of("fit_printed")
    resources:
        **needs("fit_printed"),
    params:
        **run_params("printed-rfm"),


use rule fit_features as fit_sized_features with:
    input:
        **run_inputs("sized-features"),
    output:
        **run_files("sized-features"),
    log:
        run_log("sized-features"),
    threads: threads_of("fit_sized_features")
    resources:
        **needs("fit_sized_features"),
    params:
        **run_params("sized-features"),


use rule train_feature_network as train_sized_network with:
    input:
        **run_inputs("sized-feature-network"),
    output:
        **run_files("sized-feature-network"),
    log:
        run_log("sized-feature-network"),
    resources:
        **needs("train_sized_network"),
    params:
        **run_params("sized-feature-network"),
