"""Figure 3: what the first layer learns."""


rule draw_fig03:
    input:
        **figure_inputs("fig03"),
    output:
        **figure_outputs("fig03", "Figure 3: what the first layer learns"),
    log:
        figure_log("fig03"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig03"),
    params:
        settings=figure_slice("fig03"),
        code=figure_code("fig03"),
    script:
        "../scripts/draw_fig03.py"
