"""Training and measuring of one shallow network, as the workflow does it."""

import numpy as np
import pandas as pd
import pytest
import torch

from convrfm.ansatz.agop import measure
from convrfm.networks.shallow import ShallowCNN
from convrfm.replication.jobs.shallow import train_and_measure
from convrfm.replication.jobs.training import load_weights, weights_when
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays, sha256, write_arrays

SETTINGS = {
    "dataset": "digits", "architecture": "MyrtleMax", "patch_size": 3, "protocol": "published", "seed": 0, "device": "cpu",
    "width": 4, "first_std": 0.2, "later_std": 0.3, "learning_rate": 0.01, "batch_size": 16, "epochs": 12,
    "evaluate_every": 5, "stop_below": 1e-5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """The job sets threads and deterministic arithmetic for its process; the tests' process goes on."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.allow_tf32 = tf32


def images(folder, held_out=()):
    """Three classes of 8x8 images, told apart by where a spot is; each drawn anew with noise."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 48), ("test", 21)):
        labels = np.arange(count) % 3
        pictures = 0.2 * rng.standard_normal((count, 1, 8, 8), dtype=np.float32)
        for picture, label in zip(pictures, labels, strict=True):
            picture[0, 2 * label : 2 * label + 3, 2:5] += 1
        arrays |= {f"{part}/images": pictures, f"{part}/labels": labels}
        arrays[f"{part}/targets"] = np.eye(4, dtype=np.float32)[labels]  # one class more than there are images of
    arrays["train/validation"] = np.array(held_out, np.int64)
    write_arrays(folder / "images.safetensors", arrays)
    return folder / "images.safetensors", arrays


def run(folder, path, **changes):
    given = {**SETTINGS, **changes}
    outputs = {k: folder / f for k, f in (("metrics", "m.parquet"), ("arrays", "a.safetensors"), ("record", "r.json"))}
    train_and_measure(Job({"images": [path]}, outputs, given, 1, Recorder("x", "c", given)))
    return pd.read_parquet(outputs["metrics"]), outputs, read_record(outputs["record"])


def test_published(tmp_path):
    path, arrays = images(tmp_path)
    metrics, outputs, record = run(tmp_path, path)
    assert set(metrics["when"]) == {"initial", "trained", "training"}
    history = metrics[metrics["when"] == "training"]
    assert sorted(history.query("quantity == 'train_loss'")["epoch"]) == list(range(1, 13))
    assert sorted(history.query("quantity == 'test_accuracy'")["epoch"]) == [0, 5, 10, 12]
    accuracies = history.query("quantity == 'test_accuracy' and epoch > 0").set_index("epoch")["value"]
    assert record["chosen_by"] == "test"
    assert record["best_epoch"] == accuracies.idxmax()
    assert record["best_epoch_test_accuracy"] == accuracies.max() > 0.6  # it learns; chance is a third
    assert (record["images_trained_on"], record["images_tested_on"], record["classes"]) == (48, 21, 4)
    assert record["outputs"]["arrays"]["sha256"] == sha256(outputs["arrays"])
    assert record["training"]["loss"] == "cross-entropy"
    assert record["training"]["shuffle"]

    # What was measured is what the weights on disk give.
    weights = weights_when(outputs["arrays"])
    assert set(weights) == {"initial", "final"}
    network = ShallowCNN("MyrtleMax", (1, 8, 8), 4, width=4, generator=torch.Generator())
    for when, name in (("initial", "initial"), ("trained", "final")):
        load_weights(network, weights[name])
        found = measure(network, torch.from_numpy(arrays["train/images"]))
        rows = metrics.query("when == @when and power == 1")
        for entries in ("pearson", "cosine"):
            expected = [layer.correlation(entries).value for layer in found.values()]
            values = rows[rows["quantity"] == entries].sort_values("index")["value"]
            assert np.allclose(values, expected, atol=1e-6)
        assert ("initial_cnfm" in set(rows["quantity"])) == (when == "trained")
        assert len(rows.query("quantity == 'rotated_null'")) == 4
    assert not list(tmp_path.glob("checkpoint*"))


def test_corrected_chooses_on_the_validation_part(tmp_path):
    held_out = np.arange(0, 48, 5)
    path, arrays = images(tmp_path, held_out)
    metrics, outputs, record = run(tmp_path, path, protocol="corrected", architecture="Myrtle5")
    assert record["chosen_by"] == "validation"
    assert record["images_trained_on"] == 48 - len(held_out)
    history = metrics[metrics["when"] == "training"].pivot(index="epoch", columns="quantity", values="value")
    measured = history["validation_accuracy"].dropna().drop(index=0)
    assert record["best_epoch"] == measured.idxmax()
    assert record["best_epoch_test_accuracy"] == history.loc[record["best_epoch"], "test_accuracy"]
    # The AGOP is over the images that were trained on, and not over those that chose.
    network = ShallowCNN("Myrtle5", (1, 8, 8), 4, width=4, generator=torch.Generator())
    load_weights(network, weights_when(outputs["arrays"])["final"])
    values = metrics.query("when == 'trained' and power == 1 and quantity == 'cosine'").sort_values("index")["value"]
    fit = np.setdiff1d(np.arange(48), held_out)
    for chosen, equal in ((fit, True), (np.arange(48), False)):
        found = measure(network, torch.from_numpy(arrays["train/images"][chosen]))
        expected = [layer.correlation("cosine").value for layer in found.values()]
        assert np.allclose(values, expected, atol=1e-7) == equal


def test_the_same_bits_again_and_other_seeds_differ(tmp_path):
    path, _ = images(tmp_path)
    found = [
        load_arrays(run(tmp_path / str(i), path, seed=seed, epochs=2, architecture="vanilla")[1]["arrays"])
        for i, seed in enumerate((0, 0, 1))
    ]
    name = "final/features.0.weight"
    assert np.array_equal(found[0][name], found[1][name])
    assert not np.array_equal(found[0][name], found[2][name])


def test_training_stops_early(tmp_path):
    path, _ = images(tmp_path)
    _, _, record = run(tmp_path, path, stop_below=100.0)
    assert record["last_epoch"] == 1
