"""The authors' printed numbers beside ours."""


use rule fit_variant as fit_printed with:
    input:
        **run_inputs("printed-rfm"),
    output:
        **run_files("printed-rfm"),
    log:
        run_log("printed-rfm"),
    threads: threads_of("fit_printed")
    resources:
        **needs("fit_printed"),
    params:
        settings=run_settings("printed-rfm"),
        code=run_code("printed-rfm"),


rule draw_printed:
    input:
        **figure_inputs("printed"),
    output:
        **figure_outputs("printed", "The authors' printed numbers"),
    log:
        figure_log("printed"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_printed"),
    params:
        settings=figure_slice("printed"),
        code=figure_code("printed"),
    script:
        "../scripts/draw_printed.py"
