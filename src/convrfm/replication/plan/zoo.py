"""The networks of Figures 1, 2 and 7: stand-ins and pretrained ones, the ansatz in each, and images through their layers."""

from collections.abc import Sequence
from typing import Any

from convrfm.datasets.registry import REGISTRY, files_behind
from convrfm.replication.config.sections.zoo import StandIn
from convrfm.replication.plan.base import Keys, Plan, absent_data, run_file, state_file
from convrfm.replication.plan.data import folders_of

__all__ = [
    "ansatz_settings", "fig01_settings", "fig02_run", "measured_run", "standin_images", "standin_settings",
    "transformed_images", "transformed_settings", "zoo_absent", "zoo_figure_settings", "zoo_images", "zoo_measured",
    "zoo_states", "zoo_tasks", "zoo_training",
]  # fmt: skip


def _standins(plan: Plan) -> dict[str, StandIn]:
    return {f"{standin.network}-standin": standin for standin in plan.settings.preset.zoo.standins}


def _seed(plan: Plan) -> int:
    """The seed of all networks of the zoo."""
    return plan.settings.config.seeds[0]


def zoo_tasks(plan: Plan, networks: Sequence[str]) -> list[str]:
    """The data behind those of some networks that are pretrained, and behind the images that they see."""
    zoo = plan.settings.preset.zoo
    pretrained = [name for name in networks if name in zoo.weights]
    return [*pretrained, zoo.dataset] if pretrained else []


def _needs(plan: Plan, network: str) -> list[str]:
    """Names of the data that a network of the zoo needs and that have to be fetched."""
    return [] if network in _standins(plan) else [network, *files_behind(plan.settings.preset.zoo.dataset)]


def zoo_figure_settings(plan: Plan, protocol: str, networks: Sequence[str]) -> dict[str, Any]:
    """What the drawing of a figure sees of the configuration: what each of its networks needs, beside the protocol."""
    return {"protocol": protocol, "needs": {network: _needs(plan, network) for network in networks}}


def fig01_settings(plan: Plan, protocol: str) -> dict[str, Any]:
    """What the drawing of Figure 1 sees of the configuration."""
    preset = plan.settings.preset
    return {**zoo_figure_settings(plan, protocol, preset.zoo.networks), **preset.fig01.model_dump()}


def zoo_absent(plan: Plan, networks: Sequence[str]) -> list[str]:
    """State files of the data that networks need and that are not present."""
    return absent_data(plan, sorted({name for network in networks for name in _needs(plan, network)}))


def _ready(plan: Plan, networks: Sequence[str]) -> list[str]:
    """The networks whose data are present, or need not be fetched."""
    return [network for network in networks if not zoo_absent(plan, [network])]


def zoo_measured(plan: Plan, protocol: str, file: str, networks: Sequence[str]) -> list[str]:
    """One file of the measurement of each network whose data are there."""
    return [
        run_file(plan, "ansatz", protocol, file, network=network, seed=_seed(plan))
        for network in _ready(plan, networks)
    ]


def fig02_run(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of the transformed images of Figure 2, where the network's data are there."""
    return [
        run_file(plan, "transformed", protocol, file, network=network, seed=_seed(plan))
        for network in _ready(plan, [plan.settings.preset.fig02.network])
    ]


def standin_images(plan: Plan, w: Keys) -> list[str]:
    """The digits that a stand-in is trained on."""
    standin = _standins(plan)[w["network"]]
    appearance = {"size": standin.size, "fit": "stretch", "colour": "rgb", "scaling": "imagenet", "classes": "all"}
    counts = {"n_train": standin.n_train, "n_test": standin.n_test, "seed": w["seed"]}
    return [run_file(plan, "prepare", w["protocol"], "arrays", dataset="digits", **appearance, **counts)]


def zoo_images(plan: Plan, w: Keys) -> list[str]:
    """The images that a network is measured on.

    ImageNet lies class by class, and the authors shuffle it: both protocols draw the images, stratified by class.
    """
    if w["network"] in _standins(plan):
        return standin_images(plan, w)
    zoo = plan.settings.preset.zoo
    appearance = {"size": 224, "fit": "crop", "colour": "rgb", "scaling": "imagenet", "classes": "all"}
    counts = {"n_train": zoo.measurement.images, "n_test": 0, "seed": w["seed"]}
    return [run_file(plan, "prepare", "corrected", "arrays", dataset=zoo.dataset, **appearance, **counts)]


def transformed_images(plan: Plan, w: Keys) -> list[str]:
    """The images that are transformed: those of the network; a stand-in gets scikit-learn's photographs as well."""
    images = zoo_images(plan, w)
    standin = _standins(plan).get(w["network"])
    if standin is None:
        return images
    appearance = {"size": standin.size, "fit": "crop", "colour": "rgb", "scaling": "imagenet", "classes": "all"}
    counts = {"n_train": 2, "n_test": 0, "seed": w["seed"]}
    photographs = run_file(plan, "prepare", w["protocol"], "arrays", dataset="photographs", **appearance, **counts)
    return [*images, photographs]


def measured_run(plan: Plan, w: Keys) -> list[str]:
    """The measurement of a network."""
    return [run_file(plan, "ansatz", w["protocol"], "arrays", network=w["network"], seed=w["seed"])]


def zoo_states(plan: Plan, w: Keys) -> list[str]:
    """The state of pretrained weights."""
    if w["network"] in _standins(plan):
        return []
    # Asked for, so that the workflow looks for the weights first.
    plan.state_of(w["network"])
    return [state_file(plan, w["network"])]


def zoo_training(plan: Plan, w: Keys) -> list[str]:
    """The training of a stand-in."""
    if w["network"] not in _standins(plan):
        return []
    return [run_file(plan, "standin", w["protocol"], "arrays", network=w["network"], seed=w["seed"])]


def standin_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the training of a stand-in sees of the configuration."""
    keys = {"network", "divisor", "learning_rate", "epochs", "batch_size", "snapshots"}
    return {
        **_standins(plan)[w["network"]].model_dump(include=keys),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
        "device": plan.settings.config.device,
    }


def _network_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """Which network a job loads, and from where."""
    name, standin = w["network"], _standins(plan).get(w["network"])
    shared = {"protocol": w["protocol"], "seed": int(w["seed"]), "device": plan.settings.config.device}
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
        "data_dir": plan.settings.config.data_dir,
        "folders": folders_of(plan, name),
        # Weights that have changed make what was measured stale.
        "digest": plan.state_of(name)["digest"],
    }


def ansatz_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a measurement sees of the configuration."""
    return {**_network_settings(plan, w), **plan.settings.preset.zoo.measurement.model_dump()}


def transformed_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the transformation of images sees of the configuration."""
    return {**_network_settings(plan, w), **plan.settings.preset.fig02.model_dump(exclude={"network"})}
