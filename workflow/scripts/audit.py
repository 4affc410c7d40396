from convrfm.pipeline.session import run_job

run_job(snakemake, "convrfm.audit.auditing:audit_job")
