"""ConvRFM and Deep ConvRFM."""


rule fit_rfm:
    input:
        **run_inputs("rfm"),
    output:
        **run_files("rfm"),
    log:
        run_log("rfm"),
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: threads_of("fit_rfm")
    resources:
        **needs("fit_rfm"),
    params:
        settings=run_settings("rfm"),
        code=run_code("rfm"),
    script:
        "../scripts/fit_rfm.py"
