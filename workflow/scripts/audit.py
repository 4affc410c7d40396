from convrfm.replication.record.session import run_job

run_job(snakemake, "convrfm.replication.audit.auditing:audit_job")
