"""Figure 10: first layers of ConvRFM and of networks."""


rule draw_fig10:
    input:
        **feature_figure_inputs("fig10"),
    output:
        **figure_outputs("fig10", "Figure 10: first layers of ConvRFM and of networks"),
    log:
        figure_log("fig10"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig10"),
    params:
        settings=lambda w: feature_figure_settings(w.protocol, "fig10"),
        code=closure_hash("convrfm.pipeline.jobs.fig10"),
    script:
        "../scripts/draw_fig10.py"
