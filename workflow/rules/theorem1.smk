"""Theorem 1, checked in float64."""


rule draw_theorem1:
    output:
        **figure_outputs("theorem1", "Theorem 1"),
    log:
        figure_log("theorem1"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("draw_theorem1"),
    params:
        settings=figure_slice("theorem1"),
        code=figure_code("theorem1"),
    script:
        "../scripts/draw_theorem1.py"
