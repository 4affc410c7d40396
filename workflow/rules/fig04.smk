"""Figure 4, Deep ConvRFM against the network, layer by layer."""


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
        settings=run_settings("layers"),
        code=run_code("layers"),
    script:
        "../scripts/transform_layers.py"


rule draw_fig04:
    input:
        **figure_inputs("fig04"),
    output:
        **figure_outputs("fig04", "Figure 4: layer by layer"),
    log:
        figure_log("fig04"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig04"),
    params:
        settings=figure_slice("fig04"),
        code=figure_code("fig04"),
    script:
        "../scripts/draw_fig04.py"
