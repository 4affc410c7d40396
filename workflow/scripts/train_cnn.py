from convrfm.replication.record.session import run_job

run_job(snakemake, "convrfm.replication.jobs.cnn:train_task")
