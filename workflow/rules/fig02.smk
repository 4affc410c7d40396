"""Figure 2, images through the matrices of each layer."""


rule transform_images:
    input:
        images=lambda w: list(fig02_sources(w.protocol, w.network, w.seed).values()),
        measured=lambda w: run_file("ansatz", w.protocol, "arrays", network=w.network, seed=w.seed),
        states=zoo_states,
        training=zoo_training,
    output:
        **run_files("transformed", ["network", "seed"]),
    log:
        run_log("transformed", ["network", "seed"]),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("transform_images"),
    params:
        settings=transformed_settings,
        code=closure_hash("convrfm.pipeline.jobs.transformed"),
    script:
        "../scripts/transform_images.py"


rule draw_fig02:
    input:
        states=lambda w: zoo_absent(FIG02_NETWORKS),
        metrics=lambda w: fig02_run(w.protocol, "metrics"),
        records=lambda w: fig02_run(w.protocol, "record"),
        arrays=lambda w: fig02_run(w.protocol, "arrays"),
    output:
        **figure_outputs("fig02", "Figure 2: images through the matrices of each layer"),
    log:
        figure_log("fig02"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig02"),
    params:
        settings=lambda w: zoo_figure_settings(w.protocol, FIG02_NETWORKS),
        code=closure_hash("convrfm.pipeline.jobs.fig02"),
    script:
        "../scripts/draw_fig02.py"
