"""The configuration: wrong keys, types and ranges, each in one message that helps."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.pipeline.config import load_settings
from convrfm.pipeline.generate import generated_files, main

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.mark.parametrize("preset", ["quick", "anchors", "paper"])
@pytest.mark.parametrize("protocol", ["published", "corrected", "both"])
def test_every_preset_loads(config, preset, protocol):
    settings = load_settings({**config, "preset": preset, "protocol": protocol}, PRESETS)
    assert settings.protocols == (("published", "corrected") if protocol == "both" else (protocol,))
    bars = settings.preset.fig05.panels[0]
    # The paper's own data at the paper's own size, in every preset.
    assert (bars.task, bars.n_train, bars.n_test, bars.depth, bars.rfm.filters) == ("bars", 500, 500, 3, 64)
    if preset == "paper":
        assert [panel.dataset for panel in settings.preset.fig08.panels] == [
            "cifar10", "cifar100", "imagenet32", "svhn", "gtsrb",
        ]  # fmt: skip
        recipes = [panel.training for panel in settings.preset.fig08.panels]
        for recipe in recipes:
            assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (
                540,
                100,
                0.1,
                1e-3,
            )
            assert recipe.milestones == [100, 190, 306, 390, 440, 540]
            assert recipe.augmentation == "crop-flip"


def test_quick_is_offline(config):
    settings = load_settings(config, PRESETS)
    assert "noisy-mnist" not in [panel.task for panel in settings.preset.fig05.panels]
    assert [panel.dataset for panel in settings.preset.fig08.panels] == ["digits"]


def test_files_satisfy_their_schemas(config):
    import json

    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "protocl": "both"}, schema)
    preset_schema = json.loads((ROOT / "workflow/schemas/preset.schema.json").read_text())
    for path in PRESETS.glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), preset_schema)


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"protocl": "both"}, ["no key 'protocl'", "Did you mean 'protocol'?"]),
        ({"protocol": "publised"}, ["protocol is 'publised'", "'published', 'corrected' or 'both'"]),
        ({"preset": "quik"}, ["preset is 'quik'", "anchors, paper, quick", "Did you mean 'quick'?"]),
        ({"seeds": []}, ["seeds is []", "at least 1 item"]),
        ({"seeds": [0, -1]}, ["seeds.1 is -1", "greater than or equal to 0"]),
        ({"seeds": [0, 0]}, ["seeds is [0, 0]", "only once"]),
        ({"seeds": "0"}, ["seeds is '0'", "valid list"]),
        ({"threads": 1.5}, ["threads is 1.5", "valid integer"]),
        ({"device": "gpu"}, ["device is 'gpu'", "'auto', 'cpu' or 'cuda'"]),
        ({"overrides": {"fg05": {}}}, ["no key 'fg05'", "Did you mean 'fig05'?", "overrides"]),
        ({"overrides": {"fig05": {"panels": []}}}, ["fig05.panels is []"]),
        ({"overrides": {"fig05": {"panels": [{"task": "bar"}]}}}, ["fig05.panels.0.task is 'bar'", "'noisy-mnist'"]),
    ],
)
def test_what_is_wrong_is_said(config, changes, sentences):
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, **changes}, PRESETS)
    for sentence in sentences:
        assert sentence in str(caught.value)


def panel(**changes):
    base = yaml.safe_load((PRESETS / "quick.yaml").read_text())["fig05"]["panels"][0]
    return {"fig05": {"panels": [{**base, **changes}]}}


def simplenet(**changes):
    base = yaml.safe_load((PRESETS / "quick.yaml").read_text())["fig08"]["panels"][0]
    return {"fig08": {"panels": [{**base, **changes}]}}


@pytest.mark.parametrize(
    ("overrides", "sentences"),
    [
        (panel(rfm={"round": 3}), ["no key 'fig05.panels.0.rfm.round'", "Did you mean 'rounds'?"]),
        (panel(rfm={"ridges": [1e-3, 0.0]}), ["fig05.panels.0.rfm.ridges.1 is 0.0", "greater than 0"]),
        (panel(depth=1), ["rfm.stages must be at most depth, 1, but it is 3"]),
        (panel(rfm={"rounds": 1}), ["rfm.rounds must be at least 2"]),
        (panel(sigmas=[1.0, 1.0000001]), ["only once"]),
        (panel(sigmas=[0.0]), ["above 0"]),
        (panel(sigmas=[float("inf")]), ["sigmas.0 is inf", "finite"]),
        (panel(n_train=-5), ["n_train is -5", "greater than or equal to 1"]),
        ({"fig05": {"panels": panel()["fig05"]["panels"] * 2}}, ["one panel only", "bars, bars"]),
        (simplenet(dataset="cifar"), ["fig08.panels.0.dataset is 'cifar'", "'cifar10'"]),
        (simplenet(dataset="cifar10", scaling="cifar"), ["scaling is 'cifar'", "'cifar100'"]),
        (simplenet(scaling="cifar10"), ["scaling must be 'unit' for digits"]),
        (simplenet(width_divisor=65), ["width_divisor is 65", "less than or equal to 64"]),
        (simplenet(init_std=0.0), ["init_std is 0.0", "greater than 0"]),
        (simplenet(extra_pool="no"), ["extra_pool is 'no'", "valid boolean"]),
        (simplenet(ansatz={"images": 601}), ["ansatz.images must be at most n_train, 600, but it is 601"]),
        (simplenet(ansatz={"images": 5, "epochs": [2, 2]}), ["fig08.panels.0.ansatz.epochs", "must rise"]),
        (simplenet(ansatz={"images": 5, "epochs": [17]}), ["must end by training.epochs, 16, but they are [17]"]),
        (simplenet(ansatz={"images": 5, "mode": "sampled"}), ["ansatz.mode is 'sampled'", "'exact' or 'probe'"]),
        (simplenet(training={"milestones": [9, 3]}), ["training.milestones", "must rise"]),
        (simplenet(training={"weight_dekay": 0.1}), ["no key", "Did you mean 'weight_decay'?"]),
        (simplenet(n_train=601), ["leaves a last batch of one image for batch_size 20"]),
        ({"fig08": {"panels": simplenet()["fig08"]["panels"] * 2}}, ["one panel only", "digits, digits"]),
    ],
)
def test_what_is_wrong_in_a_preset_is_said(config, overrides, sentences):
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "overrides": overrides}, PRESETS)
    for sentence in sentences:
        assert sentence in str(caught.value)


def zoo(**changes):
    return {"zoo": {**yaml.safe_load((PRESETS / "quick.yaml").read_text())["zoo"], **changes}}


NARROW = {"network": "vgg11", "learning_rate": 1e-3, "epochs": 3}


@pytest.mark.parametrize(
    ("overrides", "sentences"),
    [
        (zoo(weights=["vgg12-v1"]), ["zoo.weights is ['vgg12-v1']", "none of alexnet-v1", "resnet152-v2"]),
        (zoo(weights=["vgg11-v1", "vgg11-v1"]), ["each only once"]),
        (zoo(standins=[]), ["at least one network"]),
        (zoo(standins=[{**NARROW, "network": "lenet"}]), ["zoo.standins.0.network is 'lenet'", "one of alexnet"]),
        (zoo(standins=[{**NARROW, "snapshots": [2, 3]}]), ["increasing and below epochs, 3"]),
        (zoo(standins=[{**NARROW, "snapshots": [2, 1]}]), ["increasing and below epochs, 3"]),
        (zoo(standins=[{**NARROW, "n_train": 10}]), ["at most the n_train of vgg11, 10, but it is 64"]),
        (zoo(measurement={"images": 8, "tolerance": 0.1}), ["tolerance is for the mode probe"]),
        (zoo(measurement={"images": 8, "mode": "probes"}), ["zoo.measurement.mode is 'probes'", "'exact' or 'probe'"]),
        ({"fig01": {"heat_maps": ["vgg13-v1"]}}, ["'vgg13-v1' must be a network of the section zoo", "vgg11-standin"]),
        ({"fig02": {"network": "vgg11", "images": 2}}, ["'vgg11' must be a network of the section zoo"]),
    ],
)
def test_what_is_wrong_in_the_zoo_is_said(config, overrides, sentences):
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "overrides": overrides}, PRESETS)
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_paper_measures_every_network_and_both_versions(config):
    zoo = load_settings({**config, "preset": "paper"}, PRESETS).preset.zoo
    assert len(zoo.weights) == 17
    assert zoo.dataset == "imagenet"
    assert not zoo.standins
    assert not load_settings(config, PRESETS).preset.zoo.weights


def test_all_mistakes_come_in_one_message(config):
    del config["preset"]
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "threads": 0, "devices": "cpu"}, PRESETS)
    message = str(caught.value)
    assert "the key 'preset' is missing" in message
    assert "threads is 0" in message
    assert "Did you mean 'device'?" in message


def test_overrides_change_single_keys(config):
    quick = yaml.safe_load((PRESETS / "quick.yaml").read_text())["fig05"]["panels"]
    settings = load_settings({**config, "overrides": {"fig05": {"panels": quick[:1]}}}, PRESETS)
    assert [p.task for p in settings.preset.fig05.panels] == ["bars"]


def test_generated_files_have_not_drifted():
    for path, content in generated_files(ROOT).items():
        assert path.read_text() == content, f"{path.name} is out of date: run `make generated`"
    assert main(["--check"]) == 0


def test_drift_is_seen(tmp_path):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/lock.txt").write_text("numpy==1.0 ; python_version < '3.0' \\\n    --hash=sha256:0\n")
    environment = yaml.safe_load(generated_files(tmp_path)[tmp_path / "envs/convrfm.yaml"])
    assert environment["dependencies"][-1] == {"pip": []}  # the marker does not hold


def test_environment_carries_the_pins_of_the_lock():
    environment = yaml.safe_load((ROOT / "envs/convrfm.yaml").read_text())
    jsonschema.validate(
        environment,
        {
            "type": "object",
            "required": ["channels", "dependencies"],
            "additionalProperties": False,
            "properties": {
                "channels": {"type": "array", "items": {"type": "string"}},
                "dependencies": {"type": "array", "minItems": 3},
            },
        },
    )
    lock = (ROOT / "envs/lock.txt").read_text()
    pins = environment["dependencies"][-1]["pip"]
    assert len(pins) > 100
    assert all(f"{pin} " in lock for pin in pins)
    assert "torch==2.11.0" in pins
    for text in (lock, (ROOT / "envs/bootstrap.txt").read_text(), (ROOT / "envs/convrfm.yaml").read_text()):
        assert "://" not in text
