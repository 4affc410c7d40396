"""Figure 10: first layers of ConvRFM and of networks."""


rule draw_fig10:
    input:
        states=lambda w: feature_absent("fig10"),
        images=lambda w: [feature_images(w.protocol, *run) for run in feature_runs("fig10")],
        fits=lambda w: feature_fits(w.protocol, "fig10"),
        networks=lambda w: feature_networks(w.protocol, "fig10"),
        natural=lambda w: feature_natural("fig10"),
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/fig10.png",
            caption="../report/fig10.rst",
            category="Figure 10: first layers of ConvRFM and of networks",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/fig10.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/fig10.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/fig10.csv",
        md=f"{RESULTS}/figures/{{protocol}}/fig10.md",
        record=f"{RESULTS}/figures/{{protocol}}/fig10.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/fig10.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: feature_figure_settings(w.protocol, "fig10"),
        code=closure_hash("convrfm.pipeline.jobs.fig10"),
    script:
        "../scripts/draw_fig10.py"
