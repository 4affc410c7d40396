from convrfm.replication.record.session import run_job

run_job(snakemake, "convrfm.replication.jobs.shallow:train_and_measure")
