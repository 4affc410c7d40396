"""Figure 10: first layers of ConvRFM and of networks."""


rule draw_fig10:
    input:
        **figure_inputs("fig10"),
    output:
        **figure_outputs("fig10", "Figure 10: first layers of ConvRFM and of networks"),
    log:
        figure_log("fig10"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig10"),
    params:
        settings=figure_slice("fig10"),
        code=figure_code("fig10"),
    script:
        "../scripts/draw_fig10.py"
