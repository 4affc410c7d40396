"""Files of the configuration, what the command line changes of them, and the folders that they name."""

import re
from pathlib import Path

import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.replication.config.validation import as_in_yaml, check_files, check_folders, load_yaml, read_yaml
from convrfm.replication.plan.presets import load_settings

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"


def load(**changes):
    return load_settings({**yaml.safe_load((ROOT / "config.yaml").read_text()), **changes}, PRESETS)


def read_by_snakemake(text):
    """What Snakemake makes of a value behind `--config`."""
    return yaml.load(text, Loader=yaml.BaseLoader)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{fig06: {sigma: 2.0}}", {"fig06": {"sigma": 2.0}}),
        ("{costs: {most_minutes: 60, cpu: {by_thread: false}}}", {"costs": {"most_minutes": 60, "cpu": {"by_thread": False}}}),
        ("[0, 1]", [0, 1]),
        ("{fig09: {stop_below: 1.0e-5}}", {"fig09": {"stop_below": 1e-5}}),
        ("{fig09: {stop_below: 1e-5}}", {"fig09": {"stop_below": "1e-5"}}),
        ("{split: null, other: ''}", {"split": None, "other": ""}),
        (
            "{only: [3-8, 2020-01-01, 2020-13-01], size: native}",
            {"only": ["3-8", "2020-01-01", "2020-13-01"], "size": "native"},
        ),
        ("{mnist: ~, cifar10: ~/a, path: 'a: b: c'}", {"mnist": "~", "cifar10": "~/a", "path": "a: b: c"}),
        (f"[{'9' * 5000}]", ["9" * 5000]),
        ("true", True),
        ("~", "~"),
    ],
)
def test_values_of_the_command_line(text, found):
    read = as_in_yaml(read_by_snakemake(text))
    assert read == found
    assert repr(read) == repr(found)  # true is not 1


def test_typed_values_stay():
    assert as_in_yaml({"seeds": [0, 1], "threads": 2, "memory_mb": None}) == {"seeds": [0, 1], "threads": 2, "memory_mb": None}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": [True, False]}, "config.yaml: seeds.0: must be an integer, not True"),
        ({"seeds": ["0"]}, "config.yaml: seeds.0: must be an integer, not '0', which YAML reads as text; write 0"),
        ({"threads": True}, "config.yaml: threads: must be an integer, not True"),
        ({"assume_data": 1}, "config.yaml: assume_data: must be a boolean, not 1"),
        ({"overrides": {"beyond": {"seeds": [True]}}}, "config.yaml: overrides.beyond.seeds.0: must be an integer, not True"),
        ({"overrides": {"fig06": {"sigma": True}}}, "config.yaml: overrides.fig06.sigma: must be a number, not True"),
        ({"data_dir": "a{b}c"}, "config.yaml: data_dir: must have no braces, which Snakemake reads as wildcards, not 'a{b}c'"),
    ],
)
def test_what_is_wrong_is_said(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    assert sentence in str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml: line 3: duplicate key 'a', first in line 1: keep one of the two."),
        ("a:\n  - {x: 1, y: 2,\n     x: 3}\n", "f.yaml: line 3: duplicate key 'x', first in line 2: keep one of the two."),
        ("overrides: {a: 1}\n\noverrides: {}\n", "f.yaml: line 3: duplicate key 'overrides', first in line 1: keep one "),
        ("a: {'x': 1, \"x\": 2}", "f.yaml: line 1: duplicate key 'x', first in line 1: keep one of the two."),
        ("day: 2024-13-01", "f.yaml is not valid YAML: month must be in 1..12"),
        ("a: [", "f.yaml is not valid YAML: "),
        (b"a: 1\nb: \xe4\n", "f.yaml: line 2 is not UTF-8 text: save the file in this encoding."),
    ],
)
def test_files_that_cannot_be_read_as_meant(tmp_path, text, sentence):
    path = tmp_path / "f.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, "f.yaml")
    assert str(caught.value).startswith(sentence)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        check_files([path])


def test_keys_that_are_alike_elsewhere(tmp_path):
    text = "a: &b {x: 1}\nc: {<<: *b, x: 2}\nd: [{x: 1}, {x: 2}]\n1: 0\n'1': 0\n"
    assert load_yaml(text) == yaml.safe_load(text)
    (tmp_path / "f.json").write_text('{\n\t"a": 1\n}')
    check_files([tmp_path / "f.json", tmp_path / "gone.yaml"])  # which Snakemake speaks of


def test_no_file_of_the_project_has_a_key_twice():
    patterns = (
        "*.yaml",
        "*.cff",
        "workflow/presets/*",
        "profiles/*/*",
        "slurm/*.yaml",
        "src/convrfm/replication/claims/*.yaml",
    )
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert len(paths) > 8
    check_files(paths)


def test_folders(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mnist").mkdir()
    check_folders(str(tmp_path / "new" / "data"), {"mnist": str(tmp_path / "mnist")})
    with pytest.raises(ConfigError) as caught:
        check_folders(
            f"{tmp_path}/file/data", {"mnist": f"{tmp_path}/mnist", "usps": f"{tmp_path}/gone", "svhn": f"{tmp_path}/file"}
        )
    assert str(caught.value).splitlines() == [
        f"config.yaml: data_dir: {tmp_path}/file/data cannot be written, as {tmp_path}/file is a file: name another folder.",
        f"config.yaml: data_folders.usps: there is no folder {tmp_path}/gone: correct the path, or take usps out of data_folders.",
        f"config.yaml: data_folders.svhn: {tmp_path}/file is a file: name the folder that holds the data set.",
    ]
