"""Figure 2, images through the matrices of each layer."""


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
        settings=run_settings("transformed"),
        code=run_code("transformed"),
    script:
        "../scripts/transform_images.py"


rule draw_fig02:
    input:
        **figure_inputs("fig02"),
    output:
        **figure_outputs("fig02", "Figure 2: images through the matrices of each layer"),
    log:
        figure_log("fig02"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig02"),
    params:
        settings=figure_slice("fig02"),
        code=figure_code("fig02"),
    script:
        "../scripts/draw_fig02.py"
