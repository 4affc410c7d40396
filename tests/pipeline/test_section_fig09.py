"""The section of Figure 9 in the presets."""

from pathlib import Path

import pytest
import yaml

from convrfm.datasets.registry import REGISTRY
from convrfm.errors import ConfigError
from convrfm.networks.shallow import ARCHITECTURES
from convrfm.replication.figures.fig09 import POOLING
from convrfm.replication.figures.style import is_stand_in
from convrfm.replication.plan.presets import load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"
DATA = {"dataset": "digits", "size": 8, "colour": "grey", "scaling": "unit"}


def section(preset="quick", **changes):
    config = {**yaml.safe_load((ROOT / "config.yaml").read_text()), "preset": preset}
    return load_settings({**config, "overrides": {"fig09": changes}}, PRESETS).preset.fig09


def test_the_paper_preset_is_the_papers():
    paper = section("paper")
    assert {entry.dataset for entry in paper.datasets} == {
        "aircraft", "pcam", "cifar10", "stl10", "gtsrb", "svhn", "caltech101", "dtd", "qmnist", "emnist-letters",
    }  # fmt: skip
    for entry in paper.datasets:
        assert "fig09" in REGISTRY[entry.dataset].figures
        assert (entry.n_train, entry.n_test) == (2000, 2000)
        grey = entry.dataset in ("qmnist", "emnist-letters")
        assert (entry.size, entry.scaling) == ((28, "unit") if grey else (32, "cifar10"))
        colour = "grey" if grey else "grey-rgb" if entry.dataset == "caltech101" else "rgb"
        assert entry.colour == colour
    assert paper.patch_sizes == [3, 5, 7]
    assert (paper.width, paper.first_std, paper.later_std) == (64, 5e-3, 1e-2)
    assert (paper.learning_rate, paper.batch_size, paper.epochs) == (1e-3, 128, 1000)
    assert (paper.evaluate_every, paper.stop_below, paper.seeds) == (5, 1e-5, 3)


def test_names_agree():
    quick = section()
    assert tuple(quick.architectures) == ARCHITECTURES == tuple(POOLING)
    datasets = {entry.dataset for entry in quick.datasets}
    assert datasets == {"digits", "photograph-patches"}
    assert all(is_stand_in(name) and not REGISTRY[name].has_files for name in datasets)


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"datasets": []}, ["fig09.datasets: must", ", not []"]),
        ({"datasets": [DATA, DATA]}, ["duplicate 'digits'"]),
        ({"datasets": [{**DATA, "dataset": "cifar"}]}, ["fig09.datasets.0.dataset: must", ", not 'cifar'", "cifar10"]),
        ({"datasets": [{**DATA, "dataset": "bars"}]}, ["fig09.datasets.0.dataset: must", ", not 'bars'"]),
        ({"datasets": [{**DATA, "size": 2}]}, ["size: must", ", not 2", ">= 4"]),
        ({"datasets": [{**DATA, "color": "rgb"}]}, ["did you mean 'colour'?"]),
        ({"patch_sizes": [3, 4]}, ["must be odd"]),
        ({"patch_sizes": [3, 3]}, ["duplicate 3"]),
        ({"architectures": ["vanilla", "vanilla"]}, ["duplicate 'vanilla'"]),
        ({"architectures": ["Myrtle10"]}, ["architectures.0: must", ", not 'Myrtle10'", "'MyrtleMax'"]),
        ({"epochs": 0}, ["epochs: must", ", not 0"]),
        ({"first_std": 0.0}, ["first_std: must", ", not 0.0", "> 0"]),
        ({"stop_below": -1.0}, ["stop_below: must", ", not -1.0"]),
    ],
)
def test_what_is_wrong_is_said(changes, sentences):
    with pytest.raises(ConfigError) as caught:
        section(**changes)
    for sentence in sentences:
        assert sentence in str(caught.value)
