"""Images that everything is trained on: prepared (chosen, resized, scaled), and draws of the local-signal tasks."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from convrfm.datasets.registry import files_behind
from convrfm.replication.config.models import Model
from convrfm.replication.runs import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "DrawSettings", "PrepareSettings"]


class AppearanceSettings(Model):
    """The form that images are brought into, see `convrfm.datasets.transforms.Appearance`."""

    size: int | None
    fit: str
    colour: str
    scaling: str


class PrepareSettings(RunSettings):
    """What a preparation sees of the configuration."""

    dataset: str
    data_dir: str  # where its files lie
    folders: dict[str, str]  # where its files lie
    digest: str  # of its files; changed data make what was prepared from them stale
    appearance: AppearanceSettings  # the form of the images
    pair: list[int] | None  # two classes; None for all
    n_train: int  # images
    n_test: int  # images
    resampled: bool  # whether images are chosen as the authors' code for Figure 9 does, see `convrfm.datasets.prepare.select`


def _preparation(plan: "Plan", w: Keys, *, resampled: bool) -> PrepareSettings:
    name, size, classes = w["dataset"], w["size"], w["classes"]
    return PrepareSettings.of(
        plan,
        w,
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
        {"state": lambda plan, w: plan.state_of_input(w["dataset"])},
        lambda plan, w: _preparation(plan, w, resampled=resampled),
    )


class DrawSettings(RunSettings):
    """What a draw sees of the configuration."""

    task: str
    n_train: int
    n_test: int


def _kind_of_draw(name: str, keys: tuple[str, ...], seen: Callable[["Plan", Keys], DrawSettings]) -> RunKind:
    def images(plan: "Plan", w: Keys) -> list[str]:
        """The images of a fetched data set that a draw needs: grey, in their own size."""
        given, protocol, seed = seen(plan, w), w["protocol"], w["seed"]
        counts = (given.n_train, given.n_test)
        return [plan.prepared(protocol, "arrays", name, counts, seed, colour="grey") for name in files_behind(w["task"])]

    return RunKind(name, "task_images:draw_task", keys, {"images": images}, seen)


KINDS = (
    _kind("prepare", resampled=False),
    _kind("resample", resampled=True),
    _kind_of_draw("draw", ("task", "seed"), lambda plan, w: DrawSettings.of(plan, w, plan.panels[w["task"]])),
    _kind_of_draw(
        "sized-draw", ("task", "n_train", "n_test", "seed"),
        lambda plan, w: DrawSettings.of(plan, w, n_train=int(w["n_train"]), n_test=int(w["n_test"])),
    ),
)  # fmt: skip
