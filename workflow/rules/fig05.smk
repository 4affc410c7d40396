"""Figure 5, local signal adaptivity."""


rule draw_fig05:
    input:
        states=lambda w: absent_data(PANELS),
        metrics=lambda w: fig05_fits(w.protocol, "metrics") + fig05_trainings(w.protocol, "metrics"),
        records=lambda w: fig05_fits(w.protocol, "record") + fig05_trainings(w.protocol, "record"),
        fits=lambda w: fig05_fits(w.protocol, "arrays"),
        draws=lambda w: fig05_draws(w.protocol),
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/fig05.png",
            caption="../report/fig05.rst",
            category="Figure 5: local signal adaptivity",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/fig05.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/fig05.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/fig05.csv",
        md=f"{RESULTS}/figures/{{protocol}}/fig05.md",
        record=f"{RESULTS}/figures/{{protocol}}/fig05.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/fig05.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        settings=lambda w: {"protocol": w.protocol, "needs": {task: list(files_behind(task)) for task in PANELS}},
        code=closure_hash("convrfm.pipeline.jobs.fig05"),
    script:
        "../scripts/draw_fig05.py"
