"""Whether the results can be trusted, and what they say of each claim of the paper."""


# No inputs, so that nothing is built or redrawn from files that may have been tampered with; no outputs, so that it runs
# whenever it is asked for, and the page of results that cannot be trusted is not deleted with the failed job.
rule audit:
    log:
        f"{RESULTS}/logs/audit.log",
    localrule: True
    conda:
        ENVIRONMENT
    # As many as there are: Snakemake gives no more than its cores.
    threads: 128
    params:
        **job_params("convrfm.replication.audit.auditing:audit_job", {"config": config, "root": str(workflow.basedir)}),
    script:
        "../scripts/job.py"


# What everything would cost, before it is submitted.
rule cost:
    log:
        f"{RESULTS}/logs/cost.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        **job_params("convrfm.replication.plan.cost:print_cost", {"config": config, "root": str(workflow.basedir)}),
    script:
        "../scripts/job.py"
