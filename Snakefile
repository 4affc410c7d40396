"""Replication of arXiv 2309.00570: `snakemake -c2` builds everything that config.yaml asks for, `snakemake -c2 fig05` one figure."""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


include: "workflow/rules/common.smk"


localrules:
    all,
    fig05,
    fig08,
    fig09,
    theorem1,


rule all:
    default_target: True
    input:
        figure_files("fig05"),
        data_states("fig05"),
        figure_files("fig08"),
        data_states("fig08"),
        figure_files("fig09"),
        data_states("fig09"),
        figure_files("theorem1"),


rule fig05:
    input:
        figure_files("fig05"),
        data_states("fig05"),


rule fig08:
    input:
        figure_files("fig08"),
        data_states("fig08"),


rule fig09:
    input:
        figure_files("fig09"),
        data_states("fig09"),


rule theorem1:
    input:
        figure_files("theorem1"),


include: "workflow/rules/data.smk"
include: "workflow/rules/rfm.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/fig05_inputs.smk"
include: "workflow/rules/fig05.smk"
include: "workflow/rules/fig08_inputs.smk"
include: "workflow/rules/fig08.smk"
include: "workflow/rules/fig09_inputs.smk"
include: "workflow/rules/fig09.smk"
include: "workflow/rules/theorem1.smk"


onsuccess:
    report_skipped()


onerror:
    report_skipped()
