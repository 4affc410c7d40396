"""Fits that change single choices of their protocol, and draws of any size."""


wildcard_constraints:
    variant="|".join(re.escape(name) for name in VARIANTS),


use rule draw as draw_sized with:
    input:
        images=lambda w: images_of_draw(w, w.n_train, w.n_test),
    output:
        **run_files("sized-draw", ["task", "n_train", "n_test", "seed"]),
    log:
        run_log("sized-draw", ["task", "n_train", "n_test", "seed"]),
    resources:
        **needs("draw_sized"),
    params:
        settings=sized_draw_settings,
        code=closure_hash("convrfm.pipeline.jobs.draw"),


use rule fit_rfm as fit_variant with:
    input:
        draw=variant_draw,
    output:
        **run_files("variant", ["variant", "task", "sigma", "n_train", "seed"]),
    log:
        run_log("variant", ["variant", "task", "sigma", "n_train", "seed"]),
    resources:
        **needs("fit_variant", variant_memory),
    params:
        settings=variant_settings,
        code=closure_hash("convrfm.pipeline.jobs.rfm"),
