from convrfm.replication.record.session import run_job

run_job(snakemake, "convrfm.replication.figures.drawing.fig03:draw_figure")
