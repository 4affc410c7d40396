"""The sections of the studies beyond the paper and of the printed numbers: what is wrong is said."""

from pathlib import Path

import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.replication.figures.printed import PRINTED, is_printed_fit
from convrfm.replication.plan.presets import load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"
BARS = {"task": "bars", "n_train": [20, 40], "n_test": 10}
CHOICES = {"n_train": 40, "agop_samples": [5], "changes": [{"metric_power": 2.0}]}


def load(preset="quick", **overrides):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return load_settings({**config, "preset": preset, "overrides": overrides}, PRESETS).preset


@pytest.mark.parametrize(
    ("section", "sentences"),
    [
        ({"changes": [{"metric_pwer": 2.0}]}, ["unknown key 'overrides.choices.changes.0.metric_pwer'", "did you mean 'metric_power'?"]),
        ({"changes": [{}]}, ["must change at least one of selection, agop_samples"]),
        ({"changes": [{"metric_power": 2.0}] * 2}, ["duplicate 'metric_power-2'"]),
        ({"changes": [{"metric_power": 0.0}]}, ["metric_power: must", ", not 0.0", "> 0"]),
        ({"changes": [{"eigenvalue_fraction": 1.5}]}, ["eigenvalue_fraction: must", ", not 1.5", "<= 1"]),
        ({"changes": [{"nonlinearity": "tanh"}]}, ["nonlinearity: must", ", not 'tanh'", "'relu' or 'none'"]),
        ({"n_train": 30}, ["choices.n_train must be among tasks.0.n_train, that is 20, 40, but it is 30"]),
        ({"stages": 4}, ["choices.stages must be at most the depth of bars, 3, but it is 4"]),
        ({"agop_samples": [41]}, ["choices.agop_samples must be at most choices.n_train, 40, but they are 41"]),
        ({"agop_samples": []}, ["choices.agop_samples: must", ", not []"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_choices_is_said(section, sentences):
    with pytest.raises(ConfigError) as caught:
        load(beyond={"tasks": [BARS], "choices": {**CHOICES, **section}})
    for sentence in sentences:
        assert sentence.replace("overrides.choices", "overrides.beyond.choices") in str(caught.value)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"tasks": [BARS, BARS]}, "duplicate 'bars'"),
        ({"tasks": [{**BARS, "n_train": [40, 40]}]}, "duplicate '40'"),
        ({"tasks": [{**BARS, "sigma": 0.0}]}, "beyond.tasks.0.sigma: must"),
        ({"tasks": [{**BARS, "rfm": {"rounds": 1}}]}, "rfm.rounds must be at least 2"),
        ({"tasks": [{**BARS, "depth": 2}]}, "rfm.stages is 3, but depth is 2"),
        ({"seeds": [1, 1]}, "duplicate 'seed=1'"),
    ],
)
def test_what_is_wrong_with_tasks_is_said(section, sentence):
    with pytest.raises(ConfigError) as caught:
        load(beyond={"tasks": [BARS], "choices": CHOICES, **section})
    assert sentence in str(caught.value)


def test_only_the_full_scale_builds_it_unasked():
    assert [load(preset).beyond.in_all for preset in ("quick", "workstation", "paper")] == [False, False, True]
    for preset in ("quick", "workstation", "paper"):
        beyond = load(preset).beyond
        assert len(beyond.seeds) >= 3
        assert beyond.tasks[0].task == "bars"
        assert (beyond.choices.n_train, beyond.tasks[0].sigma) == (500, 1)
        # The authors' 20 images are among those compared.
        assert 20 in beyond.choices.agop_samples


def test_the_workstation_repeats_every_printed_run():
    preset = load("workstation")
    assert preset.printed.runs == list(PRINTED)
    (svhn,) = (task for task in preset.fig06.datasets if task.dataset == "svhn")
    panels = {panel.task: panel for panel in preset.fig05.panels}
    assert is_printed_fit(svhn, PRINTED["svhn-1000"])
    assert not is_printed_fit(panels["noisy-mnist"], PRINTED["noisy-mnist-4000"])
    large = panels["noisy-mnist"].model_copy(update={"n_train": 4000, "n_test": 4000})
    assert is_printed_fit(large, PRINTED["noisy-mnist-4000"])
    assert not is_printed_fit(large, PRINTED["noisy-mnist-200"])
    assert not is_printed_fit(panels["bars"], PRINTED["noisy-mnist-4000"])
    for change in ({"n_train": 999}, {"size": 28}, {"patch_size": 5}, {"rfm": svhn.rfm.model_copy(update={"rounds": 4})}):
        assert not is_printed_fit(svhn.model_copy(update=change), PRINTED["svhn-1000"])
    assert load("quick").printed.runs == []


@pytest.mark.parametrize(
    ("preset", "runs", "sentence"),
    [
        ("workstation", ["svhn-100"], "printed.runs.0: must be one of svhn-1000, noisy-mnist-4000, noisy-mnist-200, not 'svhn-100'"),
        ("workstation", ["svhn-1000"] * 2, "duplicate 'svhn-1000'"),
        ("quick", ["svhn-1000"], "printed.runs: 'svhn-1000' needs svhn in fig06.datasets with n_train 1000, n_test 1000, size 32, rfm.ridges [1.0e-05]"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_printed_runs_is_said(preset, runs, sentence):
    with pytest.raises(ConfigError) as caught:
        load(preset, printed={"runs": runs})
    assert sentence in str(caught.value)
