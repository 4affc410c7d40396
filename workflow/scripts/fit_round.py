from convrfm.pipeline.session import run_job

run_job(snakemake, "convrfm.pipeline.jobs.rfm:fit_round")
