"""Figure 8, the ansatz in SimpleNet."""


rule train_simplenet:
    input:
        **run_inputs("simplenet"),
    output:
        **run_files("simplenet"),
    log:
        run_log("simplenet"),
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_simplenet", simplenet_memory),
    params:
        settings=run_settings("simplenet"),
        code=run_code("simplenet"),
    script:
        "../scripts/train_simplenet.py"


rule measure_simplenet:
    input:
        **run_inputs("simplenet-ansatz"),
    output:
        **run_files("simplenet-ansatz"),
    log:
        run_log("simplenet-ansatz"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("measure_simplenet", simplenet_memory),
    params:
        settings=run_settings("simplenet-ansatz"),
        code=run_code("simplenet-ansatz"),
    script:
        "../scripts/measure_simplenet.py"


rule draw_fig08:
    input:
        **figure_inputs("fig08"),
    output:
        **figure_outputs("fig08", "Figure 8: the ansatz in SimpleNet"),
    log:
        figure_log("fig08"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig08"),
    params:
        settings=figure_slice("fig08"),
        code=figure_code("fig08"),
    script:
        "../scripts/draw_fig08.py"
