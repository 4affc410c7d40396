"""What the first layer learns: fits, networks, and Figures 3, 10, 11 and 12."""


rule fit_features:
    input:
        **run_inputs("features"),
    output:
        **run_files("features"),
    log:
        run_log("features"),
    conda:
        ENVIRONMENT
    threads: threads_of("fit_features")
    resources:
        **needs("fit_features"),
    params:
        settings=run_settings("features"),
        code=run_code("features"),
    script:
        "../scripts/fit_features.py"


rule train_feature_network:
    input:
        **run_inputs("feature-network"),
    output:
        **run_files("feature-network"),
    log:
        run_log("feature-network"),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_feature_network"),
    params:
        settings=run_settings("feature-network"),
        code=run_code("feature-network"),
    script:
        "../scripts/train_feature_network.py"
