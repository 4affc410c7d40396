from convrfm.replication.record.session import run_job

run_job(snakemake)
