"""What Figures 3, 10, 11 and 12 stand on."""

FEATURES = SETTINGS.preset.features
FEATURE_TASKS = {task.dataset: task for task in FEATURES.tasks}
FEATURE_SEEDS = SETTINGS.config.seeds[: FEATURES.seeds]
# What each figure shows, beside the images of its data sets.
FEATURE_KERNELS = {"fig03": ["cntk", "laplace"], "fig10": ["cntk"], "fig11": ["laplace"], "fig12": ["cntk"]}
FEATURE_NETWORKS = ["fig03", "fig10"]
NATURAL_FIGURES = ["fig03", "fig11"]


def feature_images(protocol, dataset, seed):
    """The images that the models of a data set are fitted to."""
    task = FEATURE_TASKS[dataset]
    appearance = {"size": task.size, "fit": "stretch", "colour": task.colour, "scaling": "unit", "classes": "all"}
    counts = {"n_train": task.n_train, "n_test": task.n_test, "seed": seed}
    return run_file("prepare", protocol, "arrays", dataset=dataset, **appearance, **counts)


def feature_datasets(figure):
    """The data sets of a figure whose data are there."""
    needs = feature_needs(figure)
    return [dataset for dataset in getattr(SETTINGS.preset, figure).datasets if not absent_data(needs[dataset])]


def feature_needs(figure):
    """Names of what has to be fetched for each part of a figure; without natural images, Figure 11 has nothing to show."""
    needs = data_needs(getattr(SETTINGS.preset, figure).datasets)
    natural = list(files_behind(FEATURES.natural))
    if figure == "fig11":
        return {dataset: own + natural for dataset, own in needs.items()}
    return {**needs, FEATURES.natural: natural} if figure == "fig03" else needs


def feature_absent(figure):
    """State files of what is not present."""
    return absent_data(sorted({name for names in feature_needs(figure).values() for name in names}))


def feature_runs(figure):
    """Every data set and seed of a figure."""
    return [(dataset, seed) for dataset in feature_datasets(figure) for seed in FEATURE_SEEDS]


def feature_fits(protocol, figure):
    """The metrics that a figure shows."""
    return [
        run_file("features", protocol, "arrays", dataset=dataset, kernel=kernel, seed=seed)
        for dataset, seed in feature_runs(figure)
        for kernel in FEATURE_KERNELS[figure]
    ]


def feature_networks(protocol, figure):
    """The networks that a figure shows."""
    if figure not in FEATURE_NETWORKS:
        return []
    return [
        run_file("feature-network", protocol, "arrays", dataset=dataset, seed=seed)
        for dataset, seed in feature_runs(figure)
    ]


def feature_natural(figure):
    """Large natural images, with the channels of the figure's data set.

    ImageNet lies class by class: both protocols draw from it, stratified by class.
    """
    if figure not in NATURAL_FIGURES or absent_data([FEATURES.natural]) or not feature_datasets(figure):
        return []
    colour = FEATURE_TASKS[feature_datasets(figure)[0]].colour
    appearance = {"size": FEATURES.natural_size, "fit": "crop", "colour": colour, "scaling": "unit", "classes": "all"}
    counts = {"n_train": FEATURES.natural_images, "n_test": 0, "seed": FEATURE_SEEDS[0]}
    return [run_file("prepare", "corrected", "arrays", dataset=FEATURES.natural, **appearance, **counts)]


def feature_figure_inputs(figure):
    """The inputs of a figure's rule."""
    return {
        "states": lambda w: feature_absent(figure),
        "images": lambda w: [feature_images(w.protocol, *run) for run in feature_runs(figure)],
        "fits": lambda w: feature_fits(w.protocol, figure),
        "networks": lambda w: feature_networks(w.protocol, figure),
        "natural": lambda w: feature_natural(figure),
    }


def feature_fit_settings(wildcards):
    """What a fit of ConvRFM sees of the configuration."""
    task, kernel = FEATURE_TASKS[wildcards.dataset], wildcards.kernel
    own = {"depth": task.depth, "patch_size": task.patch_size}
    if kernel == "laplace":
        own = {"bandwidth": task.bandwidth, "patch_size": task.laplace_patch_size}
    return {
        **own,
        **task.model_dump(include={"dataset", "rounds", "ridges"}),
        "kernel": kernel,
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
        **SETTINGS.config.model_dump(include={"backend", "memory_mb"}),
    }


def feature_network_settings(wildcards):
    """What the training of a network sees of the configuration."""
    task = FEATURE_TASKS[wildcards.dataset]
    return {
        **task.model_dump(include={"dataset", "depth", "patch_size"}),
        **task.network.model_dump(),
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
        "device": SETTINGS.config.device,
    }


def feature_figure_settings(protocol, figure):
    """What the drawing of a figure sees of the configuration."""
    sizes = {name: {"cntk": t.patch_size, "laplace": t.laplace_patch_size} for name, t in FEATURE_TASKS.items()}
    return {
        "protocol": protocol,
        "needs": feature_needs(figure),
        "natural": FEATURES.natural,
        "patch_sizes": {name: sizes[name] for name in getattr(SETTINGS.preset, figure).datasets},
        **FEATURES.model_dump(include={"images", "eigenvectors", "exponent", "control_draws"}),
    }
