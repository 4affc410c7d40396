"""The wheel: what is in it, and that it works in an environment that holds nothing else.

Nothing is built in the checkout, whose `build` and `egg-info` would find their way into wheels.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from convrfm import __version__

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

pytestmark = pytest.mark.packaging


def run(*command, cwd):
    """Run a command outside of the checkout, with nothing of this process's Python about it."""
    # Bytecode is kept in these environments, even if it is not elsewhere: PyTorch would be compiled anew each time.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment = {**kept, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def done(*command, cwd):
    finished = run(*command, cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source archive, from a copy of what they are made of; the wheel is made from the archive."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    # What builds stands in the lock: setuptools of this environment.
    done(UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", "dist", cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    (archive,) = (folder / "dist").glob("*.tar.gz")
    return wheel, archive


def sources():
    """What the package holds in the checkout, as paths from `src`."""
    files = [path.relative_to(ROOT / "src") for path in (ROOT / "src/convrfm").rglob("*") if path.is_file()]
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


def test_everything_is_packed_and_nothing_else(built):
    wheel, archive = built
    with ZipFile(wheel) as content:
        packed = set(content.namelist())
    about = {name for name in packed if ".dist-info/" in name}
    assert packed - about == sources()
    # Negative control of the line above: what is no module is there.
    assert {
        "convrfm/py.typed",
        "convrfm/replication/claims/claims.yaml",
        "convrfm/replication/audit/templates/page.html.j2",
    } <= packed
    assert any(name.endswith("licenses/LICENSE") for name in about)
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "src/convrfm/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "results", "workflow"))]


def test_the_metadata_say_what_is_needed(built):
    with ZipFile(built[0]) as content:
        (name,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(content.read(name).decode())
        entry_points = content.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert metadata["Name"] == "convrfm"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    needed = metadata.get_all("Requires-Dist")
    always = {entry for entry in needed if "extra ==" not in entry}
    assert len(always) == len(PROJECT["dependencies"])
    assert len(needed) - len(always) == sum(map(len, PROJECT["optional-dependencies"].values()))
    assert "convrfm = convrfm.replication.audit.cli:main" in entry_points
    assert metadata.get_payload().startswith("# convrfm")


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Python of an environment that holds the wheel and what it depends on, in the versions of the lock."""
    folder = tmp_path_factory.mktemp("installed")
    done(UV, "venv", "--quiet", "--python", sys.executable, "venv", cwd=folder)
    python = folder / "venv/bin/python"
    install(python, str(built[0]))
    return python


def install(python, what):
    lock = ROOT / "envs/lock.txt"
    done(UV, "pip", "install", "--quiet", "--python", python, "--constraint", lock, what, cwd=python.parent)


@pytest.fixture(scope="module")
def with_extras(built, tmp_path_factory):
    """The same, with the extras `workflow` and `audit`."""
    folder = tmp_path_factory.mktemp("extras")
    done(UV, "venv", "--quiet", "--python", sys.executable, "venv", cwd=folder)
    python = folder / "venv/bin/python"
    install(python, f"{built[0]}[workflow,audit]")
    return python


LIBRARY = """
import sys
import numpy as np, torch
import convrfm
from convrfm import DeepConvRFMClassifier, load_model, measure, save_model, summarise
from convrfm.datasets.local_signal import noisy_bars

bars = noisy_bars(40, 20, seed=0)
images, test = bars.train.images(0.1), bars.test.images(0.1)
model = DeepConvRFMClassifier(depth=2, stages=2, rounds=2, filters=4, random_state=0).fit(images, bars.train.labels)
assert model.score(test, bars.test.labels) > 0.7
save_model(model, "model.safetensors")
assert np.array_equal(load_model("model.safetensors").outputs(test), model.outputs(test))

network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2)
)
network(torch.from_numpy(test))
table = summarise(measure(network.eval(), torch.from_numpy(test)), seed=0)
assert table["layer"].unique().tolist() == ["0", "2"]
loaded = {name.partition(".")[0] for name in sys.modules}
print(convrfm.__file__, *sorted(loaded & {"matplotlib", "seaborn", "torchvision", "snakemake", "pydantic", "rocrate", "jax"}))
"""


def test_the_library_needs_no_extra(installed, tmp_path):
    said = done(installed, "-W", "error::UserWarning", "-c", LIBRARY, cwd=tmp_path).split()
    # From the environment and not the checkout, and none of what belongs to extras.
    assert len(said) == 1
    assert Path(said[0]).is_relative_to(installed.parents[1])


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "import convrfm.replication.figures.fig05",
            'needs matplotlib and seaborn, not installed here: pip install "matplotlib>=3.10" "seaborn>=0.13.2"',
        ),
        ("import convrfm.datasets.formats", 'pip install "pillow>=11"'),
        (
            "import torch; from convrfm.networks.zoo import fresh; fresh('vgg11', generator=torch.Generator())",
            'A network of torchvision needs torchvision, not installed here: pip install "torchvision<',
        ),
        ("from convrfm import CNTK; CNTK(backend='cuda')", 'pip install "numba-cuda[cu13]>='),
        (
            "import numpy as np; from convrfm import CNTK; CNTK(backend='neural-tangents').gram(np.ones((1, 1, 9, 9)))",
            'pip install "jax==0.5.3" "jaxlib==0.5.3" "neural-tangents==0.6.5"',
        ),
    ],
)
def test_a_missing_extra_is_named(installed, code, sentence, tmp_path):
    finished = run(installed, "-c", code, cwd=tmp_path)
    assert finished.returncode == 1
    last = finished.stderr.strip().splitlines()[-1]
    assert last.startswith(("convrfm.system.machine.MissingExtraError: ", "convrfm.errors.ConfigError: "))
    assert sentence in last


@pytest.mark.parametrize("example", sorted(path.stem for path in (ROOT / "examples").glob("*.py")))
def test_examples_name_the_extra_that_they_need(installed, example, tmp_path):
    folder = [tmp_path] if example == "own_images" else []
    finished = run(installed, ROOT / f"examples/{example}.py", *folder, cwd=tmp_path)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert re.search(r'not installed here: pip install "matplotlib>=3.10"( "[a-z0-9.>=]+")+$', finished.stderr.strip())


def test_the_command_line_needs_extras_for_audits_alone(installed, tmp_path):
    command = installed.with_name("convrfm")
    assert "import-results" in done(command, "--help", cwd=tmp_path)
    (tmp_path / "results/quick").mkdir(parents=True)
    finished = run(command, "audit", "results/quick", cwd=tmp_path)
    assert finished.returncode == 2
    assert re.search(r'audits need it: pip install "h5py>=.* "rocrate>=', finished.stderr)
    assert "Traceback" not in finished.stderr


def test_outside_of_a_checkout(with_extras, tmp_path):
    """With the extras, an example draws; audits say what they need where there is no project."""
    options = ["--epochs", "1", "--width", "4", "--images", "8", "--output", "own_network.png"]
    said = done(with_extras, ROOT / "examples/own_network.py", *options, cwd=tmp_path)
    assert "drawn: own_network.png" in said
    assert (tmp_path / "own_network.png").stat().st_size > 10_000
    command = with_extras.with_name("convrfm")
    (tmp_path / "results/quick").mkdir(parents=True)
    for arguments, sentence in {
        ("audit", "results/quick"): "is not results/<preset> of a project with config.yaml and workflow/presets",
        ("audit", "nowhere"): "is not a folder: name a folder of results",
        ("import-results", "results/quick"): "run this in the folder of the project",
    }.items():
        finished = run(command, *arguments, cwd=tmp_path)
        assert finished.returncode == 2
        assert sentence in finished.stderr
        assert "Traceback" not in finished.stderr
