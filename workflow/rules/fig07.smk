"""Figure 7, the ansatz before and after training."""


rule draw_fig07:
    input:
        states=lambda w: zoo_absent(ZOO.networks),
        metrics=lambda w: zoo_measured(w.protocol, "metrics", ZOO.networks),
        records=lambda w: zoo_measured(w.protocol, "record", ZOO.networks),
    output:
        **figure_outputs("fig07", "Figure 7: the ansatz before and after training"),
    log:
        figure_log("fig07"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig07"),
    params:
        settings=lambda w: zoo_figure_settings(w.protocol, ZOO.networks),
        code=closure_hash("convrfm.pipeline.jobs.fig07"),
    script:
        "../scripts/draw_fig07.py"
