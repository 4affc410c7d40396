"""The example on a folder of images: scikit-learn's digits, which are scans of handwriting, written as files of 8x8 pixels."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from convrfm import load_model
from examples.running import EXAMPLES, load

EXAMPLE = EXAMPLES / "own_images.py"


@pytest.fixture
def folder(tmp_path):
    bunch = load_digits(n_class=3)
    for index, (image, label) in enumerate(zip(bunch.images[:120], bunch.target[:120], strict=True)):
        path = tmp_path / "digits" / f"kind {label}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(path)
    return tmp_path / "digits"


# One thread, which is fast on images this small, however busy the machine is.
SETTINGS = ["--size", "8", "--depth", "2", "--rounds", "3", "--n-jobs", "1"]


def test_fits_draws_saves_and_reloads(folder, tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        EXAMPLE,
        folder,
        "--output",
        tmp_path / "out",
        "--colour",
        "grey",
        *SETTINGS,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
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


@pytest.fixture
def example():
    return load("own_images")


def test_colours(folder, tmp_path, example, capsys):
    example.main([str(folder), "--output", str(tmp_path / "out"), "--stages", "1", *SETTINGS])
    assert load_model(tmp_path / "out" / "model.safetensors").image_shape_ == (3, 8, 8)
    assert "the same predictions" in capsys.readouterr().out


def test_mistakes(folder, tmp_path, example, capsys):
    with pytest.raises(SystemExit):
        example.main([str(folder), "--rounds", "1"])
    assert "at least 2 rounds" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example.main([str(tmp_path / "nowhere")])
    assert "there is no folder" in capsys.readouterr().err
