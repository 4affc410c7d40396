"""Files that the system does not let be read, and files of ours that are damaged: sentences with their names."""

import json
from pathlib import Path

import pytest

from convrfm.datasets import manifest, places
from convrfm.datasets.acquire import acquire, examine
from convrfm.datasets.manifest import read_manifest, verify
from convrfm.datasets.places import Place, fingerprint
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import CorruptDataError, StorageError
from convrfm.replication.jobs import datasets as job_module
from convrfm.replication.record.data_states import due_attempt, require_present
from convrfm.replication.record.record import Recorder
from convrfm.replication.record.session import Job
from datasets.official import MAKERS
from datasets.test_contents import put


@pytest.fixture
def forbid(monkeypatch):
    """Let nothing below a folder or file be opened, listed or asked about; root could read all of it otherwise."""

    def install(forbidden):
        def guard(function):
            def guarded(path, *arguments, **options):
                if Path(path).is_relative_to(forbidden):
                    raise PermissionError(13, "Permission denied", str(path))
                return function(path, *arguments, **options)

            return guarded

        monkeypatch.setattr(manifest, "open_plain", guard(manifest.open_plain))
        monkeypatch.setattr(places, "open_plain", guard(places.open_plain))
        monkeypatch.setattr(places.os, "scandir", guard(places.os.scandir))
        monkeypatch.setattr(Path, "is_file", guard(Path.is_file))

    return install


@pytest.mark.parametrize(
    ("name", "forbidden"),
    [
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("cifar10", "cifar-10-batches-py"),
        ("gtsrb", "gtsrb/GTSRB/Training"),
        ("gtsrb", "gtsrb/GTSRB/Training/00001"),
        ("gtsrb", "gtsrb/GTSRB/Final_Test/Images/00003.ppm"),
    ],
)
def test_what_may_not_be_read_is_named(tmp_path, forbid, name, forbidden):
    entry = put(MAKERS[name](), tmp_path / "given", name)
    place = Place(tmp_path / "home", tmp_path / "given")
    assert fingerprint(entry, place)
    forbid(tmp_path / "given" / forbidden)
    for check in (examine, acquire):
        state = check(entry, place)
        assert state.state == "corrupt"
        assert f"{tmp_path / 'given' / forbidden}" in state.reason
        assert "cannot be read: Permission denied." in state.reason
        assert "elete" not in state.remedy
    if (tmp_path / "given" / forbidden).suffix or forbidden.endswith("_1"):
        with pytest.raises(CorruptDataError, match=r"cannot be read: Permission denied\. Make "):
            verify(entry, place, [forbidden])


def test_what_is_no_file_is_named(tmp_path):
    entry, place = put(MAKERS["gtsrb"](), tmp_path, "gtsrb"), Place(tmp_path)
    with pytest.raises(CorruptDataError, match=r"gtsrb/GTSRB/Training cannot be read: It is a folder, not a plain file\."):
        verify(entry, place, ["gtsrb/GTSRB/Training"])


def test_a_plan_goes_on_where_folders_may_not_be_read(tmp_path, forbid):
    entry = REGISTRY["gtsrb"]
    put(MAKERS["gtsrb"](), tmp_path / "given", "gtsrb")
    forbid(tmp_path / "given")
    assert fingerprint(entry, Place(tmp_path / "home", tmp_path / "given")) == ""


def test_one_data_set_that_cannot_be_recorded_ends_no_table(tmp_path, monkeypatch, capsys):
    def refuse(entry, place):
        if entry.name == "usps":
            msg = f"{place.home} cannot be written: the file system is read-only."
            raise StorageError(msg)
        return examine(entry, place)

    monkeypatch.setattr(job_module, "examine", refuse)
    settings = {"data_dir": str(tmp_path), "folders": {}}
    job_module.print_states(Job({}, {}, settings, 1, Recorder("x", "c", settings)))
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in printed.splitlines() if line[:1].isalpha()}
    assert " unchecked " in lines["usps"]
    assert " absent " in lines["mnist"]
    assert f"USPS is not checked: {tmp_path / 'usps'} cannot be written" in printed


BROKEN = ["", "[]", "null", "{}", "{", '{"state": "present"}', '{"state": "absent", "attempt": 1}']


@pytest.mark.parametrize("text", BROKEN)
def test_a_damaged_state_is_named(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text)
    for read in (lambda: due_attempt("mnist", Place(tmp_path)), lambda: require_present(path)):
        with pytest.raises(CorruptDataError, match=rf"{path} is damaged \(.*\): delete it, and it is written again"):
            read()


def test_a_state_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    for method in ("read_text", "exists"):
        monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(CorruptDataError, match=rf"{tmp_path / 'state.json'} cannot be read: Permission denied\. Make "):
        due_attempt("mnist", Place(tmp_path))


MANIFESTS = [
    "", "[]", "{}", "null", '{"files": {}}', '{"files": [], "complete": true, "splits": {}}',
    '{"files": {"a": {}}, "complete": false, "splits": {}}', '{"files": {"a": "x"}, "complete": false, "splits": {}}',
    '{"files": {}, "complete": true, "splits": {}}', '{"files": {}, "complete": false, "splits": []}',
]  # fmt: skip


@pytest.mark.parametrize("text", MANIFESTS)
def test_a_damaged_manifest_is_named(tmp_path, text):
    entry = put(MAKERS["cifar10"](), tmp_path / "given", "cifar10")
    (tmp_path / "home").mkdir()
    path = tmp_path / "home/manifest.json"
    path.write_text(text)
    place = Place(tmp_path / "home", tmp_path / "given")
    state = job_module._with_command(examine(entry, place), entry, place)
    assert (state.state, f"{path} is damaged" in state.reason) == ("corrupt", True)
    assert state.remedy == "Restore it, or delete it to have the files recorded again."
    with pytest.raises(CorruptDataError, match="is damaged"):
        read_manifest(tmp_path / "home")
    # The control: a good one.
    path.unlink()
    assert examine(entry, place).state == "present"
    assert json.loads(path.read_text())["complete"]
