"""Figure 1, the ansatz in trained networks."""


rule draw_fig01:
    input:
        **figure_inputs("fig01"),
    output:
        **figure_outputs("fig01", "Figure 1: the ansatz in trained networks"),
    log:
        figure_log("fig01"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig01"),
    params:
        settings=figure_slice("fig01"),
        code=figure_code("fig01"),
    script:
        "../scripts/draw_fig01.py"
