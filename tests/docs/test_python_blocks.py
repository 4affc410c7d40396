"""Every block of Python in the pages runs, page by page, in a namespace with a few images and a network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from convrfm import DeepConvRFMClassifier, measure
from convrfm.system.machine import limited_threads
from docs.pages import PAGES, ROOT, Block, blocks, name_of

# Those with a title are files, which test_following.py writes and uses; the tutorial is followed there as a whole.
FOLLOWED = ROOT / "docs/tutorial.md"


def to_run(page: Path) -> list[Block]:
    return [block for block in blocks(page.read_text(encoding="utf-8"), "python") if not block.title]


WITH_BLOCKS = [page for page in PAGES if page != FOLLOWED and to_run(page)]


def run(page: Path, found: list[Block], names: dict) -> None:
    """Run blocks one after the other; a traceback shows the line of the page."""
    for block in found:
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


def names() -> dict:
    """What pages call by name: few and small, so that all blocks take seconds."""
    digits = load_digits()
    chosen = np.concatenate([np.flatnonzero(digits.target == digit)[:12] for digit in range(3)])
    pictures = np.pad(digits.images[chosen, None] / 16, [(0, 0), (0, 0), (3, 3), (3, 3)]).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(pictures))
    pictures, labels = pictures[order], digits.target[chosen][order]
    torch.manual_seed(0)
    features = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 5, 3), torch.nn.ReLU())
    network = torch.nn.Sequential()
    network.add_module("features", features)
    network.add_module("readout", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(5 * 10 * 10, 3)))
    return {
        "images": torch.from_numpy(pictures[:24]),
        "labels": labels[:24],
        "test_images": pictures[24:],
        "test_labels": labels[24:],
        "others": pictures[24:],
        "network": network,
        "X": pictures[:8],
        "Z": pictures[24:28],
        "M": np.diag(np.linspace(0.5, 1.5, 9)),
        "alpha": np.eye(8, 2, dtype=np.float32),
    }


@pytest.fixture
def small(monkeypatch) -> None:
    """Defaults that pages do not name, brought down to what takes seconds."""
    monkeypatch.setitem(DeepConvRFMClassifier.__init__.__kwdefaults__, "filters", 4)
    monkeypatch.setitem(measure.__kwdefaults__, "most_probes", 64)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Blocks write files into the folder that they are in; there are a few pictures of pets in it."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("cats/1.png", "dogs/2.jpg")):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        Image.new("RGB", (20 + i, 18)).save(tmp_path / "pets" / name)
    return tmp_path


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
@pytest.mark.filterwarnings("ignore:The metric has rank one")
def test_blocks_run(page, folder, small, one_thread):
    with limited_threads(1):  # for kernels so small that they lose time to more
        run(page, to_run(page), names())


def test_blocks_that_fail_are_found(folder):
    page = folder / "page.md"
    page.write_text("Text\n\n- point\n\n  ```python\n  a = len(images)\n  ```\n\n```python\na.gone()\n```\n")
    found = to_run(page)
    assert [block.line for block in found] == [6, 10]
    with pytest.raises(AttributeError) as caught:
        run(page, found, names())
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 10)
