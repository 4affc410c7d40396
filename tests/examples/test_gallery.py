"""The examples of the gallery, small: what they write, what they find, and what they say to wrong input."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from convrfm.system import machine
from examples.running import EXAMPLES, load

SMALL = {
    "own_network": ["--epochs", "8", "--width", "16", "--images", "40"],
    "edge_detectors": ["--images", "200", "--rounds", "4", "--n-jobs", "1"],
    "dimmed_noise": ["--images", "250", "--filters", "16", "--n-jobs", "1"],
}

pytestmark = [pytest.mark.docs, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each example prints, and its picture; each is run once."""
    results = {}

    def run(name):
        if name not in results:
            picture = tmp_path_factory.mktemp(name) / "picture.png"
            command = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", "--output", picture, *SMALL[name]]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            results[name] = done.stdout, picture
        return results[name]

    return run


def numbers(text, pattern):
    rows = re.findall(pattern, text, re.MULTILINE)
    return np.array(rows, np.float64)


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_is_drawn(found, name):
    text, path = found(name)
    assert f"drawn: {path}" in text
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert 800 <= pixels.shape[1] <= 1600
    assert 0.01 < (pixels < 128).mean() < 0.6
    # No text is cut off at the border.
    assert (np.concatenate([pixels[:, 0], pixels[:, -1], pixels[0], pixels[-1]]) > 250).all()


@pytest.mark.parametrize("name", SMALL)
def test_the_same_bits_again(found, name, tmp_path, capsys):
    text, path = found(name)
    again = tmp_path / "again.png"
    load(name).main(["--output", str(again), *SMALL[name]])
    assert capsys.readouterr().out.splitlines()[:-1] == text.splitlines()[:-1]
    assert again.read_bytes() == path.read_bytes()


def test_training_brings_filters_and_gradients_together(found):
    text, _ = found("own_network")
    rows = numbers(text, r"(?:before|after) training +([\d.]+) +([\d.]+) +(-?[\d.]+)$").reshape(3, 2, 3)
    before, after = rows[:, 0], rows[:, 1]
    # In the layers behind the first, whose patches have few pixels, training lifts the correlation above its null.
    assert (after[1:, 0] - after[1:, 1] > 0.05).all()
    assert (after[1:, 0] > after[1:, 2] + 0.5).all()
    # Negative control: untrained, it is its own null.
    assert np.abs(before[1:, 0] - before[1:, 1]).max() < 0.03


def test_labels_decide_what_edges_weigh(found):
    text, _ = found("edge_detectors")
    true, shuffled = (numbers(text, rf"^ *{labels} labels +[1-9] +([\d.]+) +([\d.]+)") for labels in ("true", "shuffled"))
    assert len(true) == len(shuffled) == 3
    assert (true.sum(axis=1) <= 1.001).all()
    assert true[-1, 0] > shuffled[-1, 0] + 0.2
    # With shuffled labels brightness takes over.
    assert (np.diff(shuffled[:, 1]) > 0).all()


def test_bars_stand_out_behind_learned_filters(found):
    text, _ = found("dimmed_noise")
    rows = numbers(text, r"^ *([012]) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+)$")
    assert rows[:, 0].tolist() == [0, 1, 2]
    assert np.allclose(rows[0, 3:], 0)
    assert rows[1, 4] > 0
    assert (np.abs(rows[:, 2]) < 0.5).all()  # random filters change nothing


def test_power_of_a_bar_that_is_known():
    """A bar three times as strong as noise of one, in the rows that filters see, counted by hand."""
    example = load("dimmed_noise")
    bars = np.array([4, 0])
    image = np.ones((2, 1, 9, 5))
    image[0, 0, 4] = image[1, 0, 0] = 3
    features = np.ones((2, 2, 7, 3))
    features[0, :, 3] = 10
    features[0, :, [2, 4]] = 77  # these touch the bar, and count neither way
    ratios = example.bar_over_noise([image, features], bars)
    assert np.allclose(ratios[:, 0], [10 * np.log10(9), 20])
    assert np.isnan(ratios[:, 1]).all()


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("own_network", ["--epochs", "0"], "at least 1"),
        ("own_network", ["--output", "nowhere/a.png"], "no folder nowhere"),
        ("edge_detectors", ["--rounds", "1"], "at least 2 rounds"),
        ("edge_detectors", ["--patch-size", "29"], "28x28"),
        ("edge_detectors", ["--images", "1600"], "50 to 1497"),
        ("dimmed_noise", ["--sigma", "-1"], "must be positive"),
        ("dimmed_noise", ["--images", "4"], "at least 20"),
        ("dimmed_noise", ["--images", "20", "--filters", "0"], "filters must be an integer of at least 1"),
    ],
)
def test_wrong_input(name, options, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        load(name).main(options)
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*SMALL, "own_images"])
def test_a_missing_extra_is_named(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    folder = [str(tmp_path)] if name == "own_images" else []
    with pytest.raises(SystemExit, match="2"):
        load(name).main(folder)
    assert "needs matplotlib" in (said := capsys.readouterr().err)
    assert 'not installed here: pip install "matplotlib>=' in said
