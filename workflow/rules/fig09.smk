"""Figure 9, robustness to patch size and pooling."""


rule train_shallow:
    input:
        **run_inputs("shallow"),
    output:
        **run_files("shallow"),
    log:
        run_log("shallow"),
    wildcard_constraints:
        architecture="[A-Za-z0-9]+",
        patch_size=r"\d+",
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_shallow"),
    params:
        settings=run_settings("shallow"),
        code=run_code("shallow"),
    script:
        "../scripts/train_shallow.py"


rule draw_fig09:
    input:
        **figure_inputs("fig09"),
    output:
        **figure_outputs("fig09", "Figure 9: patch size and pooling"),
    log:
        figure_log("fig09"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig09"),
    params:
        settings=figure_slice("fig09"),
        code=figure_code("fig09"),
    script:
        "../scripts/draw_fig09.py"
