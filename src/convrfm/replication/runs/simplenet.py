"""SimpleNet: its training, and the ansatz in it over the epochs, for Figure 8."""

from typing import TYPE_CHECKING, Any, Literal

from convrfm.replication.config.models import Model
from convrfm.replication.runs.kinds import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "SimpleNetAnsatzSettings", "SimpleNetSettings", "SimpleNetTrainingSettings"]


class NetworkChoices(Model):
    """Arguments of `convrfm.networks.simplenet.SimpleNet`."""

    width_divisor: int
    init_std: float
    extra_pool: bool


class SimpleNetSettings(RunSettings):
    """What every job with a SimpleNet sees of the configuration.

    Attributes:
        dataset: its name.
        n_train, n_test: images.
        scaling: of the images.
        network: its shape and initialisation.
        epochs: after which weights are kept and measured, beside the first and the last.
        device: "auto", "cpu" or "cuda".
    """

    dataset: str
    n_train: int
    n_test: int
    scaling: str
    network: NetworkChoices
    epochs: list[int]
    device: str


class SimpleNetTrainingSettings(SimpleNetSettings):
    """What the training sees: its recipe, fields of `convrfm.training.TrainingSettings`."""

    training: dict[str, Any]


class SimpleNetAnsatzSettings(SimpleNetSettings):
    """What the measurement of the ansatz sees."""

    images: int
    mode: Literal["exact", "probe"]
    probes: int
    last_epoch: int


def _images(plan: "Plan", w: Keys) -> list[str]:
    panel = plan.simplenets[w["dataset"]]
    counts = (panel.n_train, panel.n_test)
    appearance: dict[str, Any] = {"size": 32, "colour": "native", "scaling": panel.scaling}
    return [plan.prepared(w["protocol"], "arrays", w["dataset"], counts, w["seed"], **appearance)]


def _weights(plan: "Plan", w: Keys) -> list[str]:
    return [plan.run_file("simplenet", w["protocol"], "arrays", dataset=w["dataset"], seed=w["seed"])]


def _shared(plan: "Plan", w: Keys) -> dict[str, Any]:
    panel = plan.simplenets[w["dataset"]]
    return {
        **panel.model_dump(include={"dataset", "n_train", "n_test", "scaling"}),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
        "network": panel.model_dump(include={"width_divisor", "init_std", "extra_pool"}),
        "epochs": panel.ansatz.epochs,
        "device": plan.settings.config.device,
    }


def _of_training(plan: "Plan", w: Keys) -> SimpleNetTrainingSettings:
    return SimpleNetTrainingSettings(**_shared(plan, w), training=plan.simplenets[w["dataset"]].training.model_dump())


def _of_ansatz(plan: "Plan", w: Keys) -> SimpleNetAnsatzSettings:
    panel = plan.simplenets[w["dataset"]]
    chosen = panel.ansatz.model_dump(include={"images", "mode", "probes"})
    return SimpleNetAnsatzSettings(**_shared(plan, w), **chosen, last_epoch=panel.training.epochs)


KINDS = (
    RunKind(
        "simplenet", "simplenet:train_network", ("dataset", "seed"), {"images": _images}, _of_training
    ),
    RunKind(
        "simplenet-ansatz", "simplenet_ansatz:measure_network", ("dataset", "seed"),
        {"images": _images, "weights": _weights}, _of_ansatz,
    ),
)  # fmt: skip
