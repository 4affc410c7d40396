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
        **job_params("convrfm.replication.jobs.datasets:fetch", fetch_settings),
    script:
        "../scripts/job.py"


for name in REGISTRY:

    rule:
        name:
            f"download_{name}"
        input:
            states=[PLAN.state_file(base) for base in files_behind(name)],
        log:
            f"{RESULTS}/logs/fetch/download_{name}.log",
        localrule: True
        conda:
            ENVIRONMENT
        params:
            **job_params("convrfm.replication.jobs.datasets:require", {"dataset": name}),
        script:
            "../scripts/job.py"


rule datasets:
    log:
        f"{RESULTS}/logs/datasets.log",
    conda:
        ENVIRONMENT
    params:
        **job_params("convrfm.replication.jobs.datasets:print_states", DATA_SETTINGS),
    script:
        "../scripts/job.py"


rule prepare:
    input:
        **run_inputs("prepare"),
    output:
        **run_files("prepare"),
    log:
        run_log("prepare"),
    # Short, and much waits for it.
    priority: 30
    group:
        swarm
    conda:
        ENVIRONMENT
    resources:
        **needs("prepare"),
    params:
        **run_params("prepare"),
    script:
        "../scripts/job.py"


# As the authors' code for Figure 9 chooses images: see convrfm.datasets.prepare.select.
rule resample:
    input:
        **run_inputs("resample"),
    output:
        **run_files("resample"),
    log:
        run_log("resample"),
    priority: 30
    conda:
        ENVIRONMENT
    resources:
        **needs("resample"),
    params:
        **run_params("resample"),
    script:
        "../scripts/job.py"


rule draw:
    input:
        **run_inputs("draw"),
    output:
        **run_files("draw"),
    log:
        run_log("draw"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw"),
    params:
        **run_params("draw"),
    script:
        "../scripts/job.py"
