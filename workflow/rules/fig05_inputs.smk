"""What Figure 5 is drawn from."""


def fig05_fits(protocol, file):
    """One file of every fit of the kernels behind Figure 5."""
    return [
        run_file("rfm", protocol, file, task=task, sigma=sigma, seed=seed)
        for task in ready(PANELS)
        for sigma in PANELS[task].sigmas
        for seed in SETTINGS.config.seeds
    ]


def fig05_trainings(protocol, file):
    """One file of every network behind Figure 5."""
    return [
        run_file("cnn", protocol, file, task=task, sigma=sigma, optimizer=optimizer, seed=seed)
        for task in ready(PANELS)
        for sigma in PANELS[task].sigmas
        for optimizer in ("adam", "sgd")
        for seed in SETTINGS.config.seeds[: PANELS[task].cnn.seeds]
    ]


def fig05_draws(protocol):
    """The draws behind Figure 5."""
    return [
        run_file("draw", protocol, "arrays", task=task, seed=seed)
        for task in ready(PANELS)
        for seed in SETTINGS.config.seeds
    ]
