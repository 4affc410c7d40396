"""Figure 7, the ansatz before and after training."""


rule draw_fig07:
    input:
        **figure_inputs("fig07"),
    output:
        **figure_outputs("fig07", "Figure 7: the ansatz before and after training"),
    log:
        figure_log("fig07"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig07"),
    params:
        settings=figure_slice("fig07"),
        code=figure_code("fig07"),
    script:
        "../scripts/draw_fig07.py"
