"""Data: downloads, and draws of the synthetic tasks."""


localrules:
    download_mnist,


rule download_mnist:
    output:
        state=f"{SETTINGS.config.data_dir}/MNIST/state.json",
    log:
        f"{RESULTS}/logs/download/mnist.log",
    conda:
        ENVIRONMENT
    params:
        settings={"data_dir": SETTINGS.config.data_dir},
        code=closure_hash("convrfm.pipeline.jobs.draw"),
    script:
        "../scripts/download_mnist.py"


rule draw:
    input:
        data=draw_needs,
    output:
        **run_files("draw", ["task", "seed"]),
    log:
        run_log("draw", ["task", "seed"]),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        settings=draw_settings,
        code=closure_hash("convrfm.pipeline.jobs.draw"),
    script:
        "../scripts/draw.py"
