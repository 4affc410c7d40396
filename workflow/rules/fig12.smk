"""Figure 12: edge detectors of other data sets."""


rule draw_fig12:
    input:
        states=lambda w: feature_absent("fig12"),
        images=lambda w: [feature_images(w.protocol, *run) for run in feature_runs("fig12")],
        fits=lambda w: feature_fits(w.protocol, "fig12"),
        networks=lambda w: feature_networks(w.protocol, "fig12"),
        natural=lambda w: feature_natural("fig12"),
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/fig12.png",
            caption="../report/fig12.rst",
            category="Figure 12: edge detectors of other data sets",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/fig12.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/fig12.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/fig12.csv",
        md=f"{RESULTS}/figures/{{protocol}}/fig12.md",
        record=f"{RESULTS}/figures/{{protocol}}/fig12.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/fig12.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: feature_figure_settings(w.protocol, "fig12"),
        code=closure_hash("convrfm.pipeline.jobs.fig12"),
    script:
        "../scripts/draw_fig12.py"
