"""What the figure beyond the paper is drawn from."""


def beyond_runs(protocol, file):
    """One file of every fit behind the figure; single choices are changed in `published`, whatever the figure's protocol."""
    curves = [(protocol, name, n, {}) for name in ready(STUDIES) for n in STUDIES[name].n_train]
    points = [(protocol, STUDIED, CHOICES.n_train, changes) for changes in AGOP_CHANGES]
    singles = [("published", STUDIED, CHOICES.n_train, changes) for changes in [{}, *SINGLE_CHANGES]]
    wholes = [("corrected", STUDIED, CHOICES.n_train, {})]
    studied = points + singles + wholes if STUDIED in ready(STUDIES) else []
    files = [
        variant_run(of, file, task, n, changes, seed)
        for of, task, n, changes in curves + studied
        for seed in SETTINGS.preset.beyond.seeds
    ]
    return list(dict.fromkeys(files))


def beyond_settings(protocol):
    """What the drawing sees of the configuration."""
    return {
        **figure_settings(protocol, STUDIES),
        "choices": {
            "task": STUDIED,
            "n_train": CHOICES.n_train,
            "changes": [variant_of("published", changes) for changes in SINGLE_CHANGES],
        },
    }
