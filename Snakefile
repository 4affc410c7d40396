"""Replication of arXiv 2309.00570: `snakemake -c2` builds everything that config.yaml asks for, `snakemake -c2 fig05` one figure."""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/config.smk"
include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        [path for asked in asked_figures(PLAN) for path in figure_files(*asked)],
    localrule: True


include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/audit.smk"


onstart:
    end_orphans()


onsuccess:
    report_skipped()


onerror:
    report_skipped()
