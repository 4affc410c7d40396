"""What the first layer learns: fits, networks, and Figures 3, 10, 11 and 12."""


rule fit_features:
    input:
        images=lambda w: feature_images(w.protocol, w.dataset, w.seed),
    output:
        **run_files("features", ["dataset", "kernel", "seed"]),
    log:
        run_log("features", ["dataset", "kernel", "seed"]),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("fit_features"),
    params:
        settings=feature_fit_settings,
        code=closure_hash("convrfm.pipeline.jobs.features"),
    script:
        "../scripts/fit_features.py"


rule train_feature_network:
    input:
        images=lambda w: feature_images(w.protocol, w.dataset, w.seed),
    output:
        **run_files("feature-network", ["dataset", "seed"]),
    log:
        run_log("feature-network", ["dataset", "seed"]),
    conda:
        ENVIRONMENT
    threads: SETTINGS.config.threads
    resources:
        **needs("train_feature_network"),
    params:
        settings=feature_network_settings,
        code=closure_hash("convrfm.pipeline.jobs.feature_network"),
    script:
        "../scripts/train_feature_network.py"
