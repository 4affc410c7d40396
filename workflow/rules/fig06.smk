"""Figure 6, the methods over many data sets, and over pairs of classes."""


rule fit_images:
    input:
        images=image_files,
    output:
        **run_files("image-rfm", ["dataset", "classes", "seed"]),
    log:
        run_log("image-rfm", ["dataset", "classes", "seed"]),
    # The longest jobs first.
    priority: 10
    group:
        swarm
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("fit_images", image_memory),
    params:
        settings=image_fit_settings,
        code=closure_hash("convrfm.pipeline.jobs.rfm"),
    script:
        "../scripts/fit_rfm.py"


rule train_images:
    input:
        images=image_files,
    output:
        **run_files("image-cnn", ["dataset", "classes", "seed"]),
    log:
        run_log("image-cnn", ["dataset", "classes", "seed"]),
    group:
        swarm
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_images", image_memory),
    params:
        settings=image_training_settings,
        code=closure_hash("convrfm.pipeline.jobs.cnn"),
    script:
        "../scripts/train_cnn.py"


rule draw_fig06:
    input:
        states=lambda w: absent_data(TASKS["fig06"]),
        metrics=lambda w: fig06_runs(w.protocol, "metrics"),
        records=lambda w: fig06_runs(w.protocol, "record"),
        counts=lambda w: fig06_counts(w.protocol),
    output:
        **figure_outputs("fig06", "Figure 6: many data sets"),
    log:
        figure_log("fig06"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig06"),
    params:
        settings=lambda w: fig06_settings(w.protocol),
        code=closure_hash("convrfm.pipeline.jobs.fig06"),
    script:
        "../scripts/draw_fig06.py"


rule draw_fig06_pairs:
    input:
        states=lambda w: absent_data(PAIR_TASKS),
        metrics=lambda w: fig06_pair_runs(w.protocol, "metrics"),
        records=lambda w: fig06_pair_runs(w.protocol, "record"),
        counts=lambda w: fig06_pair_counts(w.protocol),
    output:
        **figure_outputs("fig06_pairs", "Figure 6: many data sets"),
    log:
        figure_log("fig06_pairs"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig06_pairs"),
    params:
        settings=lambda w: figure_settings(w.protocol, PAIR_TASKS),
        code=closure_hash("convrfm.pipeline.jobs.fig06_pairs"),
    script:
        "../scripts/draw_fig06_pairs.py"
