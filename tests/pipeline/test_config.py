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


def test_quick_is_offline(config):
    settings = load_settings(config, PRESETS)
    assert "noisy-mnist" not in [panel.task for panel in settings.preset.fig05.panels]


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
        ({"overrides": {"fig5": {}}}, ["no key 'fig5'", "Did you mean 'fig05'?", "overrides"]),
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
    ],
)
def test_what_is_wrong_in_a_preset_is_said(config, overrides, sentences):
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "overrides": overrides}, PRESETS)
    for sentence in sentences:
        assert sentence in str(caught.value)


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
