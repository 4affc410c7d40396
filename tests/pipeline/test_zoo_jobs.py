"""The jobs of Figures 1, 2 and 7 on a tiny stand-in and on made-up official weights, one after the other."""

import json
import math
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from datasets.official import cifar_weights, weights
from datasets.packing import md5

from convrfm.ansatz.accumulator import AgopAccumulator
from convrfm.ansatz.agop import measure
from convrfm.ansatz.filter_forms import FilterForm, pearson
from convrfm.datasets.acquire import examine
from convrfm.datasets.places import Place
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import AbsentDataError, CorruptDataError, StorageError
from convrfm.networks import zoo
from convrfm.replication.figures.zoo import ansatz_needs
from convrfm.replication.jobs import ansatz
from convrfm.replication.jobs.ansatz import IMAGENETTE, Accuracy, measure_network
from convrfm.replication.jobs.training import weights_when
from convrfm.replication.jobs.transformed import transform_images
from convrfm.replication.jobs.zoo import train_standin, trained_network
from convrfm.replication.plan.plan import Plan
from convrfm.replication.plan.presets import load_settings
from convrfm.replication.record.record import Recorder, read_record, run_keys
from convrfm.replication.record.session import Job
from convrfm.replication.runs.zoo import KINDS, AnsatzSettings, ZooSettings
from convrfm.system.storage import load_arrays, write_arrays, write_json

ROOT = Path(__file__).parents[2]
SHARED = {"network": "resnet18", "divisor": 16, "seed": 3, "protocol": "published", "device": "cpu"}
NO_WEIGHTS = {"weights": "", "data_dir": "data", "folders": {}, "digest": "", "dataset": "digits"}
TRAINING = {"learning_rate": 1e-3, "epochs": 2, "batch_size": 8, "snapshots": [1]}
MEASUREMENT = {
    "images": 10, "mode": "exact", "batch_size": 4, "probes": 4, "tolerance": None, "most_probes": 16,
}  # fmt: skip


def run(function, folder, inputs, settings):
    """Run a job; gives its arrays, metrics and record."""
    outputs = {"metrics": folder / "m.parquet", "arrays": folder / "a.safetensors", "record": folder / "r.json"}
    paths = {name: list(files) for name, files in inputs.items()}
    function(Job(paths, outputs, settings, 1, Recorder("x", "c", settings)))
    return load_arrays(outputs["arrays"]), pd.read_parquet(outputs["metrics"]), read_record(outputs["record"])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """What `prepare` writes, made up."""
    rng = np.random.default_rng(1)
    arrays = {}
    for name, count in (("train", 24), ("test", 8)):
        labels = np.arange(count) % 10
        arrays |= {
            f"{name}/images": rng.standard_normal((count, 3, 32, 32)).astype(np.float32) + labels[:, None, None, None],
            f"{name}/labels": labels,
            f"{name}/targets": np.eye(10, dtype=np.float32)[labels],
        }
    path = tmp_path_factory.mktemp("prepared") / "arrays.safetensors"
    write_arrays(path, {name: array.astype(np.float32) if "images" in name else array for name, array in arrays.items()})
    return path


@pytest.fixture(scope="module")
def standin(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("standin")
    run(train_standin, folder, {"images": [images]}, {**SHARED, **TRAINING})
    return folder / "a.safetensors"


def settings(**changes):
    return {**SHARED, **NO_WEIGHTS, "epochs": 2, **MEASUREMENT, **changes}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, images, standin):
    folder = tmp_path_factory.mktemp("ansatz")
    return run(measure_network, folder, {"images": [images], "states": [], "training": [standin]}, settings()), folder


def test_a_standin_is_trained_and_kept(standin):
    assert set(weights_when(standin)) == {"initial", "snapshot-1", "final"}
    history = pd.read_parquet(standin.with_name("m.parquet"))
    assert list(history["epoch"]) == [0, 1, 2]
    assert not list(standin.parent.glob("checkpoint*"))


def test_the_numbers_are_those_of_the_library(measured, images, standin):
    (arrays, table, _), _ = measured
    model = zoo.with_weights("resnet18", weights_when(standin)["final"], classes=10, divisor=16)
    found = measure(model, torch.from_numpy(load_arrays(images)["train/images"][:10]), batch_size=10)
    rows = table.query("when == 'trained' and quantity == 'pearson' and power == 1 and layer != 'mean'")
    assert list(rows["layer"]) == list(found)
    for _, row in rows.iterrows():
        assert row["value"] == pytest.approx(found[row["layer"]].correlation().value, abs=1e-5)
    # And what the figures form from the arrays gives the same numbers.
    weight, core = (arrays[f"trained/layer1.0.conv1/{name}"] for name in ("weight", "core"))
    row = rows.set_index("layer").loc["layer1.0.conv1"]
    assert pearson(FilterForm(weight), FilterForm(weight, core)) == pytest.approx(row["value"], abs=1e-6)


def test_the_table_says_what_each_number_is(measured):
    (_, table, record), folder = measured
    assert set(table["when"]) == {"trained", "initial", "epoch"}
    assert dict(table.groupby("when")["epoch"].unique().map(list)) == {"trained": [2], "initial": [0], "epoch": [1]}
    layers = table[table["layer"] != "mean"]
    assert set(layers.loc[layers["in_paper"], "layer"]) == {f"layer{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)}
    means = table[table["layer"] == "mean"].set_index(["when", "quantity"])["value"]
    for when in ("trained", "initial", "epoch"):
        of_paper = layers.query("in_paper and quantity == 'pearson' and power == 1 and `when` == @when")["value"]
        assert means[when, "pearson"] == pytest.approx(of_paper.mean(), abs=1e-9)
    assert means["trained", "gain"] == pytest.approx(means["trained", "pearson"] - means["initial", "pearson"], abs=1e-9)
    grown = layers.query("quantity == 'growth' and `when` == 'trained' and layer == 'conv1'")
    assert list(grown["images"]) == [2, 4, 5, 6, 7, 8, 9, 10]  # eight parts of ten images
    # The control starts where the training started, so that filters that hardly moved stay alike.
    controls = layers.query("quantity == 'initial_cnfm'")
    assert set(controls["when"]) == {"trained"}
    assert controls["value"].between(0.5, 1).all()
    assert record["passes_over_images"] == {"trained": 1.0, "initial": 1.0}
    assert not list(folder.glob("checkpoint*"))


@pytest.mark.parametrize(("mode", "stop_after"), [("exact", 4), ("probe", 5)])
def test_after_a_stop_the_numbers_are_the_same(tmp_path, images, standin, monkeypatch, mode, stop_after):
    inputs = {"images": [images], "states": [], "training": [standin]}
    given = settings(mode=mode, tolerance=None if mode == "exact" else 1e-9)
    run(measure_network, tmp_path / "whole", inputs, given)
    update, calls = AgopAccumulator.update, 0

    def broken(self, batch):
        nonlocal calls
        calls += 1
        if calls == stop_after:
            raise KeyboardInterrupt
        update(self, batch)

    monkeypatch.setattr(AgopAccumulator, "update", broken)
    with pytest.raises(KeyboardInterrupt):
        run(measure_network, tmp_path / "halves", inputs, given)
    assert list((tmp_path / "halves").glob("checkpoint-*"))
    before = calls
    _, _, record = run(measure_network, tmp_path / "halves", inputs, given)
    assert len(record["resumed_from"]) == 1
    # Three networks, three batches a pass, and with probes four passes: none is done twice.
    assert calls - before == (9 if mode == "exact" else 36) - (stop_after - 1)
    for name in ("m.parquet", "a.safetensors"):
        assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "halves").glob("checkpoint-*"))


def test_probes_are_added_until_the_tolerance_is_met(tmp_path, images, standin):
    inputs = {"images": [images], "states": [], "training": [standin]}
    passes = []
    for name, tolerance in (("rough", 10.0), ("never", 1e-9)):
        _, table, record = run(measure_network, tmp_path / name, inputs, settings(mode="probe", tolerance=tolerance))
        passes.append(record["passes_over_images"]["trained"])
        assert "growth" not in set(table["quantity"])
    assert passes == [1, 4]


def test_a_damaged_checkpoint_is_refused(tmp_path, images, monkeypatch):
    model = zoo.fresh("resnet18", generator=torch.Generator().manual_seed(0), classes=10, divisor=16).eval()
    few, checkpoint = load_arrays(images)["train/images"][:4], tmp_path / "checkpoint-x.safetensors"
    arguments = {"seed": 0, "device": "cpu", "checkpoint": checkpoint, "description": "x"}
    ansatz.measure_layers(model, few, AnsatzSettings(**settings()), **arguments)
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(StorageError, match="delete it"):
        ansatz.measure_layers(model, few, AnsatzSettings(**settings()), **arguments)


@pytest.fixture
def pretrained(tmp_path):
    """Settings and state of weights in an official file."""
    entry = REGISTRY["resnet18-v1"]
    home = tmp_path / "data/resnet18-v1"
    home.mkdir(parents=True)
    content = weights("resnet18")
    (home / entry.required[0]).write_bytes(content)
    published = replace(entry, remotes=(replace(entry.remotes[0], checksum=f"md5:{md5(content)}"),))
    write_json(home / "state.json", asdict(examine(published, Place(home))))
    given = settings(
        weights="resnet18-v1", divisor=1, epochs=0, data_dir=str(tmp_path / "data"), folders={}, dataset="imagenet"
    )
    return given, home / "state.json", home / entry.required[0]


def a_job(given, state):
    return Job({"states": [state], "training": []}, {}, given, 1, Recorder("x", "c", given))


def test_pretrained_weights_are_loaded_and_verified(pretrained):
    given, state, file = pretrained
    model = trained_network(a_job(given, state), ZooSettings(**{key: given[key] for key in ZooSettings.model_fields}))
    assert (model.conv1.weight == 0.5).all()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(CorruptDataError):
        trained_network(a_job(given, state), ZooSettings(**{key: given[key] for key in ZooSettings.model_fields}))
    state.write_text(json.dumps({**json.loads(state.read_text()), "state": "absent", "reason": "Gone.", "remedy": "Do."}))
    with pytest.raises(AbsentDataError, match="Gone"):
        trained_network(a_job(given, state), ZooSettings(**{key: given[key] for key in ZooSettings.model_fields}))


def test_images_are_transformed_by_every_layer(tmp_path, images, measured, standin):
    _, folder = measured
    inputs = {"images": [images, images], "measured": [folder / "a.safetensors"], "states": [], "training": [standin]}
    given = {**SHARED, **NO_WEIGHTS, "epochs": 2, "images": 3, "control_draws": 2}
    arrays, table, _ = run(transform_images, tmp_path, inputs, given)
    assert len(table) == 20 * 2 * 3
    assert table[["pearson", "control"]].stack().dropna().between(-1, 1).all()
    # The last features of these images are single pixels, which no correlation is of.
    assert table.groupby("index")["pearson"].apply(lambda part: part.isna().all()).sum() == 3
    # Both sources are the same here.
    pivot = table.pivot_table(index=["layer", "image"], columns="source", values="pearson")
    assert np.allclose(pivot[0], pivot[1])
    assert arrays["input/0"].shape == (3, 32, 32)
    assert arrays["input/0"].min() >= 0
    assert arrays["input/0"].max() <= 1
    assert arrays["cnfm/1/0"].shape == (32, 32)
    first = np.corrcoef(arrays["cnfm/0/0"].ravel(), arrays["agop/0/0"].ravel())[0, 1]
    assert table.query("index == 0 and source == 0 and image == 0")["pearson"].item() == pytest.approx(first, abs=1e-4)


@pytest.fixture
def for_cifar10(tmp_path, monkeypatch):
    """Settings, state and prepared images of a residual network whose classes the labels are."""
    published = REGISTRY["resnet20-cifar10"]
    entry = replace(published, remotes=(replace(published.remotes[0], checksum=""),))
    monkeypatch.setitem(REGISTRY, entry.name, entry)
    home = tmp_path / "data/resnet20-cifar10"
    model = zoo.fresh("resnet20", generator=torch.Generator().manual_seed(5), classes=10).eval()
    home.mkdir(parents=True)
    (home / entry.required[0]).write_bytes(cifar_weights(model))
    write_json(home / "state.json", {"state": "present", "reason": "", "remedy": "", "dataset": entry.name})
    images = np.random.default_rng(2).standard_normal((12, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        labels = model(torch.from_numpy(images)).argmax(1).numpy()
    given = settings(
        network="resnet20",
        weights=entry.name,
        divisor=1,
        epochs=0,
        data_dir=str(tmp_path / "data"),
        dataset="cifar10",
        images=4,
    )
    return given, home / "state.json", images, labels


def measured_with(tmp_path, given, state, images, labels):
    arrays = {"test/images": images, "test/labels": labels, "test/targets": np.eye(10, dtype=np.float32)[labels]}
    write_arrays(tmp_path / "prepared.safetensors", {**arrays, "train/images": np.zeros((0, 1, 1, 1), np.float32)})
    inputs = {"images": [tmp_path / "prepared.safetensors"], "states": [state], "training": []}
    return run(measure_network, tmp_path / "run", inputs, given)


def test_networks_for_cifar10_are_measured_on_test_images_and_their_accuracy_is_kept(tmp_path, for_cifar10):
    given, state, images, labels = for_cifar10
    labels = np.where(np.arange(12) < 3, (labels + 1) % 10, labels)
    _, table, record = measured_with(tmp_path, given, state, images, labels)
    assert record["accuracy"] == {"correct": 9, "images": 12, "published": 91.73}
    assert record["measured_on"] == "test images"
    accuracy = table.query("quantity == 'accuracy'").iloc[0]
    assert (accuracy["value"], accuracy["images"], accuracy["layer"], accuracy["in_paper"]) == (0.75, 12, "output", False)
    chosen = table.query("in_paper and layer != 'mean'")
    assert set(chosen["layer"]) == {f"layer{i}.{j}.conv1" for i in (1, 2, 3) for j in range(3)}
    assert set(chosen.loc[chosen["quantity"] == "pearson", "images"]) == {4}
    assert {"rotated_null", "initial_cnfm", "pearson"} <= set(chosen["quantity"])
    assert table.query("layer == 'mean' and quantity == 'gain'")["value"].notna().all()


def test_weights_far_less_accurate_than_published_are_refused(tmp_path, for_cifar10, monkeypatch):
    given, state, images, labels = for_cifar10
    monkeypatch.setattr(ansatz, "measure_layers", lambda *_, **__: pytest.fail("measured all the same"))
    with pytest.raises(CorruptDataError, match=r"classify 0 of 12 images of cifar10 correctly, but 91\.73 % is published"):
        measured_with(tmp_path, given, state, images, (labels + 1) % 10)


@pytest.mark.parametrize(
    ("correct", "images", "published", "far"),
    [
        (95, 1000, 91.73, True),
        (458, 1000, 91.73, True),
        (459, 1000, 91.73, False),  # not below half
        (0, 2, 56.522, False),  # two hard images
        (0, 11, 56.522, True),
        (5, 22, 56.522, False),
        (4, 22, 56.522, True),
        (0, 3000, 91.73, True),
    ],
)
def test_what_is_far_below(correct, images, published, far):
    assert Accuracy(correct, images, published).is_far_below() is far
    share = Fraction(published) / 100
    chance = sum(math.comb(images, k) * share**k * (1 - share) ** (images - k) for k in range(correct + 1))
    assert (chance < Fraction(1, 1000) and Fraction(correct, images) < share / 2) is far


def test_classes_are_those_of_imagenet_or_not_known():
    def classes(dataset, number):
        prepared = {"train/labels": np.array([3, 0, 9]), "train/targets": np.zeros((3, number), np.float32)}
        return ansatz._classes(prepared, AnsatzSettings(**settings(weights="resnet18-v1", dataset=dataset)))

    assert classes("imagenet", 1000).tolist() == [3, 0, 9]
    assert classes("imagenet", 143) is None
    assert classes("imagenet", 10) is None
    assert classes("imagenette", 10).tolist() == [491, 0, 701]
    from torchvision.datasets import Imagenette
    from torchvision.models import ResNet18_Weights

    named = [ResNet18_Weights.IMAGENET1K_V1.meta["categories"][number] for number in IMAGENETTE]
    assert named == [Imagenette._WNID_TO_CLASS[name][0] for name in sorted(Imagenette._WNID_TO_CLASS)]


def test_weights_of_another_network_are_refused_where_they_lie(for_cifar10):
    given, state, _, _ = for_cifar10
    file = state.with_name(REGISTRY["resnet20-cifar10"].required[0])
    file.write_bytes(cifar_weights(zoo.fresh("resnet32", generator=torch.Generator(), classes=10)))
    with pytest.raises(CorruptDataError, match="not the weights of resnet20"):
        trained_network(a_job(given, state), ZooSettings(**{key: given[key] for key in ZooSettings.model_fields}))


def test_images_of_a_network_for_cifar10_are_its_test_images():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    section = {"weights": ["resnet20-cifar10", "alexnet-v1"], "dataset": "imagenette", "measurement": {"images": 64}}
    given = {**config, "preset": "quick", "overrides": {"zoo": section}}
    plan = Plan(load_settings(given, ROOT / "workflow/presets"), lambda name: {"state": "present", "digest": name})
    (kind,) = (kind for kind in KINDS if kind.name == "ansatz")
    for protocol in ("published", "corrected"):
        w = {"network": "resnet20-cifar10", "seed": "0", "protocol": protocol}
        (images,) = kind.inputs["images"](plan, w)
        keys = run_keys(Path(images).parent)
        expected = {"dataset": "cifar10", "size": "native", "scaling": "imagenet", "n_train": "0", "n_test": "1000"}
        assert {name: keys[name] for name in expected} == expected
        assert keys["protocol"] == "corrected"
        found = kind.seen(plan, w)
        assert (found.network, found.dataset, found.part, found.digest) == ("resnet20", "cifar10", "test", "resnet20-cifar10")
        (others,) = kind.inputs["images"](plan, {**w, "network": "alexnet-v1"})
        assert run_keys(Path(others).parent)["dataset"] == "imagenette"
        assert kind.seen(plan, {**w, "network": "alexnet-v1"}).part == "train"
    needs = ansatz_needs(plan)
    assert needs["resnet20-cifar10"] == ["resnet20-cifar10", "cifar10"]
    assert needs["alexnet-v1"] == ["alexnet-v1", "imagenette"]
