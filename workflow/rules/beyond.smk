"""Beyond the paper: points of the AGOP, numbers of training images, and single choices."""


rule draw_beyond:
    input:
        **figure_inputs("beyond"),
    output:
        **figure_outputs("beyond", "Beyond the paper"),
    log:
        figure_log("beyond"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_beyond"),
    params:
        settings=figure_slice("beyond"),
        code=figure_code("beyond"),
    script:
        "../scripts/draw_beyond.py"
