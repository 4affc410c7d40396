from convrfm.pipeline.session import run_job

run_job(snakemake, "convrfm.pipeline.jobs.theorem1:check_and_draw")
