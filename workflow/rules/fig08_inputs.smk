"""What Figure 8 is drawn from."""


def simplenet_images(wildcards):
    """The prepared images of a data set, for one seed."""
    panel = SIMPLENETS[wildcards.dataset]
    appearance = {"size": 32, "fit": "stretch", "colour": "native", "scaling": panel.scaling, "classes": "all"}
    counts = {"n_train": panel.n_train, "n_test": panel.n_test, "seed": wildcards.seed}
    return run_file("prepare", wildcards.protocol, "arrays", dataset=wildcards.dataset, **appearance, **counts)


def simplenet_memory(wildcards):
    """MiB that the images take, with room for copies."""
    panel = SIMPLENETS[wildcards.dataset]
    return (panel.n_train + panel.n_test) * 3 * 32**2 * 4 * 4 // 2**20


def simplenet_settings(wildcards):
    """What every job with a SimpleNet sees of the configuration."""
    panel = SIMPLENETS[wildcards.dataset]
    return {
        **panel.model_dump(include={"dataset", "n_train", "n_test", "scaling"}),
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
        "network": panel.model_dump(include={"width_divisor", "init_std", "extra_pool"}),
        "epochs": panel.ansatz.epochs,
        "device": SETTINGS.config.device,
    }


def simplenet_training(wildcards):
    """What the training sees of the configuration."""
    return {
        **simplenet_settings(wildcards),
        "training": SIMPLENETS[wildcards.dataset].training.model_dump(),
    }


def simplenet_ansatz(wildcards):
    """What the measurement of the ansatz sees of the configuration."""
    panel = SIMPLENETS[wildcards.dataset]
    return {
        **simplenet_settings(wildcards),
        **panel.ansatz.model_dump(include={"images", "mode", "probes"}),
        "last_epoch": panel.training.epochs,
    }


def fig08_runs(protocol, experiment, file):
    """One file of every run of an experiment behind Figure 8."""
    return [
        run_file(experiment, protocol, file, dataset=name, seed=seed)
        for name in ready(SIMPLENETS)
        for seed in SETTINGS.config.seeds[: SIMPLENETS[name].seeds]
    ]
