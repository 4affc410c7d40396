"""What the sections of several figures check alike: the whole of what they say."""

from pathlib import Path

import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.replication.plan.plan import FIGURES, RUNS, Plan, recorded_state
from convrfm.replication.plan.presets import load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"
QUICK = yaml.safe_load((PRESETS / "quick.yaml").read_text())

BARS = QUICK["fig05"]["panels"][0]
IMAGES = {"dataset": "digits", "n_train": 20, "n_test": 10, "size": 16}
PAIRS = {**IMAGES, "first_classes": 10}
SIMPLENET = QUICK["fig08"]["panels"][0]
SHALLOW = {"dataset": "digits", "size": 8, "colour": "grey", "scaling": "unit"}
FEATURES = {"dataset": "svhn", "n_train": 50, "n_test": 50, "network": {"epochs": 2}}

ROUNDS = "rfm.rounds must be at least 2: round 0 is the plain kernel that the others are compared with"
STAGES = "rfm.stages is 3, but depth is 2: at most one stage per convolution"

FEWER = {**BARS["cnn"], "seeds": 2, "adam": {**BARS["cnn"]["adam"], "seeds_in_most_noise": 1}}
MOST_NOISE = "adam.seeds_in_most_noise must be at least seeds, 2, but it is 1"


@pytest.mark.parametrize(
    ("overrides", "key", "sentence"),
    [
        ({"fig05": {"panels": [BARS] * 2}}, "fig05.panels", "duplicate 'bars'"),
        ({"fig06": {"datasets": [IMAGES] * 2}}, "fig06.datasets", "duplicate 'digits'"),
        ({"fig06": {"pairs": [PAIRS] * 2}}, "fig06.pairs", "duplicate 'digits'"),
        ({"fig08": {"panels": [SIMPLENET] * 2}}, "fig08.panels", "duplicate 'digits'"),
        ({"fig09": {"datasets": [SHALLOW] * 2}}, "fig09.datasets", "duplicate 'digits'"),
        ({"features": {"tasks": [FEATURES] * 2}}, "features.tasks", "duplicate 'svhn'"),
        ({"fig12": {"datasets": ["street-digits"] * 2}}, "fig12.datasets", "duplicate 'street-digits'"),
        ({"fig05": {"panels": [{**BARS, "depth": 2}]}}, "fig05.panels.0", STAGES),
        ({"fig05": {"panels": [{**BARS, "rfm": {"rounds": 1}}]}}, "fig05.panels.0", ROUNDS),
        ({"fig05": {"panels": [{**BARS, "cnn": FEWER}]}}, "fig05.panels.0.cnn", MOST_NOISE),
        ({"fig06": {"datasets": [{**IMAGES, "depth": 2}]}}, "fig06.datasets.0", STAGES),
        ({"fig06": {"pairs": [{**IMAGES, "rfm": {"rounds": 1}}]}}, "fig06.pairs.0", ROUNDS),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_full(overrides, key, sentence):
    config = {**yaml.safe_load((ROOT / "config.yaml").read_text()), "overrides": overrides}
    with pytest.raises(ConfigError) as caught:
        load_settings(config, PRESETS)
    (line,) = [line for line in str(caught.value).splitlines() if f" overrides.{key}: " in line]
    assert line.endswith(f": {sentence}")


def test_what_differs_may_stand_side_by_side():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    overrides = {"fig09": {"datasets": [SHALLOW, {**SHALLOW, "dataset": "photograph-patches"}]}}
    found = load_settings({**config, "overrides": overrides}, PRESETS).preset.fig09.datasets
    assert [entry.dataset for entry in found] == ["digits", "photograph-patches"]


def test_most_noise_may_have_more_networks():
    """Where claims are decided; the first noise level, the other optimizer, and what a training sees stay as they are."""
    config = {**yaml.safe_load((ROOT / "config.yaml").read_text()), "seeds": [0, 1, 2]}
    settings = load_settings(config, PRESETS)
    panel = settings.preset.fig05.panels[0]
    counts = {(name, sigma): panel.networks(name, sigma) for name in ("adam", "sgd") for sigma in panel.sigmas}
    assert counts == dict.fromkeys(counts, 1) | {("adam", 2.0): 3}
    plan = Plan(settings, recorded_state(settings, ROOT))
    trained = [
        path
        for path in FIGURES["fig05"].inputs["records"](plan, {"protocol": "published"})
        if "/cnn/" in path and "task=bars" in path and "sigma=2" in path
    ]
    assert len(trained) == 4
    keys = {"protocol": "published", "task": "bars", "sigma": "2", "optimizer": "adam", "seed": "0"}
    assert "seeds_in_most_noise" not in RUNS["cnn"].settings(plan, keys)
