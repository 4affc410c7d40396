"""Beyond the paper: points of the AGOP, numbers of training images, and single choices."""


rule draw_beyond:
    input:
        states=lambda w: absent_data(STUDIES),
        metrics=lambda w: beyond_runs(w.protocol, "metrics"),
        records=lambda w: beyond_runs(w.protocol, "record"),
    output:
        **figure_outputs("beyond", "Beyond the paper"),
    log:
        figure_log("beyond"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_beyond"),
    params:
        settings=lambda w: beyond_settings(w.protocol),
        code=closure_hash("convrfm.pipeline.jobs.beyond"),
    script:
        "../scripts/draw_beyond.py"
