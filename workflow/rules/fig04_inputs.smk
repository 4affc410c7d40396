"""What Figure 4 is drawn from."""


def layer_source(wildcards):
    """The images that are transformed: a draw, or prepared images, as inputs `draw` and `images`."""
    name, protocol, seed = wildcards.dataset, wildcards.protocol, wildcards.seed
    if name in PANELS:
        return {"draw": [run_file("draw", protocol, "arrays", task=name, seed=seed)], "images": []}
    return {"draw": [], "images": [image_counts(protocol, "arrays", IMAGE_TASKS[name], "all", seed)]}


def layer_run(wildcards, kind, file):
    """One file of the fit ("rfm") or of the network ("cnn") whose layers are shown."""
    name, protocol, seed = wildcards.dataset, wildcards.protocol, wildcards.seed
    if name not in PANELS:
        return run_file(f"image-{kind}", protocol, file, dataset=name, classes="all", seed=seed)
    trained = {"optimizer": "adam"} if kind == "cnn" else {}
    return run_file(kind, protocol, file, task=name, sigma=FIG04_SIGMA, **trained, seed=seed)


def layer_settings(wildcards):
    """What the transformation of images sees of the configuration."""
    name = wildcards.dataset
    task = {"task": name, "sigma": FIG04_SIGMA} if name in PANELS else {"dataset": name, "classes": "all"}
    section = PANELS[name] if name in PANELS else IMAGE_TASKS[name]
    return {
        **task,
        **section.model_dump(include={"n_train", "n_test", "patch_size"}),
        **SETTINGS.preset.fig04.model_dump(include={"images", "control_draws"}),
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
    }


def fig04_seeds(task):
    """The seeds of which there is both a fit and a network."""
    trained = PANELS[task].cnn.seeds if task in PANELS else IMAGE_TASKS[task].seeds
    return SETTINGS.config.seeds[: min(trained, SETTINGS.preset.fig04.seeds)]


def fig04_runs(protocol, file):
    """One file of every run behind Figure 4."""
    return [
        run_file("layers", protocol, file, dataset=name, seed=seed)
        for name in ready(FIG04_TASKS)
        for seed in fig04_seeds(name)
    ]
