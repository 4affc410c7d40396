"""The sections of Figures 4 and 6: what is wrong is said."""

from pathlib import Path

import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.pipeline.config import load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"
DIGITS = {"dataset": "digits", "n_train": 20, "n_test": 10, "size": 16}


def load(preset="quick", **overrides):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return load_settings({**config, "preset": preset, "overrides": overrides}, PRESETS).preset


@pytest.mark.parametrize(
    ("fig06", "sentences"),
    [
        ({"datasets": [{**DIGITS, "dataset": "mnst"}]}, ["fig06.datasets.0.dataset is 'mnst'", "one of mnist, fashion-mnist"]),
        ({"datasets": [{**DIGITS, "dataset": "bars"}]}, ["fig06.datasets.0.dataset is 'bars'"]),
        ({"datasets": [DIGITS, DIGITS]}, ["each data set may stand there only once", "digits, digits"]),
        ({"datasets": [{**DIGITS, "size": 6}]}, ["size must be at least 7 for depth 3 and patch_size 3, but it is 6"]),
        ({"datasets": [{**DIGITS, "depth": 2}]}, ["rfm.stages must be at most depth, 2, but it is 3"]),
        ({"datasets": [{**DIGITS, "rfm": {"rounds": 1}}]}, ["rfm.rounds must be at least 2"]),
        ({"datasets": [{**DIGITS, "cnn": {"optimizer": "sdg"}}]}, ["fig06.datasets.0.cnn.optimizer is 'sdg'"]),
        ({"layers": ["svhn"]}, ["layers must be among datasets, that is digits, but there is 'svhn'"]),
        ({"pairs": [{**DIGITS, "first_classes": 1}]}, ["fig06.pairs.0.first_classes is 1", "greater than or equal to 2"]),
        ({"pairs": [{**DIGITS, "first_classes": 3, "only": ["1-3"]}]}, ["only must name pairs a-b with a < b < first_classes, 3"]),
        ({"pairs": [{**DIGITS, "only": ["1-3", "1-3"]}]}, ["each once, but it is 1-3, 1-3"]),
        ({"pairs": [{**DIGITS, "only": ["1+3"]}]}, ["fig06.pairs.0.only.0 is '1+3'"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(fig06, sentences):
    with pytest.raises(ConfigError) as caught:
        load(fig06=fig06)
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_figure_4_shares_the_runs_of_figure_6():
    with pytest.raises(
        ConfigError, match=r"datasets must be among fig06\.datasets, that is digits, but there is 'svhn'"
    ):
        load(fig04={"datasets": ["svhn"]})
    assert load(fig04={"datasets": ["digits"]}).fig04.datasets == ["digits"]


def test_paper_names_the_data_sets_of_the_paper_and_its_190_pairs():
    fig06 = load("paper").fig06
    named = {"emnist-letters", "cifar10", "cifar100", "svhn", "gtsrb"}
    assert named <= {task.dataset for task in fig06.datasets}
    assert {task.dataset for task in fig06.pairs} == {"gtsrb", "aircraft", "food101", "flowers102", "dtd"}
    assert all(len(task.pairs) == 190 and task.pairs[-1] == "18-19" for task in fig06.pairs)
