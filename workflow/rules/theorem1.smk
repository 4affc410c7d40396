"""Theorem 1, checked in float64."""


rule draw_theorem1:
    output:
        png=report(
            f"{RESULTS}/figures/{{protocol}}/theorem1.png",
            caption="../report/theorem1.rst",
            category="Theorem 1",
            labels={"protocol": "{protocol}"},
        ),
        pdf=f"{RESULTS}/figures/{{protocol}}/theorem1.pdf",
        parquet=f"{RESULTS}/figures/{{protocol}}/theorem1.parquet",
        csv=f"{RESULTS}/figures/{{protocol}}/theorem1.csv",
        md=f"{RESULTS}/figures/{{protocol}}/theorem1.md",
        record=f"{RESULTS}/figures/{{protocol}}/theorem1.json",
    log:
        f"{RESULTS}/logs/figures/{{protocol}}/theorem1.log",
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: {"protocol": w.protocol, **SETTINGS.preset.theorem1.model_dump()},
        code=closure_hash("convrfm.pipeline.jobs.theorem1"),
    script:
        "../scripts/draw_theorem1.py"
