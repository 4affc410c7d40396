"""Figure 4, Deep ConvRFM against the network, layer by layer."""


rule transform_layers:
    input:
        unpack(layer_source),
        fit=lambda w: layer_run(w, "rfm", "arrays"),
        history=lambda w: layer_run(w, "rfm", "metrics"),
        network=lambda w: layer_run(w, "cnn", "arrays"),
    output:
        **run_files("layers", ["dataset", "seed"]),
    log:
        run_log("layers", ["dataset", "seed"]),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("transform_layers"),
    params:
        settings=layer_settings,
        code=closure_hash("convrfm.pipeline.jobs.layer_pictures"),
    script:
        "../scripts/transform_layers.py"


rule draw_fig04:
    input:
        states=lambda w: absent_data(FIG04_TASKS),
        metrics=lambda w: fig04_runs(w.protocol, "metrics"),
        records=lambda w: fig04_runs(w.protocol, "record"),
        arrays=lambda w: fig04_runs(w.protocol, "arrays"),
    output:
        **figure_outputs("fig04", "Figure 4: layer by layer"),
    log:
        figure_log("fig04"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig04"),
    params:
        settings=lambda w: figure_settings(w.protocol, FIG04_TASKS),
        code=closure_hash("convrfm.pipeline.jobs.fig04"),
    script:
        "../scripts/draw_fig04.py"
