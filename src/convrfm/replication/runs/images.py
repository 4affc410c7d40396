"""Preparation of images: chosen, resized and scaled; the data of everything that is trained on images."""

from typing import TYPE_CHECKING

from convrfm.replication.config.models import Model
from convrfm.replication.runs.kinds import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "AppearanceSettings", "PrepareSettings"]


class AppearanceSettings(Model):
    """The form that images are brought into, see `convrfm.datasets.transforms.Appearance`."""

    size: int | None
    fit: str
    colour: str
    scaling: str


class PrepareSettings(RunSettings):
    """What a preparation sees of the configuration.

    Attributes:
        dataset: its name.
        data_dir, folders: where its files lie.
        digest: of its files; changed data make what was prepared from them stale.
        appearance: the form of the images.
        pair: two classes; None for all.
        n_train, n_test: images.
        resampled: whether images are chosen as the authors' code for Figure 9 does, see `convrfm.datasets.prepare.select`.
    """

    dataset: str
    data_dir: str
    folders: dict[str, str]
    digest: str
    appearance: AppearanceSettings
    pair: list[int] | None
    n_train: int
    n_test: int
    resampled: bool


def _states(plan: "Plan", w: Keys) -> list[str]:
    return plan.state_of_input(w["dataset"])


def _settings(plan: "Plan", w: Keys, *, resampled: bool) -> PrepareSettings:
    name, size, classes = w["dataset"], w["size"], w["classes"]
    return PrepareSettings(
        protocol=w["protocol"],
        seed=int(w["seed"]),
        dataset=name,
        data_dir=plan.settings.config.data_dir,
        folders=plan.folder_of(name),
        digest=plan.state_of(name)["digest"] if plan.state_of_input(name) else "",
        appearance=AppearanceSettings(
            size=None if size == "native" else int(size), fit=w["fit"], colour=w["colour"], scaling=w["scaling"]
        ),
        pair=None if classes == "all" else [int(label) for label in classes.split("-")],
        n_train=int(w["n_train"]),
        n_test=int(w["n_test"]),
        resampled=resampled,
    )


def _kind(name: str, *, resampled: bool) -> RunKind:
    return RunKind(
        name,
        "images:prepare_images",
        ("dataset", "size", "fit", "colour", "scaling", "classes", "n_train", "n_test", "seed"),
        {"state": _states},
        lambda plan, w: _settings(plan, w, resampled=resampled),
    )


KINDS = (_kind("prepare", resampled=False), _kind("resample", resampled=True))
