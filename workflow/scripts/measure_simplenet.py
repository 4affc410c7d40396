from convrfm.replication.record.session import run_job

run_job(snakemake, "convrfm.replication.jobs.simplenet_ansatz:measure_network")
