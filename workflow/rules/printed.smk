"""The authors' printed numbers beside ours."""


use rule fit_variant as fit_printed with:
    input:
        draw=printed_fit_draw,
    output:
        **run_files("printed-rfm", PRINTED_KEYS),
    log:
        run_log("printed-rfm", PRINTED_KEYS),
    resources:
        **needs("fit_printed"),
    params:
        settings=printed_fit_settings,
        code=closure_hash("convrfm.pipeline.jobs.rfm"),


rule draw_printed:
    input:
        states=lambda w: absent_data(TASKS["printed"]),
        metrics=lambda w: printed_runs("metrics"),
        records=lambda w: printed_runs("record"),
    output:
        **figure_outputs("printed", "The authors' printed numbers"),
    log:
        figure_log("printed"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_printed"),
    params:
        settings=lambda w: printed_settings(w.protocol),
        code=closure_hash("convrfm.pipeline.jobs.printed"),
    script:
        "../scripts/draw_printed.py"
