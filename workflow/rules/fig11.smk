"""Figure 11: edges that eigenvectors pick in natural images."""


rule draw_fig11:
    input:
        **figure_inputs("fig11"),
    output:
        **figure_outputs("fig11", "Figure 11: edges that eigenvectors pick in natural images"),
    log:
        figure_log("fig11"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig11"),
    params:
        settings=figure_slice("fig11"),
        code=figure_code("fig11"),
    script:
        "../scripts/draw_fig11.py"
