"""Figure 3: what the first layer learns."""


rule draw_fig03:
    input:
        states=lambda w: feature_absent("fig03"),
        images=lambda w: [feature_images(w.protocol, *run) for run in feature_runs("fig03")],
        fits=lambda w: feature_fits(w.protocol, "fig03"),
        networks=lambda w: feature_networks(w.protocol, "fig03"),
        natural=lambda w: feature_natural("fig03"),
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/fig03.png",
            caption="../report/fig03.rst",
            category="Figure 3: what the first layer learns",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/fig03.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/fig03.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/fig03.csv",
        md=f"{RESULTS}/figures/{{protocol}}/fig03.md",
        record=f"{RESULTS}/figures/{{protocol}}/fig03.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/fig03.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: feature_figure_settings(w.protocol, "fig03"),
        code=closure_hash("convrfm.pipeline.jobs.fig03"),
    script:
        "../scripts/draw_fig03.py"
