"""What Figure 6 is drawn from."""


def image_task(wildcards):
    """The section of a data set, or that of its pairs of classes."""
    return (IMAGE_TASKS if wildcards.classes == "all" else PAIR_TASKS)[wildcards.dataset]


def image_counts(protocol, file, task, classes, seed):
    """One file of the preparation of a task's images."""
    appearance = {"size": task.size or "native", "fit": "stretch", "colour": task.colour, "scaling": "unit"}
    counts = {"classes": classes, "n_train": task.n_train, "n_test": task.n_test, "seed": seed}
    return run_file("prepare", protocol, file, dataset=task.dataset, **appearance, **counts)


def image_files(wildcards):
    """The prepared images of a task."""
    return image_counts(wildcards.protocol, "arrays", image_task(wildcards), wildcards.classes, wildcards.seed)


def image_memory(wildcards):
    """MiB that the features of a stage take, with room for copies."""
    task = image_task(wildcards)
    return 6 * 4 * (task.n_train + task.n_test) * task.rfm.filters * (task.size or 32) ** 2 // 2**20


def image_settings(wildcards):
    """What every fit to a task sees of the configuration."""
    return {
        **image_task(wildcards).model_dump(include={"dataset", "n_train", "n_test", "depth", "patch_size"}),
        "classes": wildcards.classes,
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
    }


def image_fit_settings(wildcards):
    """What a fit of the kernels sees of the configuration."""
    return {
        **image_settings(wildcards),
        "rfm": image_task(wildcards).rfm.model_dump(),
        "changes": {},
        **SETTINGS.config.model_dump(include={"backend", "memory_mb"}),
    }


def image_training_settings(wildcards):
    """What the training of a network sees of the configuration."""
    return {
        **image_settings(wildcards),
        **image_task(wildcards).cnn.model_dump(),
        "device": SETTINGS.config.device,
    }


def image_seeds(task):
    """The seeds that a task is run with."""
    return SETTINGS.config.seeds[: task.seeds]


def fig06_runs(protocol, file):
    """One file of every fit and training behind Figure 6; those of the local-signal tasks are Figure 5's."""
    images = [
        run_file(experiment, protocol, file, dataset=name, classes="all", seed=seed)
        for experiment in ("image-rfm", "image-cnn")
        for name in ready(IMAGE_TASKS)
        for seed in image_seeds(IMAGE_TASKS[name])
    ]
    fits = [
        run_file("rfm", protocol, file, task=name, sigma=FIG06_SIGMA, seed=seed)
        for name in ready(FIG06_LOCAL)
        for seed in SETTINGS.config.seeds
    ]
    trainings = [
        run_file("cnn", protocol, file, task=name, sigma=FIG06_SIGMA, optimizer="adam", seed=seed)
        for name in ready(FIG06_LOCAL)
        for seed in SETTINGS.config.seeds[: PANELS[name].cnn.seeds]
    ]
    return images + fits + trainings


def fig06_counts(protocol):
    """How many images of each class the tasks have."""
    return [
        image_counts(protocol, "metrics", IMAGE_TASKS[name], "all", seed)
        for name in ready(IMAGE_TASKS)
        for seed in image_seeds(IMAGE_TASKS[name])
    ]


def fig06_settings(protocol):
    """What the drawing of Figure 6 sees of the configuration."""
    return {**figure_settings(protocol, TASKS["fig06"]), "layers": [*SETTINGS.preset.fig06.layers, *FIG06_LOCAL]}


def fig06_pair_runs(protocol, file):
    """One file of every fit and training of a pair of classes."""
    return [
        run_file(experiment, protocol, file, dataset=name, classes=pair, seed=seed)
        for experiment in ("image-rfm", "image-cnn")
        for name in ready(PAIR_TASKS)
        for pair in PAIR_TASKS[name].pairs
        for seed in image_seeds(PAIR_TASKS[name])
    ]


def fig06_pair_counts(protocol):
    """How many images of each class the pairs have."""
    return [
        image_counts(protocol, "metrics", PAIR_TASKS[name], pair, seed)
        for name in ready(PAIR_TASKS)
        for pair in PAIR_TASKS[name].pairs
        for seed in image_seeds(PAIR_TASKS[name])
    ]
