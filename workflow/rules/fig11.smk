"""Figure 11: edges that eigenvectors pick in natural images."""


rule draw_fig11:
    input:
        states=lambda w: feature_absent("fig11"),
        images=lambda w: [feature_images(w.protocol, *run) for run in feature_runs("fig11")],
        fits=lambda w: feature_fits(w.protocol, "fig11"),
        networks=lambda w: feature_networks(w.protocol, "fig11"),
        natural=lambda w: feature_natural("fig11"),
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/fig11.png",
            caption="../report/fig11.rst",
            category="Figure 11: edges that eigenvectors pick in natural images",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/fig11.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/fig11.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/fig11.csv",
        md=f"{RESULTS}/figures/{{protocol}}/fig11.md",
        record=f"{RESULTS}/figures/{{protocol}}/fig11.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/fig11.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: feature_figure_settings(w.protocol, "fig11"),
        code=closure_hash("convrfm.pipeline.jobs.fig11"),
    script:
        "../scripts/draw_fig11.py"
