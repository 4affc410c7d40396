"""Miniatures of whole presets: the same figures, data sets and rules, on a few images, for one epoch."""

import io
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets.official import MAKERS
from datasets.packing import Made
from torchvision.models import get_model

from convrfm.datasets.registry import REGISTRY
from workflow.conftest import ROOT

__all__ = ["configuration", "miniature", "put_data"]

NETWORK = "alexnet-v1"
"""Of the zoo: weights of all 17 are 6 GB, and one goes through every rule."""

# The official archive of Caltech101 that the tests make has three test images.
SMALL: dict[str, Any] = {
    "n_train": 6, "n_test": 3, "epochs": 1, "seeds": 1, "width": 4, "filters": 4, "rounds": 2, "images": 2, "draws": 1,
    "batch_size": 4, "natural_images": 2, "control_draws": 2, "patch_sizes": [3], "width_divisor": 16, "milestones": [1],
    "snapshots": [], "stages": 1, "ridges": [1e-3], "stop_below": 0,
}  # fmt: skip
PAIRS = {"first_classes": 2, "n_train": 2, "n_test": 2}
# These are put where a preset leaves them at their defaults, which are large.
IMAGES = {"n_train": SMALL["n_train"], "n_test": SMALL["n_test"]}
RFM = {"rounds": 2, "stages": 1, "filters": 4, "ridges": [1e-3]}

FIXED = ("costs", "theorem1", "printed", "beyond", "first_layers")
"""Sections that are not shrunk key by key."""

PATCH = """
# From here on, a test of the whole workflow: its own small files have checksums of their own.
from dataclasses import replace as _replace
import json as _json
from pathlib import Path as _Path

_SUMS = _json.loads(_Path(__file__).with_name("sums.json").read_text())
REGISTRY = {
    name: _replace(
        entry,
        megabytes=entry.megabytes if entry.network else 1,
        remotes=tuple(_replace(r, checksum=_SUMS[name].get(r.path, r.checksum)) for r in entry.remotes),
        contents={path: _SUMS[name][path] for path in entry.contents},
    )
    if name in _SUMS
    else entry
    for name, entry in REGISTRY.items()
}
"""


def miniature(preset: str) -> dict[str, Any]:
    """The overrides that make a preset small; which data sets, tasks and figures there are stays as it is."""
    content = yaml.safe_load((ROOT / "workflow/presets" / f"{preset}.yaml").read_text())
    small = {name: _shrunk(section) for name, section in content.items() if name not in FIXED}
    small["theorem1"] = {"draws": 2, "sizes": content["theorem1"]["sizes"][:1]}
    # Sizes at which the authors printed numbers are not small.
    small["printed"] = {"runs": []}
    tasks = [{**task, "n_train": [6, 8], "n_test": 4, "rfm": RFM} for task in content["beyond"]["tasks"]]
    choices = {**content["beyond"]["choices"], "n_train": 8, "agop_samples": [1, 2]}
    small["beyond"] = {**content["beyond"], "in_all": True, "seeds": [0], "tasks": tasks, "choices": choices}
    small["first_layers"] = {**content["first_layers"], "in_all": True, "n_train": [6, 8], "rotations": 3}
    zoo = small["zoo"]
    zoo["weights"] = small["fig01"]["heat_maps"] = [NETWORK]
    zoo["measurement"] = {"images": 2, "mode": "probe", "probes": 2, "most_probes": 4, "batch_size": 2}
    for panel in small["fig05"]["panels"]:
        panel |= {"sigmas": sorted({1.0, small["fig04"]["sigma"]} & set(panel["sigmas"])), "rfm": RFM}
        panel["cnn"] |= {"width": 4}
    for task in small["fig06"]["datasets"]:
        task |= {"rfm": RFM, "cnn": {"width": 4, "epochs": 1}}
    for task in small["fig06"].get("pairs", []):
        task |= {**PAIRS, "rfm": RFM, "cnn": {"width": 4, "epochs": 1, "batch_size": 2}}
    for panel, whole in zip(small["fig08"]["panels"], content["fig08"]["panels"], strict=True):
        divisor = 16 * whole.get("width_divisor", 1)
        panel |= {"width_divisor": divisor, "training": {"epochs": 1, "batch_size": 4, "milestones": [1]}}
        panel["ansatz"] = {**panel["ansatz"], "epochs": [1], "probes": 2}
    for entry in small["fig09"]["datasets"]:
        entry |= IMAGES
    small["fig09"] |= {"width": 4, "epochs": 1, "patch_sizes": [3], "batch_size": 4}
    for task in small["features"]["tasks"]:
        task |= {"rounds": 2, "ridges": [1e-3], "network": {"width": 4, "epochs": 1, "batch_size": 4}}
    small["features"] |= {"natural_images": 2, "natural_size": 32, "images": 3, "control_draws": 2}
    small["fig02"] |= {"network": NETWORK, "images": 2, "control_draws": 2}
    small["fig04"] |= {"images": 3, "control_draws": 2}
    return small


def configuration(preset: str) -> dict[str, Any]:
    """What `config.yaml` says for a miniature."""
    return {"preset": preset, "protocol": "published", "seeds": [0], "overrides": miniature(preset)}


def _shrunk(section: Any) -> Any:
    if isinstance(section, list):
        return [_shrunk(part) for part in section]
    if not isinstance(section, dict):
        return section
    return {
        key: SMALL.get(key, _shrunk(value)) if not isinstance(value, dict) else _shrunk(value) for key, value in section.items()
    }


def _weights(network: str) -> bytes:
    """Random weights, in the format of the official file."""
    buffer = io.BytesIO()
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        torch.save(get_model(network, weights=None).state_dict(), buffer)
    return buffer.getvalue()


def put_data(project: Path, names: list[str]) -> None:
    """Put official archives, and weights, into the folder of the data, as by hand, and make their checksums known."""
    sums = {}
    for name in names:
        entry = REGISTRY[name]
        made = MAKERS[name]() if name in MAKERS else Made({entry.required[0]: _weights(entry.network)}, {}, 0)
        made.write(project / "data" / name)
        known = made.entry(name)
        sums[name] = {remote.path: remote.checksum for remote in known.remotes} | dict(known.contents)
    package = project / "src/convrfm/datasets"
    (package / "sums.json").write_text(json.dumps(sums))
    with (package / "registry.py").open("a") as file:
        file.write(PATCH)
