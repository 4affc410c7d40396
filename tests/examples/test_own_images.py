"""The example on a folder of images: scikit-learn's digits, which are scans of handwriting, written as files of 8x8 pixels."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from datasets.packing import noise
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
    command = [sys.executable, "-W", "error", EXAMPLE, folder, "--output", tmp_path / "out", "--colour", "grey", *SETTINGS]
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


def images(folder, counts, size=8):
    """A folder with so many images of noise for each class."""
    for seed, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i, pixels in enumerate(noise(count, size, size, 3, seed=seed)):
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def sentence(example, capsys, *arguments):
    """The one sentence that a call ends with, and its exit status."""
    with pytest.raises(SystemExit) as stopped:
        example.main([*map(str, arguments)])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return stopped.value.code, said.splitlines()[-1].partition("error: ")[2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--rounds", "1"], "at least 2 rounds"),
        (["--test-fraction", "0"], "between 0 and 1"),
        (["--test-fraction", "nan"], "between 0 and 1"),
        (["--test-fraction", "0.01"], "Of 12 images 1 are to be held out, but 2 classes need 2 images on each side"),
        (["--test-fraction", "0.9"], "Of 12 images 11 are to be held out"),
        (["--seed", "-1"], "seed must lie between 0"),
        (["--size", "0"], "size must be a positive integer"),
        (["--size", "10000000"], "images of 10000000x10000000 pixels take"),
        (["--depth", "9"], "Images of 8x8 pixels are too small for 9 convolution(s)"),
        (["--depth", "0"], "The 'depth' parameter of DeepConvRFMClassifier must be an int in the range [1, inf)"),
        (["--stages", "9"], "stages must be at most the depth"),
        (["--patch-size", "0"], "The 'patch_size' parameter of DeepConvRFMClassifier must be an int in the range [1, inf)"),
        (["--n-jobs", "0"], "n_jobs must be None or an integer other than 0"),
        (["--output", "taken/a"], "taken"),
        (["--output", "taken"], "taken is a file, but model and picture need a folder"),
        (["--output", "~nobody-here/a"], "an unknown user"),
    ],
)
def test_wrong_options(example, tmp_path, monkeypatch, capsys, options, expected):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "in", {"a": 6, "b": 6})
    (tmp_path / "taken").write_bytes(b"")
    status, said = sentence(example, capsys, "in", *SETTINGS, *options)
    assert status == (1 if options[-1] == "taken/a" else 2)
    assert expected in said
    assert said.endswith((".", "rounds", "1", "a", "--output"))


@pytest.mark.parametrize(
    ("counts", "change", "expected"),
    [
        ({}, None, "No folder in: name a folder that has a folder of images for each class"),
        ({}, lambda root: root.write_bytes(b""), "No folder in"),
        ({}, lambda root: root.mkdir(), "in has no class folders: put the images of each class"),
        ({"a": 5}, None, "There is one class only, 'a'"),
        ({"a": 5, ".ipynb_checkpoints": 5}, None, "There is one class only, 'a'"),
        ({"a": 5, "b": 1}, None, "The class 'b' has one image only"),
        ({"a": 5, "b": 0}, None, "The class folder in/b has no images"),
        ({"a": 5, "b": 0}, lambda root: (root / "b/a.txt").write_text("text"), "The class folder in/b has no images"),
        ({"a": 5, "b": 5}, lambda root: (root / "b/3.png").write_bytes(b""), "in/b/3.png is empty: replace or remove it"),
        ({"a": 5, "b": 5}, lambda root: (root / "b/3.png").write_text("text"), "in/b/3.png is no image in one"),
        ({"a": 5, "b": 5}, lambda root: Image.new("LA", (8, 8)).save(root / "b/3.png"), "in/b/3.png has transparent pixels"),
        ({"a": 5, "b": 5}, lambda root: (root / "b/x.png").symlink_to("y"), "in/b/x.png cannot be opened: No such file"),
    ],
)
def test_wrong_folders(example, tmp_path, monkeypatch, capsys, counts, change, expected):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "in", counts)
    if change is not None:
        change(tmp_path / "in")
    status, said = sentence(example, capsys, "in", *SETTINGS)
    assert status == 2
    assert expected in said


def test_images_of_different_sizes_kinds_and_modes(example, tmp_path, monkeypatch, capsys):
    """All are resized; a home folder is found; 16 bits are as good as 8."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "in", {"a": 6, "b": 6})
    for seed, name in enumerate("ab", start=2):
        grey = noise(1, 9, 30, seed=seed)[0]
        Image.fromarray(grey).save(tmp_path / f"in/{name}/grey.jpg")
        Image.fromarray(grey.T.astype(np.uint16) * 257).save(tmp_path / f"in/{name}/deep.png")
    example.main(["~/in", "--output", "~/out", *SETTINGS, "--rounds", "2", "--stages", "1"])
    assert "12 training images of shape (3, 8, 8), 4 held out" in capsys.readouterr().out
    assert (tmp_path / "out/model.safetensors").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_sixteen_bits_are_learned_from(folder, tmp_path, example, capsys):
    """The digits again, as files of 16 bits with half of the contrast, which 8 bits without scaling would turn white."""
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            deep = 20000 + np.asarray(image).astype(np.uint16) * 64
        Image.fromarray(deep).save(path)
    example.main([str(folder), "--output", str(tmp_path / "out"), "--stages", "1", *SETTINGS])
    accuracies = re.findall(r": ([\d.]+) % ", capsys.readouterr().out)
    assert min(map(float, accuracies)) > 80


def test_interrupted(folder, tmp_path):
    # Ctrl-C is ignored in a child of a shell's background job, unless it is set right.
    command = ["env", "--default-signal=INT", sys.executable, "-u", EXAMPLE, folder]
    command += ["--output", tmp_path / "out", *SETTINGS, "--rounds", "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(list(map(str, command)), **pipes) as process:
        assert "90 training images" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["own_images", "own_network", "edge_detectors", "dimmed_noise"])
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (MemoryError("Unable to allocate 9 TiB"), 1, "out of memory (Unable to allocate 9 TiB)"),
        (OSError(28, "No space left on device", "a.png"), 1, "a.png: No space left on device."),
    ],
)
def test_what_else_may_end_an_example(name, error, status, said, monkeypatch, capsys):
    example = load(name)

    def fail(given):
        raise error

    monkeypatch.setattr(example, "run", fail)
    with pytest.raises(SystemExit) as stopped:
        example.main(["."] if name == "own_images" else [])
    assert stopped.value.code == status
    assert said in (found := capsys.readouterr().err)
    assert "Traceback" not in found
