"""Fits that change single choices of their protocol, and draws of any size."""


wildcard_constraints:
    variant="|".join(re.escape(name) for name in variants(PLAN)),


use rule draw as draw_sized with:
    input:
        **run_inputs("sized-draw"),
    output:
        **run_files("sized-draw"),
    log:
        run_log("sized-draw"),
    resources:
        **needs("draw_sized"),
    params:
        settings=run_settings("sized-draw"),
        code=run_code("sized-draw"),


use rule fit_rfm as fit_variant with:
    input:
        **run_inputs("variant"),
    output:
        **run_files("variant"),
    log:
        run_log("variant"),
    threads: threads_of("fit_variant")
    resources:
        **needs("fit_variant"),
    params:
        settings=run_settings("variant"),
        code=run_code("variant"),
