"""What the networks of Figures 1, 2 and 7 stand on."""

STANDINS = {f"{standin.network}-standin": standin for standin in ZOO.standins}
ZOO_SEED = SETTINGS.config.seeds[0]


def zoo_needs(network):
    """Names of the data that a network of the zoo needs and that have to be fetched."""
    return [] if network in STANDINS else [network, *files_behind(ZOO.dataset)]


def zoo_figure_settings(protocol, networks):
    """What the drawing of a figure sees of the configuration: what each of its networks needs, beside the protocol."""
    return {"protocol": protocol, "needs": {network: zoo_needs(network) for network in networks}}


def zoo_absent(networks):
    """State files of the data that networks need and that are not present."""
    return absent_data(sorted({name for network in networks for name in zoo_needs(network)}))


def zoo_ready(networks):
    """The networks whose data are present, or need not be fetched."""
    return [network for network in networks if not zoo_absent([network])]


def zoo_measured(protocol, file, networks):
    """One file of the measurement of each network whose data are there."""
    return [run_file("ansatz", protocol, file, network=network, seed=ZOO_SEED) for network in zoo_ready(networks)]


def standin_images(protocol, network, seed):
    """The digits that a stand-in is trained on."""
    standin = STANDINS[network]
    appearance = {"size": standin.size, "fit": "stretch", "colour": "rgb", "scaling": "imagenet", "classes": "all"}
    counts = {"n_train": standin.n_train, "n_test": standin.n_test, "seed": seed}
    return run_file("prepare", protocol, "arrays", dataset="digits", **appearance, **counts)


def zoo_images(protocol, network, seed):
    """The images that a network is measured on.

    ImageNet lies class by class, and the authors shuffle it: both protocols draw the images, stratified by class.
    """
    if network in STANDINS:
        return standin_images(protocol, network, seed)
    appearance = {"size": 224, "fit": "crop", "colour": "rgb", "scaling": "imagenet", "classes": "all"}
    counts = {"n_train": ZOO.measurement.images, "n_test": 0, "seed": seed}
    return run_file("prepare", "corrected", "arrays", dataset=ZOO.dataset, **appearance, **counts)


def zoo_states(wildcards):
    """The state of pretrained weights. It is written anew by each check, which alone makes nothing stale."""
    if wildcards.network in STANDINS:
        return []
    data_state(wildcards.network)
    return [ancient(state_file(wildcards.network))]


def zoo_training(wildcards):
    """The training of a stand-in."""
    if wildcards.network not in STANDINS:
        return []
    return [run_file("standin", wildcards.protocol, "arrays", network=wildcards.network, seed=wildcards.seed)]


def standin_settings(wildcards):
    """What the training of a stand-in sees of the configuration."""
    keys = {"network", "divisor", "learning_rate", "epochs", "batch_size", "snapshots"}
    return {
        **STANDINS[wildcards.network].model_dump(include=keys),
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
        "device": SETTINGS.config.device,
    }


def network_settings(wildcards):
    """Which network a job loads, and from where."""
    name, standin = wildcards.network, STANDINS.get(wildcards.network)
    shared = {"protocol": wildcards.protocol, "seed": int(wildcards.seed), "device": SETTINGS.config.device}
    if standin is not None:
        return {
            **shared,
            "network": standin.network,
            "weights": "",
            "divisor": standin.divisor,
            "epochs": standin.epochs,
        }
    return {
        **shared,
        "network": REGISTRY[name].network,
        "weights": name,
        "divisor": 1,
        "epochs": 0,
        "data_dir": SETTINGS.config.data_dir,
        "folders": {key: path for key, path in DATA_SETTINGS["folders"].items() if key == name},
        # Weights that have changed make what was measured stale.
        "digest": data_state(name)["digest"],
    }


def ansatz_settings(wildcards):
    """What a measurement sees of the configuration."""
    return {**network_settings(wildcards), **ZOO.measurement.model_dump()}
