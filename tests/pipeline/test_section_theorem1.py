"""The section of Theorem 1 in the presets."""

from pathlib import Path

import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.replication.plan.presets import load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"
SIZE = {"images": 4, "channels": 1, "height": 6, "width": 6, "patch_size": 3, "filters": 3}


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"draws": 0}, ["theorem1.draws: must", ", not 0", ">= 1"]),
        ({"learning_rate": -1.0}, ["theorem1.learning_rate: must", ", not -1.0", "> 0"]),
        ({"sizes": []}, ["theorem1.sizes: must", ", not []", "at least 1 item"]),
        ({"sizes": [{**SIZE, "patch_size": 6}]}, ["patch_size must be below height and width"]),
        (
            {"sizes": [{**SIZE, "filter": 3}]},
            ["unknown key 'overrides.theorem1.sizes.0.filter'", "did you mean 'filters'?"],
        ),
    ],
)
def test_what_is_wrong_is_said(changes, sentences):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    with pytest.raises(ConfigError) as caught:
        load_settings({**config, "overrides": {"theorem1": changes}}, PRESETS)
    for sentence in sentences:
        assert sentence in str(caught.value)
