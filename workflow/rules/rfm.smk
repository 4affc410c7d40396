"""ConvRFM and Deep ConvRFM."""


rule fit_rfm:
    input:
        draw=f"{RESULTS}/runs/draw/{{protocol}}/task={{task}},seed={{seed}}/{RUN_FILES['arrays']}",
    output:
        **run_files("rfm", ["task", "sigma", "seed"]),
    log:
        run_log("rfm", ["task", "sigma", "seed"]),
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("fit_rfm"),
    params:
        settings=fit_settings,
        code=closure_hash("convrfm.pipeline.jobs.rfm"),
    script:
        "../scripts/fit_rfm.py"
