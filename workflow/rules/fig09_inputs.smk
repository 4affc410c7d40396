"""What Figure 9 is drawn from, and what its jobs see of the configuration."""

SHALLOW_KEYS = ["dataset", "architecture", "patch_size", "seed"]
SHALLOW_DATA = {entry.dataset: entry for entry in SETTINGS.preset.fig09.datasets}


def shallow_images(wildcards):
    """The images of one data set."""
    entry = SHALLOW_DATA[wildcards.dataset]
    appearance = {"size": entry.size, "fit": "stretch", "colour": entry.colour, "scaling": entry.scaling}
    counts = {"n_train": entry.n_train, "n_test": entry.n_test, "seed": wildcards.seed}
    return run_file(
        "resample", wildcards.protocol, "arrays", dataset=entry.dataset, **appearance, classes="all", **counts
    )


def shallow_settings(wildcards):
    """What the training and measuring of one network sees of the configuration."""
    return {
        **SETTINGS.preset.fig09.model_dump(exclude={"datasets", "architectures", "patch_sizes", "seeds"}),
        "dataset": wildcards.dataset,
        "architecture": wildcards.architecture,
        "patch_size": int(wildcards.patch_size),
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
        "device": SETTINGS.config.device,
    }


def fig09_runs(protocol, file):
    """One file of every network behind Figure 9."""
    section = SETTINGS.preset.fig09
    return [
        run_file(
            "shallow",
            protocol,
            file,
            dataset=dataset,
            architecture=architecture,
            patch_size=patch_size,
            seed=seed,
        )
        for dataset in ready(SHALLOW_DATA)
        for architecture in section.architectures
        for patch_size in section.patch_sizes
        for seed in SETTINGS.config.seeds[: section.seeds]
    ]
