"""Every kind of run and every figure: the job that makes it, what it reads, and what it sees of the configuration."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from convrfm.replication.claims.claims import load_claims
from convrfm.replication.plan import beyond, data, features, fig04, fig05, fig06, fig08, fig09, printed, zoo
from convrfm.replication.plan.base import Keys, Plan, absent_data, figure_settings

__all__ = ["DRAWS", "EXPERIMENTS", "FIGURES", "Experiment", "FigureOf", "asked_figures"]

Files = Callable[[Plan, Keys], list[str]]
"""Gives files, relative to the project, for the keys of a run."""

PREPARE_KEYS = ("dataset", "size", "fit", "colour", "scaling", "classes", "n_train", "n_test", "seed")


@dataclass(frozen=True)
class Experiment:
    """One kind of run.

    Attributes:
        job: the library function, `module:function`.
        keys: what its folders are named by, in their order; the protocol comes beside them.
        inputs: the files that it reads, by name.
        settings: what it sees of the configuration.
    """

    job: str
    keys: tuple[str, ...]
    inputs: Mapping[str, Files]
    settings: Callable[[Plan, Keys], dict[str, Any]]


@dataclass(frozen=True)
class FigureOf:
    """One figure.

    Attributes:
        job: the library function, `module:function`.
        tasks: the names whose data it stands on, as `convrfm.datasets.registry.files_behind` knows them.
        inputs: the files that it is drawn from, by name; keys have the protocol alone.
        settings: what it sees of the configuration.
    """

    job: str
    tasks: Callable[[Plan], list[str]]
    inputs: Mapping[str, Files]
    settings: Callable[[Plan, Keys], dict[str, Any]]


def _of_layers(kind: str, file: str) -> Files:
    return lambda plan, w: fig04.layer_run(plan, w, kind, file)


EXPERIMENTS: dict[str, Experiment] = {
    "prepare": Experiment(
        "convrfm.replication.jobs.prepare:prepare_images",
        PREPARE_KEYS,
        {"state": data.prepare_states},
        data.prepare_settings,
    ),
    "resample": Experiment(
        "convrfm.replication.jobs.prepare:prepare_images",
        PREPARE_KEYS,
        {"state": data.prepare_states},
        data.resample_settings,
    ),
    "draw": Experiment(
        "convrfm.replication.jobs.draw:draw_task", ("task", "seed"), {"images": data.draw_images}, data.draw_settings
    ),
    "sized-draw": Experiment(
        "convrfm.replication.jobs.draw:draw_task",
        ("task", "n_train", "n_test", "seed"),
        {"images": beyond.sized_draw_images},
        beyond.sized_draw_settings,
    ),
    "rfm": Experiment(
        "convrfm.replication.jobs.rfm:fit_task",
        ("task", "sigma", "seed"),
        {"draw": fig05.draw_of_task},
        fig05.fit_settings,
    ),
    "cnn": Experiment(
        "convrfm.replication.jobs.cnn:train_task",
        ("task", "sigma", "optimizer", "seed"),
        {"draw": fig05.draw_of_task},
        fig05.training_settings,
    ),
    "image-rfm": Experiment(
        "convrfm.replication.jobs.rfm:fit_task",
        ("dataset", "classes", "seed"),
        {"images": fig06.image_files},
        fig06.image_fit_settings,
    ),
    "image-cnn": Experiment(
        "convrfm.replication.jobs.cnn:train_task",
        ("dataset", "classes", "seed"),
        {"images": fig06.image_files},
        fig06.image_training_settings,
    ),
    "layers": Experiment(
        "convrfm.replication.jobs.layers:transform_layers",
        ("dataset", "seed"),
        {
            "draw": fig04.layer_draw,
            "images": fig04.layer_images,
            "fit": _of_layers("rfm", "arrays"),
            "history": _of_layers("rfm", "metrics"),
            "network": _of_layers("cnn", "arrays"),
        },
        fig04.layer_settings,
    ),
    "features": Experiment(
        "convrfm.replication.jobs.features:fit_metric",
        ("dataset", "kernel", "seed"),
        {"images": features.feature_images},
        features.feature_fit_settings,
    ),
    "feature-network": Experiment(
        "convrfm.replication.jobs.feature_network:train_network",
        ("dataset", "seed"),
        {"images": features.feature_images},
        features.feature_network_settings,
    ),
    "standin": Experiment(
        "convrfm.replication.jobs.standin:train_standin",
        ("network", "seed"),
        {"images": zoo.standin_images},
        zoo.standin_settings,
    ),
    "ansatz": Experiment(
        "convrfm.replication.jobs.ansatz:measure_network",
        ("network", "seed"),
        {"images": zoo.zoo_images, "states": zoo.zoo_states, "training": zoo.zoo_training},
        zoo.ansatz_settings,
    ),
    "transformed": Experiment(
        "convrfm.replication.jobs.transformed:transform_images",
        ("network", "seed"),
        {
            "images": zoo.transformed_images,
            "measured": zoo.measured_run,
            "states": zoo.zoo_states,
            "training": zoo.zoo_training,
        },
        zoo.transformed_settings,
    ),
    "simplenet": Experiment(
        "convrfm.replication.jobs.simplenet:train_network",
        ("dataset", "seed"),
        {"images": fig08.simplenet_images},
        fig08.simplenet_training,
    ),
    "simplenet-ansatz": Experiment(
        "convrfm.replication.jobs.simplenet_ansatz:measure_network",
        ("dataset", "seed"),
        {"images": fig08.simplenet_images, "weights": fig08.simplenet_weights},
        fig08.simplenet_ansatz,
    ),
    "shallow": Experiment(
        "convrfm.replication.jobs.shallow:train_and_measure",
        ("dataset", "architecture", "patch_size", "seed"),
        {"images": fig09.shallow_images},
        fig09.shallow_settings,
    ),
    "variant": Experiment(
        "convrfm.replication.jobs.rfm:fit_task",
        ("variant", "task", "sigma", "n_train", "seed"),
        {"draw": beyond.variant_draw},
        beyond.variant_settings,
    ),
    "printed-rfm": Experiment(
        "convrfm.replication.jobs.rfm:fit_task",
        ("task", "sigma", "n_train", "n_test", "seed"),
        {"draw": printed.printed_fit_draw},
        printed.printed_fit_settings,
    ),
}
"""Every kind of run, by the name of its folder."""

DRAWS = ("prepare", "resample", "draw", "sized-draw")
"""Kinds of runs that draw images by their seed: what all others rest on."""


def _networks(plan: Plan) -> list[str]:
    return plan.settings.preset.zoo.networks


def _network_of_fig02(plan: Plan) -> list[str]:
    return [plan.settings.preset.fig02.network]


def _zoo_figure(job: str, networks: Callable[[Plan], list[str]], inputs: Mapping[str, Files]) -> FigureOf:
    return FigureOf(
        job,
        lambda plan: zoo.zoo_tasks(plan, networks(plan)),
        {"states": lambda plan, _: zoo.zoo_absent(plan, networks(plan)), **inputs},
        lambda plan, w: zoo.zoo_figure_settings(plan, w["protocol"], networks(plan)),
    )


def _measured(file: str) -> Files:
    return lambda plan, w: zoo.zoo_measured(plan, w["protocol"], file, _networks(plan))


def _transformed(file: str) -> Files:
    return lambda plan, w: zoo.fig02_run(plan, w["protocol"], file)


def _feature_figure(figure: str) -> FigureOf:
    return FigureOf(
        f"convrfm.replication.figures.drawing.{figure}:draw_figure",
        lambda plan: features.feature_tasks(plan, figure),
        {
            "states": lambda plan, _: features.feature_absent(plan, figure),
            "images": lambda plan, w: features.feature_images_shown(plan, w["protocol"], figure),
            "fits": lambda plan, w: features.feature_fits(plan, w["protocol"], figure),
            "networks": lambda plan, w: features.feature_networks(plan, w["protocol"], figure),
            "natural": lambda plan, _: features.feature_natural(plan, figure),
        },
        lambda plan, w: features.feature_figure_settings(plan, w["protocol"], figure),
    )


def _figure(
    figure: str,
    tasks: Callable[[Plan], list[str]],
    inputs: Mapping[str, Files],
    settings: Callable[[Plan, str], dict[str, Any]] | None = None,
) -> FigureOf:
    """A figure that stands on tasks; its settings are what they need, unless it has more."""
    return FigureOf(
        f"convrfm.replication.figures.drawing.{figure}:draw_figure",
        tasks,
        {"states": lambda plan, _: absent_data(plan, tasks(plan)), **inputs},
        lambda plan, w: (
            figure_settings(w["protocol"], tasks(plan)) if settings is None else settings(plan, w["protocol"])
        ),
    )


def _runs(of: Callable[[Plan, str, str], list[str]], *files: str) -> dict[str, Files]:
    """Inputs `metrics`, `records` and `arrays`, as far as asked for, from what gives one file of every run."""
    names = {"metrics": "metrics", "records": "record", "arrays": "arrays"}
    return {name: partial(_files_of, of, names[name]) for name in files}


def _files_of(of: Callable[[Plan, str, str], list[str]], file: str, plan: Plan, w: Keys) -> list[str]:
    return of(plan, w["protocol"], file)


def _fig05_runs(plan: Plan, protocol: str, file: str) -> list[str]:
    return fig05.fig05_fits(plan, protocol, file) + fig05.fig05_trainings(plan, protocol, file)


def _quoting(figure: str, of: FigureOf) -> FigureOf:
    """A figure whose settings carry the rules of the claims that its caption quotes: an edited threshold makes it stale."""

    def settings(plan: Plan, w: Keys) -> dict[str, Any]:
        rules = {claim.id: claim.rule() for claim in load_claims() if figure in claim.tables}
        return {**of.settings(plan, w), **({"claims": rules} if rules else {})}

    return replace(of, settings=settings)


_DRAWN: dict[str, FigureOf] = {
    "fig01": FigureOf(
        "convrfm.replication.figures.drawing.fig01:draw_figure",
        lambda plan: zoo.zoo_tasks(plan, _networks(plan)),
        {
            "states": lambda plan, _: zoo.zoo_absent(plan, _networks(plan)),
            "metrics": _measured("metrics"),
            "records": _measured("record"),
            "arrays": lambda plan, w: zoo.zoo_measured(
                plan, w["protocol"], "arrays", plan.settings.preset.fig01.heat_maps
            ),
        },
        lambda plan, w: zoo.fig01_settings(plan, w["protocol"]),
    ),
    "fig02": _zoo_figure(
        "convrfm.replication.figures.drawing.fig02:draw_figure",
        _network_of_fig02,
        {"metrics": _transformed("metrics"), "records": _transformed("record"), "arrays": _transformed("arrays")},
    ),
    "fig03": _feature_figure("fig03"),
    "fig04": _figure("fig04", fig04.fig04_tasks, _runs(fig04.fig04_runs, "metrics", "records", "arrays")),
    "fig05": _figure(
        "fig05",
        lambda plan: list(plan.panels),
        {
            **_runs(_fig05_runs, "metrics", "records", "arrays"),
            "draws": lambda plan, w: fig05.fig05_draws(plan, w["protocol"]),
        },
    ),
    "fig06": _figure(
        "fig06",
        fig06.fig06_tasks,
        {
            **_runs(fig06.fig06_runs, "metrics", "records", "arrays"),
            "counts": lambda plan, w: fig06.fig06_counts(plan, w["protocol"]),
        },
        fig06.fig06_settings,
    ),
    "fig06_pairs": _figure(
        "fig06_pairs",
        lambda plan: list(plan.pairs),
        {
            **_runs(fig06.fig06_pair_runs, "metrics", "records", "arrays"),
            "counts": lambda plan, w: fig06.fig06_pair_counts(plan, w["protocol"]),
        },
    ),
    "fig07": _zoo_figure(
        "convrfm.replication.figures.drawing.fig07:draw_figure",
        _networks,
        {"metrics": _measured("metrics"), "records": _measured("record")},
    ),
    "fig08": _figure(
        "fig08",
        lambda plan: list(plan.simplenets),
        {
            "histories": lambda plan, w: fig08.fig08_runs(plan, w["protocol"], "simplenet", "metrics"),
            "trainings": lambda plan, w: fig08.fig08_runs(plan, w["protocol"], "simplenet", "record"),
            "metrics": lambda plan, w: fig08.fig08_runs(plan, w["protocol"], "simplenet-ansatz", "metrics"),
            "records": lambda plan, w: fig08.fig08_runs(plan, w["protocol"], "simplenet-ansatz", "record"),
        },
    ),
    "fig09": _figure("fig09", lambda plan: list(fig09.fig09_data(plan)), _runs(fig09.fig09_runs, "metrics", "records")),
    "fig10": _feature_figure("fig10"),
    "fig11": _feature_figure("fig11"),
    "fig12": _feature_figure("fig12"),
    "theorem1": FigureOf(
        "convrfm.replication.figures.drawing.theorem1:check_and_draw",
        lambda _: [],
        {},
        lambda plan, w: {"protocol": w["protocol"], **plan.settings.preset.theorem1.model_dump()},
    ),
    "printed": FigureOf(
        "convrfm.replication.figures.drawing.printed:draw_figure",
        printed.printed_tasks,
        {
            "states": lambda plan, _: absent_data(plan, printed.printed_tasks(plan)),
            "metrics": lambda plan, _: printed.printed_runs(plan, "metrics"),
            "records": lambda plan, _: printed.printed_runs(plan, "record"),
        },
        lambda plan, w: printed.printed_settings(plan, w["protocol"]),
    ),
    "beyond": _figure(
        "beyond",
        lambda plan: list(plan.studies),
        _runs(beyond.beyond_runs, "metrics", "records"),
        beyond.beyond_settings,
    ),
}

FIGURES = {figure: _quoting(figure, of) for figure, of in _DRAWN.items()}
"""Every figure, by name."""


def asked_figures(plan: Plan) -> Iterator[tuple[str, str]]:
    """Figure and protocol of everything that the target `all` asks for."""
    preset = plan.settings.preset
    for protocol in plan.settings.protocols:
        for figure in FIGURES:
            asked = {
                "fig06_pairs": bool(plan.pairs),
                # What the authors printed is of this protocol.
                "printed": bool(preset.printed.runs) and protocol == "published",
                "beyond": preset.beyond.in_all,
            }
            if asked.get(figure, True):
                yield figure, protocol
    if preset.printed.runs and "published" not in plan.settings.protocols:
        yield "printed", "published"
