"""What the first layer learns, and Figures 3, 10, 11 and 12."""

from typing import Any

from convrfm.datasets.registry import REGISTRY, files_behind
from convrfm.replication.cluster.fits import FitSize
from convrfm.replication.config.sections.features import FeatureTask
from convrfm.replication.plan.base import Keys, Plan, absent_data, data_needs, image_seeds, run_file

__all__ = [
    "feature_absent", "feature_figure_settings", "feature_fit_settings", "feature_fit_size", "feature_fits",
    "feature_images", "feature_images_shown", "feature_natural", "feature_network_settings", "feature_networks",
    "feature_tasks",
]  # fmt: skip

KERNELS_SHOWN = {"fig03": ["cntk", "laplace"], "fig10": ["cntk"], "fig11": ["laplace"], "fig12": ["cntk"]}
"""The kernels of each figure."""

NETWORKS_SHOWN = ("fig03", "fig10")
"""The figures that show networks, too."""

NATURAL_FIGURES = ("fig03", "fig11")
"""The figures that show large natural images, too."""


def feature_tasks(plan: Plan, figure: str) -> list[str]:
    """The data that a figure shows."""
    natural = [plan.settings.preset.features.natural] if figure in NATURAL_FIGURES else []
    return [*_datasets(plan, figure), *natural]


def _datasets(plan: Plan, figure: str) -> list[str]:
    names: list[str] = getattr(plan.settings.preset, figure).datasets
    return names


def _section(plan: Plan, dataset: str) -> FeatureTask:
    return {task.dataset: task for task in plan.settings.preset.features.tasks}[dataset]


def feature_images(plan: Plan, w: Keys) -> list[str]:
    """The images that the models of a data set are fitted to."""
    return [_images(plan, w["protocol"], w["dataset"], w["seed"])]


def _images(plan: Plan, protocol: str, dataset: str, seed: object) -> str:
    task = _section(plan, dataset)
    appearance = {"size": task.size, "fit": "stretch", "colour": task.colour, "scaling": "unit", "classes": "all"}
    counts = {"n_train": task.n_train, "n_test": task.n_test, "seed": seed}
    return run_file(plan, "prepare", protocol, "arrays", dataset=dataset, **appearance, **counts)


def _ready(plan: Plan, figure: str) -> list[str]:
    """The data sets of a figure whose data are there."""
    needs = _needs(plan, figure)
    return [dataset for dataset in _datasets(plan, figure) if not absent_data(plan, needs[dataset])]


def _needs(plan: Plan, figure: str) -> dict[str, list[str]]:
    """Names of what has to be fetched for each part of a figure; without natural images, Figure 11 has nothing to show."""
    needs, name = data_needs(_datasets(plan, figure)), plan.settings.preset.features.natural
    natural = list(files_behind(name))
    if figure == "fig11":
        return {dataset: own + natural for dataset, own in needs.items()}
    return {**needs, name: natural} if figure == "fig03" else needs


def feature_absent(plan: Plan, figure: str) -> list[str]:
    """State files of what is not present."""
    return absent_data(plan, sorted({name for names in _needs(plan, figure).values() for name in names}))


def _runs(plan: Plan, protocol: str, figure: str) -> list[tuple[str, int]]:
    """Every data set and seed of a figure."""
    count = plan.settings.preset.features.seeds
    return [(dataset, seed) for dataset in _ready(plan, figure) for seed in image_seeds(plan, dataset, protocol, count)]


def feature_images_shown(plan: Plan, protocol: str, figure: str) -> list[str]:
    """The images of a figure's runs."""
    return [_images(plan, protocol, dataset, seed) for dataset, seed in _runs(plan, protocol, figure)]


def feature_fits(plan: Plan, protocol: str, figure: str) -> list[str]:
    """The metrics that a figure shows."""
    return [
        run_file(plan, "features", protocol, "arrays", dataset=dataset, kernel=kernel, seed=seed)
        for dataset, seed in _runs(plan, protocol, figure)
        for kernel in KERNELS_SHOWN[figure]
    ]


def feature_networks(plan: Plan, protocol: str, figure: str) -> list[str]:
    """The networks that a figure shows."""
    if figure not in NETWORKS_SHOWN:
        return []
    return [
        run_file(plan, "feature-network", protocol, "arrays", dataset=dataset, seed=seed)
        for dataset, seed in _runs(plan, protocol, figure)
    ]


def feature_natural(plan: Plan, figure: str) -> list[str]:
    """Large natural images, with the channels of the figure's data set.

    ImageNet lies class by class: both protocols draw from it, stratified by class.
    """
    section = plan.settings.preset.features
    shown = _ready(plan, figure)
    if figure not in NATURAL_FIGURES or absent_data(plan, [section.natural]) or not shown:
        return []
    colour = _section(plan, shown[0]).colour
    appearance = {"size": section.natural_size, "fit": "crop", "colour": colour, "scaling": "unit", "classes": "all"}
    counts = {"n_train": section.natural_images, "n_test": 0, "seed": plan.settings.config.seeds[0]}
    return [run_file(plan, "prepare", "corrected", "arrays", dataset=section.natural, **appearance, **counts)]


def feature_fit_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a fit of ConvRFM sees of the configuration."""
    task, kernel = _section(plan, w["dataset"]), w["kernel"]
    own: dict[str, Any] = {"depth": task.depth, "patch_size": task.patch_size}
    if kernel == "laplace":
        own = {"bandwidth": task.bandwidth, "patch_size": task.laplace_patch_size}
    return {
        **own,
        **task.model_dump(include={"dataset", "rounds", "ridges"}),
        "kernel": kernel,
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
        **plan.settings.config.model_dump(include={"backend", "memory_mb"}),
    }


def feature_fit_size(plan: Plan, w: Keys) -> FitSize:
    """Size of a fit of ConvRFM."""
    task = _section(plan, w["dataset"])
    shape = (1 if task.colour == "grey" else 3, task.size, task.size)
    classes = REGISTRY[task.dataset].classes
    return FitSize(feature_fit_settings(plan, w), task.n_train, task.n_test, shape, classes)


def feature_network_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the training of a network sees of the configuration."""
    task = _section(plan, w["dataset"])
    return {
        **task.model_dump(include={"dataset", "depth", "patch_size"}),
        **task.network.model_dump(),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
        "device": plan.settings.config.device,
    }


def feature_figure_settings(plan: Plan, protocol: str, figure: str) -> dict[str, Any]:
    """What the drawing of a figure sees of the configuration."""
    tasks = [_section(plan, name) for name in _datasets(plan, figure)]
    section = plan.settings.preset.features
    return {
        "protocol": protocol,
        "needs": _needs(plan, figure),
        "natural": section.natural,
        "patch_sizes": {t.dataset: {"cntk": t.patch_size, "laplace": t.laplace_patch_size} for t in tasks},
        **section.model_dump(include={"images", "eigenvectors", "exponent", "control_draws"}),
    }
