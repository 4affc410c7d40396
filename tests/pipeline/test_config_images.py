"""What sections ask of data sets, against what these have: refused before the first job."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from convrfm.datasets.prepare import select
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import ConfigError, InputError
from convrfm.replication.config.images import PREPARED, check_count
from convrfm.replication.plan.presets import load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"
QUICK = yaml.safe_load((PRESETS / "quick.yaml").read_text())

IMAGES = {"dataset": "digits", "n_train": 20, "n_test": 10, "size": 16}
PAIRS = {**IMAGES, "first_classes": 10}
FEATURES = {"dataset": "street-digits", "n_train": 50, "n_test": 50, "network": {"epochs": 2}}
(DIGITS_PANEL,) = (panel for panel in QUICK["fig05"]["panels"] if panel["task"] == "noisy-digits")
BARS_PANEL = QUICK["fig05"]["panels"][0]
STUDY = QUICK["beyond"]["tasks"]
STANDIN = QUICK["zoo"]["standins"][0]


def load(**overrides):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return load_settings({**config, "overrides": overrides}, PRESETS)


def features(**changes):
    return {"features": {"tasks": [{**FEATURES, **changes}]}}


def standin(**changes):
    return {"zoo": {**QUICK["zoo"], "standins": [{**STANDIN, **changes}]}}


TRAINING = "must be at most 1438, the number of training images of digits, but it is 5000"
TEST = "must be at most 359, the number of test images of digits, but it is 360"
CLASSES = "first_classes must be at most 10, the number of classes of digits, but it is"
PATCHES = "need images of at least 11x11 pixels, but those of digits have 8x8: lower one of them"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"fig06": {"pairs": [{**PAIRS, "first_classes": 100_000}]}}, f"fig06.pairs.0: {CLASSES} 100000"),
        ({"fig06": {"pairs": [{**PAIRS, "first_classes": 10**12}]}}, f"fig06.pairs.0: {CLASSES} {10**12}"),
        ({"fig06": {"pairs": [IMAGES]}}, f"fig06.pairs.0: {CLASSES} 20"),
        ({"fig06": {"pairs": [{**PAIRS, "n_train": 5000}]}}, f"fig06.pairs.0: n_train {TRAINING}"),
        ({"fig06": {"datasets": [{**IMAGES, "n_train": 5000}]}}, f"fig06.datasets.0: n_train {TRAINING}"),
        ({"fig06": {"datasets": [{**IMAGES, "n_test": 360}]}}, f"fig06.datasets.0: n_test {TEST}"),
        ({"fig06": {"datasets": [{**IMAGES, "size": None, "depth": 5}]}}, f"depth 5 and patch_size 3 {PATCHES}"),
        ({"fig08": {"panels": [{**QUICK["fig08"]["panels"][0], "n_train": 5000}]}}, f"fig08.panels.0: n_train {TRAINING}"),
        (standin(n_train=5000), f"zoo.standins.0: n_train {TRAINING}"),
        (features(dataset="bars"), "features.tasks.0.dataset: must be one of mnist, "),
        (features(dataset="vgg11-v1"), ", photographs, photograph-patches, not 'vgg11-v1'"),
        (features(n_train=1439), "features.tasks.0: n_train must be at most 1438, the number of training images of street-"),
        (features(size=6), "features.tasks.0: size must be at least 7 for depth 3 and patch_size 3, but it is 6"),
        (features(size=8, laplace_patch_size=9), "laplace_patch_size must be at most size, 8, but it is 9"),
        ({"features": {"natural_images": 3}}, "natural_images must be at most 2, the number of training images of photographs"),
        ({"first_layers": {"n_train": [25, 5000]}}, "first_layers.n_train: the largest number must be at most 1438, "),
        (
            {"fig05": {"panels": [{**DIGITS_PANEL, "n_train": 1700}]}},
            "n_train + n_test must be at most 1797, the number of digits",
        ),
        ({"fig05": {"panels": [{**DIGITS_PANEL, "task": "noisy-mnist", "n_test": 10_001}]}}, "n_test must be at most 10000, "),
        (
            {"fig05": {"panels": [{**BARS_PANEL, "patch_size": 9}]}},
            "depth 3 and patch_size 9 need images of at least 25x25 pixels, but those of bars have 16x32",
        ),
        ({"beyond": {"tasks": [STUDY[0], {**STUDY[1], "n_train": [50, 1700]}]}}, "beyond.tasks.1: n_train + n_test must be"),
        (
            {"zoo": {**QUICK["zoo"], "weights": ["resnet20-cifar10"], "standins": [], "measurement": {"images": 10_001}}},
            "measurement.images must be at most 10000, the number of test images of cifar10, but it is 10001",
        ),
    ],
)
def test_more_than_there_is(overrides, sentence):
    with pytest.raises(ConfigError) as caught:
        load(**overrides)
    assert any("overrides." in line and sentence in line for line in str(caught.value).splitlines()), str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"fig06": {"pairs": [PAIRS]}},
        {"fig06": {"datasets": [{**IMAGES, "n_train": 1438, "n_test": 359}]}},
        {"fig06": {"datasets": [{**IMAGES, "size": None}]}},
        # Kaggle's copy has more images than torchvision's.
        {"fig06": {"datasets": [{**IMAGES, "dataset": "gtsrb", "n_train": 39_209}], "layers": []}},
        # All that there are, where there are fewer.
        {"fig09": {"datasets": [{**QUICK["fig09"]["datasets"][0], "n_train": 5000}]}},
        {"fig05": {"panels": [{**DIGITS_PANEL, "n_train": 1597}]}},
    ],
)
def test_all_that_there_is(overrides):
    load(**overrides)


class SizedSplit:
    """As many images as the registry says, for the selection."""

    whole = None

    def __init__(self, entry, split):
        self.classes = [str(label) for label in range(entry.classes)]
        self.labels = np.arange(entry.splits[split]) % entry.classes

    def __len__(self):
        return len(self.labels)


@pytest.mark.parametrize("dataset", ["digits", "photographs", "photograph-patches", "usps", "stl10", "emnist-letters", "mnist"])
def test_the_bounds_are_those_of_the_selection(dataset):
    """What is refused fails under every protocol, and one image fewer is taken under one of them."""
    entry = REGISTRY[dataset]
    train = SizedSplit(entry, "train")
    test = SizedSplit(entry, entry.test_split) if entry.test_split in entry.splits else None

    def selected(counts):
        for protocol in ("published", "corrected"):
            try:
                select(entry, train, test, counts=counts, pair=None, protocol=protocol, seed=0)
            except InputError:
                continue
            return True
        return False

    for place, part in enumerate(("train", "test")):
        most = next(n for n in (*range(sum(entry.splits.values()) + 1), 10**6) if not allowed(n + 1, dataset, part))
        assert most < 10**6
        counts = [0, 0]
        counts[place] = most
        assert selected(tuple(counts)), (part, most)
        counts[place] += 1
        assert not selected(tuple(counts)), (part, most)


def allowed(count, dataset, part):
    try:
        check_count("n", count, dataset, part)
    except ValueError:
        return False
    return True


def test_every_prepared_set_has_numbers():
    for name in PREPARED:
        assert allowed(1, name, "train")


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    "overrides",
    [
        lambda x: {"costs": {"prepare": {"minutes": x}}},
        lambda x: {"costs": {"prepare": {"cases": [{"of": "pairs", "minutes": x}]}}},
        lambda x: {"costs": {"cpu": {"maps": x}}},
        lambda x: {"fig06": {"datasets": [{**IMAGES, "cnn": {"learning_rate": x}}]}},
        lambda x: {"fig06": {"datasets": [{**IMAGES, "rfm": {"ridges": [1e-3, x]}}]}},
        lambda x: {"fig05": {"panels": [{**BARS_PANEL, "sigmas": [1.0, x]}]}},
        lambda x: {"fig04": {"sigma": x}},
        lambda x: {"zoo": {**QUICK["zoo"], "measurement": {"images": 8, "mode": "probe", "tolerance": x}}},
        lambda x: {"beyond": {"choices": {**QUICK["beyond"]["choices"], "changes": [{"metric_power": x}]}}},
    ],
)
def test_numbers_are_finite(overrides, number):
    with pytest.raises(ConfigError) as caught:
        load(**overrides(number))
    assert "must be a finite number" in str(caught.value)


def test_a_limit_of_any_minutes_is_the_largest():
    costs = load(costs={"prepare": {"minutes": 1e308}}).preset.costs
    assert costs.limit(costs.demand("prepare", {}).minutes, 1) == costs.most_minutes
    assert costs.limit(0.1, 1) == 10
    assert costs.limit(11.5, 2) == 70
