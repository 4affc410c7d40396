"""Training of the finite networks."""


rule train_cnn:
    input:
        draw=f"{RESULTS}/runs/draw/{{protocol}}/task={{task}},seed={{seed}}/{RUN_FILES['arrays']}",
    output:
        **run_files("cnn", ["task", "sigma", "optimizer", "seed"]),
    log:
        run_log("cnn", ["task", "sigma", "optimizer", "seed"]),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_cnn"),
    params:
        settings=training_settings,
        code=closure_hash("convrfm.pipeline.jobs.cnn"),
    script:
        "../scripts/train_cnn.py"
