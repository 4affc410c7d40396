"""What is missing is named, with a command that works although convrfm is on no package index."""

from importlib.metadata import PackageNotFoundError

import pytest

from convrfm.system import machine
from convrfm.system.machine import MissingExtraError, how_to_install, require


@pytest.fixture
def environment(monkeypatch):
    """An environment in which some packages are there; the metadata are those of a wheel."""

    def pretend(*packages, metadata=True):
        def version(name):
            if name not in packages:
                raise PackageNotFoundError(name)
            return "1"

        def requires(name):
            if not metadata:
                raise PackageNotFoundError(name)
            return [
                "numpy>=2.1", 'matplotlib>=3.10; extra == "workflow"', 'pillow>=11; extra == "workflow"',
                'snakemake[reports]<10,>=9.27; extra == "workflow"', 'pillow>=11; extra == "audit"', 'rocrate; extra == "audit"',
            ]  # fmt: skip

        monkeypatch.setattr(machine, "version", version)
        monkeypatch.setattr(machine, "requires", requires)
        monkeypatch.setattr(machine, "find_spec", lambda name: name if name in packages else None)

    return pretend


def test_what_is_missing_of_an_extra(environment):
    environment("matplotlib")
    assert how_to_install("workflow") == 'pip install "pillow>=11" "snakemake[reports]<10,>=9.27"'
    assert how_to_install("workflow", "audit") == 'pip install "pillow>=11" "snakemake[reports]<10,>=9.27" "rocrate"'
    environment("pillow", "rocrate")  # there, but perhaps of a wrong version
    assert how_to_install("audit") == 'pip install "pillow>=11" "rocrate"'


def test_modules_of_an_extra(environment):
    environment("matplotlib")
    require("workflow", "matplotlib", what="Drawing")
    environment()
    with pytest.raises(MissingExtraError) as caught:
        require("workflow", "matplotlib", "PIL", what="Drawing")
    sentence = 'Drawing needs matplotlib and PIL, not installed here: pip install "matplotlib>=3.10" "pillow>=11"'
    assert str(caught.value) == sentence


def test_sources_that_are_not_installed(environment):
    environment(metadata=False)
    assert how_to_install("workflow", "audit") == 'pip install ".[workflow,audit]" in a checkout'
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[workflow\]" in a checkout'):
        require("workflow", "PIL", what="Drawing")


@pytest.mark.parametrize(("extra", "module"), [("workflow", "matplotlib"), ("workflow", "PIL"), ("workflow", "torchvision")])
def test_metadata_of_this_installation(monkeypatch, extra, module):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf'pip install "{machine.PACKAGES.get(module, module)}[<>=][^" ]+"$'):
        require(extra, module, what="This")
