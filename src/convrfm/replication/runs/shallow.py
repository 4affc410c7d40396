"""The shallow and Myrtle networks of Figure 9: trained, and the ansatz measured before and after."""

from typing import TYPE_CHECKING, Literal, cast

from convrfm.replication.runs.kinds import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "ShallowSettings"]

Architecture = Literal["vanilla", "Myrtle5", "MyrtleMax"]


class ShallowSettings(RunSettings):
    """What the training and measuring of one network sees; names as in `convrfm.replication.figures.fig09.Fig09`."""

    dataset: str
    architecture: Architecture
    patch_size: int
    width: int
    first_std: float
    later_std: float
    learning_rate: float
    batch_size: int
    epochs: int
    evaluate_every: int
    stop_below: float
    device: str


def _images(plan: "Plan", w: Keys) -> list[str]:
    data = plan.shallow_data[w["dataset"]]
    counts, appearance = (data.n_train, data.n_test), data.model_dump(include={"size", "colour", "scaling"})
    return [plan.prepared(w["protocol"], "arrays", data.dataset, counts, w["seed"], kind="resample", **appearance)]


def _settings(plan: "Plan", w: Keys) -> ShallowSettings:
    return ShallowSettings(
        **plan.settings.preset.fig09.model_dump(exclude={"datasets", "architectures", "patch_sizes", "seeds"}),
        dataset=w["dataset"], architecture=cast("Architecture", w["architecture"]), patch_size=int(w["patch_size"]),
        protocol=w["protocol"],
        seed=int(w["seed"]), device=plan.settings.config.device,
    )  # fmt: skip


KINDS = (
    RunKind(
        "shallow",
        "shallow:train_and_measure",
        ("dataset", "architecture", "patch_size", "seed"),
        {"images": _images},
        _settings,
    ),
)
