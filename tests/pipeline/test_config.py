"""The configuration: wrong keys, types and ranges, each in one message that helps."""

import re
import shutil
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml

from convrfm.datasets.registry import CIFAR_WEIGHTS, WEIGHTS
from convrfm.errors import ConfigError
from convrfm.replication.config.models import Model
from convrfm.replication.pages.generate import generated_files, main
from convrfm.replication.pages.quoted_numbers import quoted
from convrfm.replication.plan.presets import Config, Preset, load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.mark.parametrize("preset", ["quick", "workstation", "paper"])
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
            assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (540, 100, 0.1, 1e-3)
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
        ({"protocl": "both"}, ["unknown key 'protocl'", "did you mean 'protocol'?"]),
        ({"protocol": "publised"}, ["protocol: must", ", not 'publised'", "'published', 'corrected' or 'both'"]),
        ({"preset": "quik"}, ["preset: must", ", not 'quik'", "paper, quick, workstation", "did you mean 'quick'?"]),
        ({"seeds": []}, ["seeds: must", ", not []", "at least 1 item"]),
        ({"seeds": [0, -1]}, ["seeds.1: must", ", not -1", ">= 0"]),
        ({"seeds": [0, 0]}, ["seeds: duplicate 0"]),
        ({"seeds": "0"}, ["seeds: must", ", not '0'", "a list"]),
        ({"threads": 1.5}, ["threads: must", ", not 1.5", "an integer"]),
        ({"device": "gpu"}, ["device: must", ", not 'gpu'", "'auto', 'cpu' or 'cuda'"]),
        ({"overrides": {"fg05": {}}}, ["unknown key 'overrides.fg05'", "did you mean 'fig05'?", "overrides"]),
        ({"overrides": {"fig05": {"panels": []}}}, ["fig05.panels: must", ", not []"]),
        (
            {"overrides": {"fig05": {"panels": [{"task": "bar"}]}}},
            ["fig05.panels.0.task: must", ", not 'bar'", "'noisy-mnist'"],
        ),
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


def first(figure, **changes):
    base = yaml.safe_load((PRESETS / "quick.yaml").read_text())[figure]["datasets"][0]
    return {figure: {"datasets": [{**base, **changes}]}}


def simplenet(**changes):
    base = yaml.safe_load((PRESETS / "quick.yaml").read_text())["fig08"]["panels"][0]
    return {"fig08": {"panels": [{**base, **changes}]}}


@pytest.mark.parametrize(
    ("overrides", "sentences"),
    [
        (panel(rfm={"round": 3}), ["unknown key 'overrides.fig05.panels.0.rfm.round'", "did you mean 'rounds'?"]),
        (panel(rfm={"ridges": [1e-3, 0.0]}), ["fig05.panels.0.rfm.ridges.1: must", ", not 0.0", "> 0"]),
        (panel(depth=1), ["rfm.stages is 3, but depth is 1"]),
        (panel(rfm={"rounds": 1}), ["rfm.rounds must be at least 2"]),
        (panel(sigmas=[1.0, 1.0000001]), ["duplicate 'sigma=1'"]),
        (panel(sigmas=[0.0]), ["above 0"]),
        (panel(sigmas=[float("inf")]), ["sigmas.0: must", ", not inf", "finite"]),
        (panel(n_train=-5), ["n_train: must", ", not -5", ">= 1"]),
        ({"fig05": {"panels": panel()["fig05"]["panels"] * 2}}, ["duplicate 'bars'"]),
        (simplenet(dataset="cifar"), ["fig08.panels.0.dataset: must", ", not 'cifar'", "'cifar10'"]),
        (simplenet(dataset="cifar10", scaling="cifar"), ["scaling: must", ", not 'cifar'", "'cifar100'"]),
        (simplenet(scaling="cifar10"), ["scaling must be 'unit' for digits"]),
        (simplenet(width_divisor=65), ["width_divisor: must", ", not 65", "<= 64"]),
        (simplenet(init_std=0.0), ["init_std: must", ", not 0.0", "> 0"]),
        (simplenet(extra_pool="no"), ["extra_pool: must", ", not 'no'", "a boolean"]),
        (simplenet(ansatz={"images": 601}), ["ansatz.images must be at most n_train, 600, but it is 601"]),
        (simplenet(ansatz={"images": 5, "epochs": [2, 2]}), ["fig08.panels.0.ansatz.epochs", "must rise"]),
        (simplenet(ansatz={"images": 5, "epochs": [17]}), ["must end by training.epochs, 16, but they are [17]"]),
        (simplenet(ansatz={"images": 5, "mode": "sampled"}), ["ansatz.mode: must", ", not 'sampled'", "'exact' or 'probe'"]),
        (simplenet(training={"milestones": [9, 3]}), ["training.milestones", "must rise"]),
        (simplenet(training={"weight_dekay": 0.1}), ["unknown key", "did you mean 'weight_decay'?"]),
        (simplenet(n_train=601), ["leaves a last batch of one image for batch_size 20"]),
        ({"fig08": {"panels": simplenet()["fig08"]["panels"] * 2}}, ["duplicate 'digits'"]),
        (first("fig06", dataset="bars"), ["fig06.datasets.0.dataset: must be one of mnist, ", ", not 'bars'"]),
        (first("fig09", dataset="bars"), ["fig09.datasets.0.dataset: must be one of ", "svhn", ", not 'bars'"]),
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
        (zoo(weights=["vgg12-v1"]), ["zoo.weights.0: must be one of alexnet-v1", "resnet152-v2", "not 'vgg12-v1'"]),
        (zoo(weights=["vgg11-v1", "vgg11-v1"]), ["each only once"]),
        (zoo(standins=[]), ["at least one network"]),
        (zoo(standins=[{**NARROW, "network": "lenet"}]), ["zoo.standins.0.network: must", ", not 'lenet'", "one of alexnet"]),
        (zoo(standins=[{**NARROW, "snapshots": [2, 3]}]), ["increasing and below epochs, 3"]),
        (zoo(standins=[{**NARROW, "snapshots": [2, 1]}]), ["increasing and below epochs, 3"]),
        (zoo(standins=[{**NARROW, "n_train": 10}]), ["at most the n_train of vgg11, 10, but it is 64"]),
        (zoo(measurement={"images": 8, "tolerance": 0.1}), ["tolerance is for the mode probe"]),
        (
            zoo(measurement={"images": 8, "mode": "probes"}),
            ["zoo.measurement.mode: must", ", not 'probes'", "'exact' or 'probe'"],
        ),
        ({"fig01": {"heat_maps": ["vgg13-v1"]}}, ["fig01.heat_maps: 'vgg13-v1' is not in zoo", "vgg11-standin"]),
        ({"fig02": {"network": "vgg11", "images": 2}}, ["fig02.network: 'vgg11' is not in zoo"]),
    ],
)
def test_what_is_wrong_in_the_zoo_is_said(config, overrides, sentences):
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "overrides": overrides}, PRESETS)
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_paper_measures_every_network_and_both_versions(config):
    zoo = load_settings({**config, "preset": "paper"}, PRESETS).preset.zoo
    assert zoo.weights == [entry.name for entry in (*WEIGHTS, *CIFAR_WEIGHTS)]
    assert zoo.dataset == "imagenet"
    assert not zoo.standins
    assert not load_settings(config, PRESETS).preset.zoo.weights


def test_all_mistakes_come_in_one_message(config):
    del config["preset"]
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "threads": 0, "devices": "cpu"}, PRESETS)
    message = str(caught.value)
    assert "missing key 'preset'" in message
    assert "threads: must" in message
    assert "did you mean 'device'?" in message


def test_overrides_change_single_keys(config):
    quick = yaml.safe_load((PRESETS / "quick.yaml").read_text())["fig05"]["panels"]
    settings = load_settings({**config, "overrides": {"fig05": {"panels": quick[:1]}}}, PRESETS)
    assert [p.task for p in settings.preset.fig05.panels] == ["bars"]


def test_generated_files_have_not_drifted():
    for path, content in generated_files(ROOT).items():
        assert path.read_text() == content, f"{path.name} is out of date: run `make generated`"
    assert main(["--check"]) == 0


def defaults(model, prefix=""):
    """Keys and defaults of a section and of those in it, as `docs/configuration.md` names them."""
    for name, info in model.model_fields.items():
        parts = [info.annotation, *get_args(info.annotation), *(p for a in get_args(info.annotation) for p in get_args(a))]
        inner = next((part for part in parts if isinstance(part, type) and issubclass(part, Model)), None)
        key = f"{prefix}{name}{'[]' if inner is not None and inner is not info.annotation else ''}"
        if inner is not None:
            yield from defaults(inner, f"{key}.")
        elif not info.is_required():
            yield key, info.get_default(call_default_factory=True)


def test_printed_defaults_can_be_pasted():
    """YAML 1.1 takes 1e-05 for text."""
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| `([^`]*)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    printed = dict(rows)
    assert len(printed) == len(rows) > 90
    expected = {**dict(defaults(Config)), **dict(defaults(Preset))}
    for key, text in printed.items():
        found = yaml.safe_load(text)
        assert (found, type(found)) == (expected[key], type(expected[key])), key


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        (
            "learning_rate",
            "5e-4",
            r"fig09.learning_rate: must be a number, not '5e-4', which YAML reads as text; write 0.0005$",
        ),
        ("stop_below", "1e-5", r"fig09.stop_below: .*, not '1e-5', which YAML reads as text; write 1.0e-05$"),
        ("stop_below", "1.5e-6", None),
        ("stop_below", "1.0e5", r", not '1.0e5', which YAML reads as text; write 100000.0$"),
        ("stop_below", "-1e-5", r", not '-1e-5', .*; write -1.0e-05$"),
        ("stop_below", "'0.1'", r", not '0.1', which YAML reads as text; write 0.1$"),
        ("epochs", "1e3", r"fig09.epochs: must be an integer, not '1e3', which YAML reads as text; write 1000$"),
        ("epochs", "1.5e0", r"fig09.epochs: must be an integer, not '1.5e0'$"),
        ("epochs", "ten", r"fig09.epochs: must be an integer, not 'ten'$"),
        ("stop_below", "nan", r"must be a number, not 'nan'$"),
        ("patch_sizes", "[3, '5']", r"fig09.patch_sizes.1: .*, not '5', .*; write 5$"),
    ],
)
def test_numbers_that_yaml_takes_for_text(config, key, text, sentence):
    overrides = {"fig09": yaml.safe_load(f"{key}: {text}")}
    if sentence is None:
        assert load_settings({**config, "overrides": overrides}, PRESETS).preset.fig09.stop_below == float(text)
        return
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_settings({**config, "overrides": overrides}, PRESETS)
    if "write" in sentence:
        written = str(caught.value).rpartition("write ")[2]
        assert not isinstance(yaml.safe_load(written), str)


@pytest.mark.parametrize("key", ["data_dir", "data_folders"])
def test_home_folder(config, monkeypatch, key):
    monkeypatch.setenv("HOME", "/home/me")

    def loaded(path):
        given = {"mnist": path} if key == "data_folders" else path
        found = getattr(load_settings({**config, key: given}, PRESETS).config, key)
        return found["mnist"] if key == "data_folders" else found

    assert loaded("~/a") == "/home/me/a"
    assert loaded("./a/~b/") == "./a/~b/"
    with pytest.raises(ConfigError, match=rf"{key}.*: '~nobody-here/a' .* home folder of an unknown user"):
        loaded("~nobody-here/a")
    with pytest.raises(ConfigError, match=f"{key}.*: must have at least 1 character, not ''"):
        loaded("")


def test_drift_is_seen(tmp_path):
    (tmp_path / "envs").mkdir()
    for folder in ("docs", "benchmarks", "src"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path)
    for page in ("configuration.md", "datasets.md"):
        (tmp_path / "docs" / page).write_text((ROOT / "docs" / page).read_text().replace("| `preset` |", "| `prset` |"))
    (tmp_path / "envs/lock.txt").write_text("numpy==1.0 ; python_version < '3.0' \\\n    --hash=sha256:0\n")
    files = generated_files(tmp_path)
    for page in ("configuration.md", "datasets.md"):
        assert files[tmp_path / "docs" / page] == (ROOT / "docs" / page).read_text()
    environment = yaml.safe_load(files[tmp_path / "envs/convrfm.yaml"])
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


def test_a_table_without_a_place_is_refused(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/configuration.md").write_text("# Configuration\n\n<!-- generated: preset --><!-- /generated -->\n")
    with pytest.raises(ConfigError, match="No generated block for config: add one to the README or the docs"):
        quoted(tmp_path, config="| key |", preset="| key |")


def test_messages_name_the_file_and_the_key(config):
    """A value of the preset, one that an override changes, and one that no longer fits an override."""
    preset = yaml.safe_load((PRESETS / "quick.yaml").read_text())

    def message(overrides, **changes):
        with pytest.raises(ConfigError) as caught:
            load_settings({**config, "overrides": overrides, **changes}, PRESETS)
        return str(caught.value)

    (first, *_) = preset["fig06"]["datasets"]
    assert message({"fig06": {"datasets": [first] * 2}}) == "config.yaml: overrides.fig06.datasets: duplicate 'digits'"
    alone = {**preset["zoo"], "standins": preset["zoo"]["standins"][:1]}
    assert message({"zoo": alone}).splitlines()[-1].startswith("quick.yaml with overrides: fig02.network: 'vgg11-standin'")
    assert message({}, prset="quick") == "config.yaml: unknown key 'prset'; did you mean 'preset'?"
    long = {"fig09": {"learning_rate": "x" * 50}}
    assert message(long) == "config.yaml: overrides.fig09.learning_rate: must be a number"
    assert message({"split": {"above": 1}}) == "config.yaml: missing key 'overrides.split.parts'"


def test_a_wrong_preset_is_named(config, tmp_path):
    preset = yaml.safe_load((PRESETS / "quick.yaml").read_text())
    preset["costs"] = {"most_minutes": 0}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(preset))
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "overrides": {}}, tmp_path)
    assert str(caught.value) == "quick.yaml: costs.most_minutes: must be >= 1, not 0"
    (tmp_path / "quick.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"quick\.yaml is not valid YAML"):
        load_settings(config, tmp_path)
