"""What Figure 2 is drawn from."""

FIG02_NETWORKS = [SETTINGS.preset.fig02.network]


def fig02_run(protocol, file):
    """One file of the transformed images, where the network's data are there."""
    return [
        run_file("transformed", protocol, file, network=network, seed=ZOO_SEED) for network in zoo_ready(FIG02_NETWORKS)
    ]


def fig02_sources(protocol, network, seed):
    """The images that are transformed, by where they come from: a stand-in gets scikit-learn's photographs as well."""
    sources = {"images": zoo_images(protocol, network, seed)}
    if network in STANDINS:
        size = STANDINS[network].size
        appearance = {"size": size, "fit": "crop", "colour": "rgb", "scaling": "imagenet", "classes": "all"}
        counts = {"n_train": 2, "n_test": 0, "seed": seed}
        sources["photographs"] = run_file("prepare", protocol, "arrays", dataset="photographs", **appearance, **counts)
    return sources


def transformed_settings(wildcards):
    """What the transformation of images sees of the configuration."""
    return {**network_settings(wildcards), **SETTINGS.preset.fig02.model_dump(exclude={"network"})}
