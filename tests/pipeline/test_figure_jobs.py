"""What the jobs of all figures share: what they skip, what they write, and which runs they read."""

import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from convrfm.datasets.registry import find_entry
from convrfm.replication.figures.figure import FigureSpec, read_recorded_runs, read_runs, runs_with
from convrfm.replication.record.closure import import_closure
from convrfm.replication.record.record import RUN_FILES, Recorder
from convrfm.replication.record.session import Job
from convrfm.system.storage import write_json, write_table

NEEDS = {"digits": [], "svhn": ["svhn"], "both": ["mnist", "svhn"]}
TABLE = pd.DataFrame({"value": [0.25, 0.5]})


def figure(folder, needs, **states):
    """The job of a figure whose data are in these states."""
    paths = []
    for name, state in states.items():
        paths.append(folder / name / "state.json")
        reason = f"{find_entry(name).title} is {state}: no such file."
        write_json(paths[-1], {"dataset": name, "state": state, "reason": reason, "remedy": "Do this."})
    forms = ("png", "pdf", "parquet", "csv", "md")
    outputs = {**{form: folder / f"figure.{form}" for form in forms}, "record": folder / "figure.json"}
    settings = {"protocol": "published", "needs": needs}
    return Job({"states": paths}, outputs, settings, 1, Recorder("test", "", settings))


SPEC = FigureSpec("Figure 13", "", "", lambda _: NEEDS)


@SPEC.drawn
def draw_figure(job, skipped):
    """Draw next to nothing."""
    return TABLE, Figure(figsize=(1, 1)), f"Without {', '.join(skipped) or 'nothing'}.\n"


@SPEC.drawn
def must_not_draw(job, skipped):
    pytest.fail("there is nothing to draw")


@pytest.mark.parametrize(
    ("states", "caption", "skipped"),
    [
        ({}, "Without nothing.\n", {}),
        ({"svhn": "present"}, "Without nothing.\n", {}),
        ({"mnist": "corrupt"}, "Without both.\n\n- MNIST is corrupt: no such file. Do this.\n", {"both": "MNIST is corrupt"}),
        (
            {"mnist": "absent", "svhn": "absent"},
            (
                "Without svhn, both.\n\n- MNIST is absent: no such file. Do this.\n"
                "\n- SVHN, cropped digits is absent: no such file. Do this.\n"
            ),
            {"svhn": "SVHN, cropped digits is absent", "both": "MNIST is absent; SVHN, cropped digits is absent"},
        ),
    ],
)
def test_what_is_there_is_drawn_and_what_is_not_is_noted(tmp_path, states, caption, skipped):
    job = figure(tmp_path, NEEDS, **states)
    draw_figure(job)
    assert job.outputs["md"].read_text() == caption
    assert pd.read_parquet(job.outputs["parquet"]).equals(TABLE)
    record = json.loads(job.outputs["record"].read_text())
    assert record["skipped"] == skipped
    assert set(record["outputs"]) == {"png", "pdf", "parquet", "csv", "md"}


def test_where_nothing_is_there_all_files_say_so(tmp_path):
    job = figure(tmp_path, {"svhn": ["svhn"], "pair": ["mnist"]}, svhn="absent", mnist="absent")
    must_not_draw(job)
    assert job.outputs["md"].read_text() == (
        "**Figure 13: SKIPPED**\n\nsvhn: SKIPPED (SVHN, cropped digits is absent)\n\npair: SKIPPED (MNIST is absent)\n"
        "\n- SVHN, cropped digits is absent: no such file. Do this.\n\n- MNIST is absent: no such file. Do this.\n"
    )
    table = pd.read_parquet(job.outputs["parquet"])
    assert table["part"].tolist() == ["svhn", "pair"]
    assert set(table["status"]) == {"SKIPPED"}
    assert all(path.stat().st_size > 0 for path in job.outputs.values())


def test_a_job_is_called_what_its_function_is_called():
    assert (draw_figure.__name__, draw_figure.__doc__) == ("draw_figure", "Draw next to nothing.")


@pytest.fixture
def metrics(tmp_path):
    """Metrics of three runs, each beside its record."""
    paths = []
    for name in ("task=bars,sigma=1,seed=0", "task=bars,sigma=0.5,seed=0", "task=noisy-digits,sigma=1,seed=10"):
        paths.append(tmp_path / "rfm" / "corrected" / name / RUN_FILES["metrics"])
        write_table(paths[-1], TABLE.assign(run=name))
        write_json(paths[-1].with_name(RUN_FILES["record"]), {"settings": {"name": name}, "images": 7})
    return paths


def test_runs_are_read_with_their_keys_settings_and_metrics(metrics):
    runs, recorded = read_runs(metrics[::-1]), read_recorded_runs(metrics[::-1])
    assert [keys["sigma"] for keys, _, _ in runs] == ["1", "0.5", "1"]
    assert runs[2][0] == {"experiment": "rfm", "protocol": "corrected", "task": "bars", "sigma": "1", "seed": "0"}
    for (keys, settings, table), (same_keys, record, same_table) in zip(runs, recorded, strict=True):
        name = f"task={keys['task']},sigma={keys['sigma']},seed={keys['seed']}"
        assert settings == {"name": name}
        assert record == {"settings": settings, "images": 7}
        assert set(table["run"]) == {name}
        assert keys == same_keys
        assert table.equals(same_table)


def test_runs_are_found_by_their_keys(metrics):
    assert runs_with(metrics, task="bars") == metrics[:2]
    assert runs_with(metrics, task="bars", sigma="1") == metrics[:1]
    # A key counts as a whole, and one that no run has finds none.
    assert runs_with(metrics, seed="1") == []
    assert runs_with(metrics, dataset="bars") == []


FEATURE_FIGURES = ("fig03", "fig10", "fig11", "fig12")


@pytest.mark.parametrize("name", ["fig01", "fig02", "fig04", "fig05", "fig06", "fig06_pairs", "fig07", "fig08", "fig09"])
def test_no_other_figure_is_drawn_again_for_what_the_first_layer_learns(name):
    found = import_closure(f"convrfm.replication.figures.{name}")
    assert "convrfm.replication.figures.figure" in found
    apart = {"convrfm.replication.figures.features", "convrfm.replication.figures.feature_measurements"}
    assert not apart & set(found)
    assert not {f"convrfm.replication.figures.{figure}" for figure in FEATURE_FIGURES} & set(found)


@pytest.mark.parametrize(
    "name", ["fits", "networks", "transformed", "ansatz", "simplenet", "shallow", "images", "zoo", "task_images"]
)
def test_no_run_is_done_again_for_a_figure(name):
    found = import_closure(f"convrfm.replication.jobs.{name}")
    above = (
        "convrfm.replication.figures.",
        "convrfm.replication.plan",
        "convrfm.replication.claims",
        "convrfm.replication.plan.presets",
    )
    assert not [module for module in found if module.startswith(above)]
