"""What everything would cost, before it is submitted."""


rule cost:
    log:
        f"{RESULTS}/logs/cost.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        settings={"config": config, "root": str(workflow.basedir)},
        code=closure_hash("convrfm.replication.cluster.cost"),
    script:
        "../scripts/cost.py"
