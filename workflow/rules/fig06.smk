"""Figure 6, the methods over many data sets, and over pairs of classes."""


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
        settings=run_settings("image-rfm"),
        code=run_code("image-rfm"),
    script:
        "../scripts/fit_rfm.py"


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
        settings=run_settings("image-cnn"),
        code=run_code("image-cnn"),
    script:
        "../scripts/train_cnn.py"


rule draw_fig06:
    input:
        **figure_inputs("fig06"),
    output:
        **figure_outputs("fig06", "Figure 6: many data sets"),
    log:
        figure_log("fig06"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig06"),
    params:
        settings=figure_slice("fig06"),
        code=figure_code("fig06"),
    script:
        "../scripts/draw_fig06.py"


rule draw_fig06_pairs:
    input:
        **figure_inputs("fig06_pairs"),
    output:
        **figure_outputs("fig06_pairs", "Figure 6: many data sets"),
    log:
        figure_log("fig06_pairs"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig06_pairs"),
    params:
        settings=figure_slice("fig06_pairs"),
        code=figure_code("fig06_pairs"),
    script:
        "../scripts/draw_fig06_pairs.py"
