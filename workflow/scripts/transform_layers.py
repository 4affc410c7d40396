from convrfm.pipeline.session import run_job

run_job(snakemake, "convrfm.pipeline.jobs.layer_pictures:transform_layers")
