from convrfm.replication.record.session import run_job

run_job(snakemake, "convrfm.replication.figures.drawing.fig07:draw_figure")
