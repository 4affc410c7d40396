"""The networks of Figures 1, 2 and 7: training of stand-ins, and the ansatz in each."""


rule train_standin:
    input:
        **run_inputs("standin"),
    output:
        **run_files("standin"),
    log:
        run_log("standin"),
    # The longest way to a figure; and while one kernel fit compiles what all of them run, the other core trains.
    priority: 20
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_standin"),
    params:
        settings=run_settings("standin"),
        code=run_code("standin"),
    script:
        "../scripts/train_standin.py"


rule measure_ansatz:
    input:
        **run_inputs("ansatz"),
    output:
        **run_files("ansatz"),
    log:
        run_log("ansatz"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("measure_ansatz"),
    params:
        settings=run_settings("ansatz"),
        code=run_code("ansatz"),
    script:
        "../scripts/measure_ansatz.py"
