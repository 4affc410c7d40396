"""The miniatures are valid settings, and leave out no part of their presets; that they are built is another test, of minutes."""

import pytest
import yaml

from convrfm.replication.plan.presets import load_settings
from workflow.conftest import ROOT
from workflow.presets.miniature import configuration

PRESETS = ROOT / "workflow/presets"


def parts(section, found=()):
    """What is named in a section: keys, and data sets and tasks of its lists."""
    if isinstance(section, dict):
        for key, value in section.items():
            yield from parts(value, (*found, key))
    elif isinstance(section, list) and section and isinstance(section[0], dict):
        for entry in section:
            yield from parts(entry, (*found, entry.get("dataset") or entry.get("task") or entry.get("name")))
    else:
        yield found


@pytest.mark.parametrize("preset", ["workstation", "paper"])
def test_a_miniature_is_valid_and_leaves_nothing_out(preset):
    config = configuration(preset)
    load_settings(config, PRESETS)
    whole = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text())
    whole.pop("costs", None)
    # How precise the measurement has to be depends on its size.
    assert set(parts(whole)) - set(parts(config["overrides"])) <= {("zoo", "measurement", "tolerance")}


@pytest.mark.parametrize("preset", ["workstation", "paper"])
def test_no_section_keeps_its_size(preset):
    """Every number of images, rounds or epochs that the settings end up with is small."""
    settings = load_settings(configuration(preset), PRESETS).preset.model_dump()
    settings.pop("costs")
    sizes = {"n_train", "n_test", "rounds", "epochs", "width", "images"}
    large = {found: value for found, value in numbers(settings) if found[-1] in sizes and value > 16}
    assert large == {}


def numbers(section, found=()):
    if isinstance(section, dict):
        for key, value in section.items():
            yield from numbers(value, (*found, key))
    elif isinstance(section, list):
        for place, value in enumerate(section):
            yield from numbers(value, (*found, place) if isinstance(value, dict) else found)
    elif isinstance(section, int):
        yield found, section
