"""The example on a folder of images: scikit-learn's digits, which are scans of handwriting, written as files of 8x8 pixels."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from convrfm import load_model

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_images.py"


@pytest.fixture
def folder(tmp_path):
    bunch = load_digits(n_class=3)
    for index, (image, label) in enumerate(zip(bunch.images[:120], bunch.target[:120], strict=True)):
        path = tmp_path / "digits" / f"kind {label}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(path)
    return tmp_path / "digits"


def run(folder, output, *more):
    """The example on one thread, which is fast on images this small, however busy the machine is."""
    settings = ["--size", "8", "--depth", "2", "--rounds", "3", "--n-jobs", "1"]
    command = [sys.executable, "-W", "error", EXAMPLE, folder, "--output", output, *settings, *more]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_fits_draws_saves_and_reloads(folder, tmp_path):
    done = run(folder, tmp_path / "out", "--colour", "grey")
    assert done.returncode == 0, done.stderr
    assert "90 training images of shape (1, 8, 8), 30 held out, 3 classes" in done.stdout
    accuracies = re.findall(r"^(.*): ([\d.]+) % \(stage \d, round \d\)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in accuracies] == ["plain kernel (round 0)", "ConvRFM", "Deep ConvRFM"]
    assert min(float(value) for _, value in accuracies) > 80
    assert "saved and reloaded: the same predictions" in done.stdout
    assert "stage 2 of 2, rounds: 3 of 3 done" in done.stderr
    model = load_model(tmp_path / "out" / "model.safetensors")
    assert list(model.classes_) == ["kind 0", "kind 1", "kind 2"]
    with Image.open(tmp_path / "out" / "eigenvectors.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels < 64).any()
    assert (pixels > 192).any()


def test_colours_and_mistakes(folder, tmp_path):
    done = run(folder, tmp_path / "out", "--kernel", "laplace", "--stages", "1")
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "out" / "model.safetensors").image_shape_ == (3, 8, 8)
    assert "at least 2 rounds" in run(folder, tmp_path, "--rounds", "1").stderr
    assert "No such file" in run(tmp_path / "nowhere", tmp_path).stderr
