"""Figure 1, the ansatz in trained networks."""


rule draw_fig01:
    input:
        states=lambda w: zoo_absent(ZOO.networks),
        metrics=lambda w: zoo_measured(w.protocol, "metrics", ZOO.networks),
        records=lambda w: zoo_measured(w.protocol, "record", ZOO.networks),
        arrays=lambda w: zoo_measured(w.protocol, "arrays", SETTINGS.preset.fig01.heat_maps),
    output:
        **figure_outputs("fig01", "Figure 1: the ansatz in trained networks"),
    log:
        figure_log("fig01"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig01"),
    params:
        settings=lambda w: fig01_settings(w.protocol),
        code=closure_hash("convrfm.pipeline.jobs.fig01"),
    script:
        "../scripts/draw_fig01.py"
