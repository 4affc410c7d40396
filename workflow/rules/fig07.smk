"""Figure 7, the ansatz before and after training."""


rule draw_fig07:
    input:
        states=lambda w: zoo_absent(FIG07_NETWORKS),
        metrics=lambda w: zoo_measured(w.protocol, "metrics", FIG07_NETWORKS),
        records=lambda w: zoo_measured(w.protocol, "record", FIG07_NETWORKS),
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/fig07.png",
            caption="../report/fig07.rst",
            category="Figure 7: the ansatz before and after training",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/fig07.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/fig07.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/fig07.csv",
        md=f"{RESULTS}/figures/{{protocol}}/fig07.md",
        record=f"{RESULTS}/figures/{{protocol}}/fig07.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/fig07.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        settings=lambda w: fig07_settings(w.protocol),
        code=closure_hash("convrfm.pipeline.jobs.fig07"),
    script:
        "../scripts/draw_fig07.py"
