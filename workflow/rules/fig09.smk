"""Figure 9, robustness to patch size and pooling."""


rule train_shallow:
    input:
        images=shallow_images,
    output:
        **run_files("shallow", SHALLOW_KEYS),
    log:
        run_log("shallow", SHALLOW_KEYS),
    wildcard_constraints:
        architecture="[A-Za-z0-9]+",
        patch_size=r"\d+",
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_shallow"),
    params:
        settings=shallow_settings,
        code=closure_hash("convrfm.pipeline.jobs.shallow"),
    script:
        "../scripts/train_shallow.py"


rule draw_fig09:
    input:
        states=lambda w: absent_data(SHALLOW_DATA),
        metrics=lambda w: fig09_runs(w.protocol, "metrics"),
        records=lambda w: fig09_runs(w.protocol, "record"),
    output:
        **figure_outputs("fig09", "Figure 9: patch size and pooling"),
    log:
        figure_log("fig09"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig09"),
    params:
        settings=lambda w: figure_settings(w.protocol, SHALLOW_DATA),
        code=closure_hash("convrfm.pipeline.jobs.fig09"),
    script:
        "../scripts/draw_fig09.py"
