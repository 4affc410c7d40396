"""Data: what is fetched, what is prepared from it, and draws of the synthetic tasks."""


localrules:
    fetch,
    datasets,


# Downloads run where Snakemake runs, which on a cluster is where a network is. Absent data are no failure: the state
# says so, and figures that need them are skipped.
checkpoint fetch:
    output:
        state=f"{SETTINGS.config.data_dir}/{{dataset}}/{STATE}",
    log:
        f"{RESULTS}/logs/fetch/{{dataset}}.log",
    conda:
        ENVIRONMENT
    params:
        settings=fetch_settings,
        code=closure_hash("convrfm.pipeline.jobs.datasets"),
    script:
        "../scripts/fetch.py"


for name in FILE_SETS:

    rule:
        name:
            f"download_{name}"
        input:
            state=state_file(name),
        log:
            f"{RESULTS}/logs/fetch/download_{name}.log",
        localrule: True
        conda:
            ENVIRONMENT
        params:
            settings={},
            code=closure_hash("convrfm.pipeline.jobs.datasets"),
        script:
            "../scripts/require.py"


rule datasets:
    log:
        f"{RESULTS}/logs/datasets.log",
    conda:
        ENVIRONMENT
    params:
        settings=DATA_SETTINGS,
        code=closure_hash("convrfm.pipeline.jobs.datasets"),
    script:
        "../scripts/datasets.py"


rule prepare:
    input:
        state=prepare_needs,
    output:
        **run_files("prepare", PREPARE_KEYS),
    log:
        run_log("prepare", PREPARE_KEYS),
    group:
        swarm
    conda:
        ENVIRONMENT
    resources:
        **needs("prepare"),
    params:
        settings=prepare_settings,
        code=closure_hash("convrfm.pipeline.jobs.prepare"),
    script:
        "../scripts/prepare.py"


# As the authors' code for Figure 9 chooses images: see convrfm.datasets.prepare.select.
rule resample:
    input:
        state=prepare_needs,
    output:
        **run_files("resample", PREPARE_KEYS),
    log:
        run_log("resample", PREPARE_KEYS),
    conda:
        ENVIRONMENT
    resources:
        **needs("resample"),
    params:
        settings=lambda w: {**prepare_settings(w), "resampled": True},
        code=closure_hash("convrfm.pipeline.jobs.prepare"),
    script:
        "../scripts/prepare.py"


rule draw:
    input:
        images=draw_needs,
    output:
        **run_files("draw", ["task", "seed"]),
    log:
        run_log("draw", ["task", "seed"]),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw"),
    params:
        settings=draw_settings,
        code=closure_hash("convrfm.pipeline.jobs.draw"),
    script:
        "../scripts/draw.py"
