"""Data: downloads, and draws of the synthetic tasks."""


localrules:
    download_mnist,


rule download_mnist:
    output:
        state=f"{SETTINGS.config.data_dir}/MNIST/state.json",
    log:
        f"{RESULTS}/logs/download/mnist.log",
    params:
        settings={"data_dir": SETTINGS.config.data_dir},
        code=closure_hash("convrfm.pipeline.jobs.draw"),
    conda:
        ENVIRONMENT
    script:
        "../scripts/download_mnist.py"


rule draw:
    input:
        data=draw_needs,
    output:
        **run_files("draw", ["task", "seed"]),
    log:
        run_log("draw", ["task", "seed"]),
    params:
        settings=draw_settings,
        code=closure_hash("convrfm.pipeline.jobs.draw"),
    resources:
        mem_mb=4000,
        runtime=10,
    conda:
        ENVIRONMENT
    script:
        "../scripts/draw.py"
