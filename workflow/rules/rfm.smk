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
    threads: SETTINGS.config.threads
    resources:
        **needs("fit_rfm", fit_memory),
    params:
        settings=run_settings("rfm"),
        code=run_code("rfm"),
    script:
        "../scripts/fit_rfm.py"
