"""Figure 5, local signal adaptivity."""


rule draw_fig05:
    input:
        states=lambda w: absent_data(PANELS),
        metrics=lambda w: fig05_fits(w.protocol, "metrics") + fig05_trainings(w.protocol, "metrics"),
        records=lambda w: fig05_fits(w.protocol, "record") + fig05_trainings(w.protocol, "record"),
        fits=lambda w: fig05_fits(w.protocol, "arrays"),
        draws=lambda w: fig05_draws(w.protocol),
    output:
        **figure_outputs("fig05", "Figure 5: local signal adaptivity"),
    log:
        figure_log("fig05"),
    conda:
        ENVIRONMENT
    resources:
        **needs("draw_fig05"),
    params:
        settings=lambda w: figure_settings(w.protocol, PANELS),
        code=closure_hash("convrfm.pipeline.jobs.fig05"),
    script:
        "../scripts/draw_fig05.py"
