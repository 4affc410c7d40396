"""Figure 5, local signal adaptivity."""


rule draw_fig05:
    input:
        **figure_inputs("fig05"),
    output:
        **figure_outputs("fig05", "Figure 5: local signal adaptivity"),
    log:
        figure_log("fig05"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig05"),
    params:
        settings=figure_slice("fig05"),
        code=figure_code("fig05"),
    script:
        "../scripts/draw_fig05.py"
