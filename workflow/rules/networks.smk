"""Training of the finite networks."""


rule train_cnn:
    input:
        **run_inputs("cnn"),
    output:
        **run_files("cnn"),
    log:
        run_log("cnn"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_cnn"),
    params:
        settings=run_settings("cnn"),
        code=run_code("cnn"),
    script:
        "../scripts/train_cnn.py"
