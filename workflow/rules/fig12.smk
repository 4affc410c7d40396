"""Figure 12: edge detectors of other data sets."""


rule draw_fig12:
    input:
        **figure_inputs("fig12"),
    output:
        **figure_outputs("fig12", "Figure 12: edge detectors of other data sets"),
    log:
        figure_log("fig12"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig12"),
    params:
        settings=figure_slice("fig12"),
        code=figure_code("fig12"),
    script:
        "../scripts/draw_fig12.py"
