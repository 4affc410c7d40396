"""Figure 1, the ansatz in trained networks."""


rule draw_fig01:
    input:
        states=lambda w: zoo_absent(FIG01_NETWORKS),
        metrics=lambda w: zoo_measured(w.protocol, "metrics", FIG01_NETWORKS),
        records=lambda w: zoo_measured(w.protocol, "record", FIG01_NETWORKS),
        arrays=lambda w: zoo_measured(w.protocol, "arrays", SETTINGS.preset.fig01.heat_maps),
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/fig01.png",
            caption="../report/fig01.rst",
            category="Figure 1: the ansatz in trained networks",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/fig01.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/fig01.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/fig01.csv",
        md=f"{RESULTS}/figures/{{protocol}}/fig01.md",
        record=f"{RESULTS}/figures/{{protocol}}/fig01.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/fig01.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        settings=lambda w: fig01_settings(w.protocol),
        code=closure_hash("convrfm.pipeline.jobs.fig01"),
    script:
        "../scripts/draw_fig01.py"
