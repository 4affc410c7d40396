"""Figure 8, the ansatz in SimpleNet."""


rule train_simplenet:
    input:
        images=simplenet_images,
    output:
        **run_files("simplenet", ["dataset", "seed"]),
    log:
        run_log("simplenet", ["dataset", "seed"]),
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_simplenet", simplenet_memory),
    params:
        settings=simplenet_training,
        code=closure_hash("convrfm.pipeline.jobs.simplenet"),
    script:
        "../scripts/train_simplenet.py"


rule measure_simplenet:
    input:
        images=simplenet_images,
        weights=f"{RESULTS}/runs/simplenet/{{protocol}}/dataset={{dataset}},seed={{seed}}/{RUN_FILES['arrays']}",
    output:
        **run_files("simplenet-ansatz", ["dataset", "seed"]),
    log:
        run_log("simplenet-ansatz", ["dataset", "seed"]),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("measure_simplenet", simplenet_memory),
    params:
        settings=simplenet_ansatz,
        code=closure_hash("convrfm.pipeline.jobs.simplenet_ansatz"),
    script:
        "../scripts/measure_simplenet.py"


rule draw_fig08:
    input:
        states=lambda w: absent_data(SIMPLENETS),
        histories=lambda w: fig08_runs(w.protocol, "simplenet", "metrics"),
        trainings=lambda w: fig08_runs(w.protocol, "simplenet", "record"),
        metrics=lambda w: fig08_runs(w.protocol, "simplenet-ansatz", "metrics"),
        records=lambda w: fig08_runs(w.protocol, "simplenet-ansatz", "record"),
    output:
        **figure_outputs("fig08", "Figure 8: the ansatz in SimpleNet"),
    log:
        figure_log("fig08"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig08"),
    params:
        settings=lambda w: figure_settings(w.protocol, SIMPLENETS),
        code=closure_hash("convrfm.pipeline.jobs.fig08"),
    script:
        "../scripts/draw_fig08.py"
