"""ConvRFM and Deep ConvRFM."""


rule fit_rfm:
    input:
        draw=f"{RESULTS}/runs/draw/{{protocol}}/task={{task}},seed={{seed}}/{RUN_FILES['arrays']}",
    output:
        **run_files("rfm", ["task", "sigma", "seed"]),
    log:
        run_log("rfm", ["task", "sigma", "seed"]),
    params:
        settings=fit_settings,
        code=closure_hash("convrfm.pipeline.jobs.rfm"),
    threads: SETTINGS.config.threads
    # The longest jobs first.
    priority: 10
    resources:
        mem_mb=8000,
        runtime=120,
    conda:
        ENVIRONMENT
    script:
        "../scripts/fit_rfm.py"
