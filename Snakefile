"""Replication of arXiv 2309.00570: `snakemake -c2` builds everything that config.yaml asks for, `snakemake -c2 fig05` one figure."""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


include: "workflow/rules/common.smk"


localrules:
    all,
    beyond,
    fig01,
    fig02,
    fig03,
    fig04,
    fig05,
    fig06,
    fig07,
    fig08,
    fig09,
    fig10,
    fig11,
    fig12,
    printed,
    theorem1,


rule all:
    default_target: True
    input:
        figure_files("fig01"),
        data_states("fig01"),
        figure_files("fig02"),
        data_states("fig02"),
        figure_files("fig03"),
        data_states("fig03"),
        figure_files("fig04"),
        data_states("fig04"),
        figure_files("fig05"),
        data_states("fig05"),
        fig06_files(),
        figure_files("fig07"),
        data_states("fig07"),
        figure_files("fig08"),
        data_states("fig08"),
        figure_files("fig09"),
        data_states("fig09"),
        figure_files("fig10"),
        data_states("fig10"),
        figure_files("fig11"),
        data_states("fig11"),
        figure_files("fig12"),
        data_states("fig12"),
        figure_files("theorem1"),
        printed_files() if SETTINGS.preset.printed.runs else [],
        [*figure_files("beyond"), *data_states("beyond")] if SETTINGS.preset.beyond.in_all else [],


rule fig01:
    input:
        figure_files("fig01"),
        data_states("fig01"),


rule fig02:
    input:
        figure_files("fig02"),
        data_states("fig02"),


rule fig03:
    input:
        figure_files("fig03"),
        data_states("fig03"),


rule fig04:
    input:
        figure_files("fig04"),
        data_states("fig04"),


rule fig05:
    input:
        figure_files("fig05"),
        data_states("fig05"),


rule fig06:
    input:
        fig06_files(),


rule fig07:
    input:
        figure_files("fig07"),
        data_states("fig07"),


rule fig08:
    input:
        figure_files("fig08"),
        data_states("fig08"),


rule fig09:
    input:
        figure_files("fig09"),
        data_states("fig09"),


rule fig10:
    input:
        figure_files("fig10"),
        data_states("fig10"),


rule fig11:
    input:
        figure_files("fig11"),
        data_states("fig11"),


rule fig12:
    input:
        figure_files("fig12"),
        data_states("fig12"),


rule theorem1:
    input:
        figure_files("theorem1"),


rule printed:
    input:
        lambda w: printed_files(),


rule beyond:
    input:
        figure_files("beyond"),
        data_states("beyond"),


include: "workflow/rules/cost.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/rfm.smk"
include: "workflow/rules/steps.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/zoo.smk"
include: "workflow/rules/fig01.smk"
include: "workflow/rules/fig02.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/fig03.smk"
include: "workflow/rules/fig04.smk"
include: "workflow/rules/fig05.smk"
include: "workflow/rules/fig06.smk"
include: "workflow/rules/fig07.smk"
include: "workflow/rules/fig08.smk"
include: "workflow/rules/fig09.smk"
include: "workflow/rules/fig10.smk"
include: "workflow/rules/fig11.smk"
include: "workflow/rules/fig12.smk"
include: "workflow/rules/theorem1.smk"
include: "workflow/rules/variants.smk"
include: "workflow/rules/printed.smk"
include: "workflow/rules/beyond.smk"


onstart:
    end_orphans()


onsuccess:
    report_skipped()


onerror:
    report_skipped()
