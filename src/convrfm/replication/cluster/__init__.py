"""Clusters: memory, minutes and GPUs of jobs, the site's file, the start of Snakemake."""
