"""The plan: every run that a preset asks for has a name, settings and inputs, and they are what the rules gave before."""

from pathlib import Path

import pytest
import yaml

from convrfm.replication.audit.changes import Expected, asked_for
from convrfm.replication.plan.plan import FIGURES, RUNS, Plan, asked_figures, recorded_state
from convrfm.replication.plan.presets import load_settings
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import load_job
from workflow.conftest import ROOT


def plan_of(preset: str, *, present: bool = True, **config) -> Plan:
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings = load_settings({**base, "preset": preset, **config}, ROOT / "workflow" / "presets")
    state = {"state": "present" if present else "absent", "digest": "d1"}
    return Plan(settings, lambda _: state)


@pytest.mark.parametrize("preset", ["quick", "workstation", "paper"])
@pytest.mark.parametrize("present", [True, False])
def test_every_run_that_is_asked_for_can_be_planned(preset, present):
    plan = plan_of(preset, present=present, protocol="both")
    names = asked_for(plan)
    assert len(names) > len(FIGURES)
    for name in names:
        if "/runs/" not in name:
            continue
        keys = run_keys(Path(name))
        experiment = RUNS[keys["experiment"]]
        assert [*experiment.keys] == [key for key in keys if key not in ("experiment", "protocol")]
        expected = Expected(experiment, plan, keys)
        assert expected.settings["protocol"] == keys["protocol"]
        assert all(path.startswith(("results/", "data/")) for path in expected.inputs.values())


def test_absent_data_take_their_runs_out_of_the_plan():
    with_data, without = (asked_for(plan_of("workstation", present=present)) for present in (True, False))
    assert any("dataset=svhn" in name for name in with_data)
    assert not any("svhn" in name or "noisy-mnist" in name for name in without)


def test_every_job_is_there():
    for of in [*RUNS.values(), *FIGURES.values()]:
        assert callable(load_job(of.job))


def test_a_slice_in_full():
    keys = {"protocol": "corrected", "task": "bars", "sigma": "0.5", "seed": "2"}
    plan = plan_of("quick", memory_mb=100)
    assert RUNS["rfm"].settings(plan, keys) == {
        "task": "bars",
        "n_train": 500,
        "n_test": 500,
        "depth": 3,
        "patch_size": 3,
        "protocol": "corrected",
        "sigma": 0.5,
        "seed": 2,
        "rfm": {"rounds": 4, "stages": 3, "filters": 64, "ridges": [1e-8, 1e-5, 1e-3]},
        "changes": {},
        "backend": "auto",
        "memory_mb": 100,
    }
    assert RUNS["rfm"].inputs["draw"](plan, keys) == ["results/quick/runs/draw/corrected/task=bars,seed=2/arrays.safetensors"]


def test_a_slice_holds_the_digest_and_the_folder_of_its_data():
    keys = dict(zip(RUNS["prepare"].keys, ("svhn", "32", "stretch", "rgb", "unit", "1-7", "10", "5", "3"), strict=True))
    plan = plan_of("quick", data_folders={"svhn": "/somewhere", "mnist": "/else"})
    found = RUNS["prepare"].settings(plan, {**keys, "protocol": "published"})
    assert (found["digest"], found["folders"], found["pair"], found["resampled"]) == (
        "d1",
        {"svhn": "/somewhere"},
        [1, 7],
        False,
    )
    assert RUNS["resample"].settings(plan, {**keys, "protocol": "published"}) == {**found, "resampled": True}


def test_what_all_asks_for_follows_the_configuration():
    published = dict.fromkeys(asked_figures(plan_of("quick")))
    assert ("fig05", "published") in published
    assert ("fig05", "corrected") not in published
    assert ("printed", "published") not in published
    workstation = list(asked_figures(plan_of("workstation", protocol="corrected")))
    assert [figure for figure in workstation if figure[0] == "printed"] == [("printed", "published")]


def test_states_are_read_where_they_were_written(tmp_path):
    settings = plan_of("quick").settings
    state_of = recorded_state(settings, tmp_path)
    assert state_of("svhn")["state"] == "absent"
    (tmp_path / "data" / "svhn").mkdir(parents=True)
    (tmp_path / "data" / "svhn" / "state.json").write_text('{"state": "present", "digest": "x"}')
    assert state_of("svhn")["digest"] == "x"
