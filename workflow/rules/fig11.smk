"""Figure 11: edges that eigenvectors pick in natural images."""


rule draw_fig11:
    input:
        **feature_figure_inputs("fig11"),
    output:
        **figure_outputs("fig11", "Figure 11: edges that eigenvectors pick in natural images"),
    log:
        figure_log("fig11"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig11"),
    params:
        settings=lambda w: feature_figure_settings(w.protocol, "fig11"),
        code=closure_hash("convrfm.pipeline.jobs.fig11"),
    script:
        "../scripts/draw_fig11.py"
