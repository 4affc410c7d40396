"""The networks of Figures 1, 2 and 7: training of stand-ins, and the ansatz in each."""


rule train_standin:
    input:
        images=lambda w: standin_images(w.protocol, w.network, w.seed),
    output:
        **run_files("standin", ["network", "seed"]),
    log:
        run_log("standin", ["network", "seed"]),
    # Long jobs that others wait for.
    priority: 5
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_standin"),
    params:
        settings=standin_settings,
        code=closure_hash("convrfm.pipeline.jobs.standin"),
    script:
        "../scripts/train_standin.py"


rule measure_ansatz:
    input:
        images=lambda w: zoo_images(w.protocol, w.network, w.seed),
        states=zoo_states,
        training=zoo_training,
    output:
        **run_files("ansatz", ["network", "seed"]),
    log:
        run_log("ansatz", ["network", "seed"]),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("measure_ansatz"),
    params:
        settings=ansatz_settings,
        code=closure_hash("convrfm.pipeline.jobs.ansatz"),
    script:
        "../scripts/measure_ansatz.py"
