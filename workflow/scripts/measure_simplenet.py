from convrfm.pipeline.session import run_job

run_job(snakemake, "convrfm.pipeline.jobs.simplenet_ansatz:measure_network")
