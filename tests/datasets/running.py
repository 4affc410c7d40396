"""From official files to arrays, through the code that the workflow runs."""

from dataclasses import asdict

import pandas as pd

from convrfm.datasets.acquire import acquire
from convrfm.datasets.places import Place
from convrfm.replication.jobs.images import prepare_images
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays, write_json
from datasets.official import MAKERS, publish


def prepare(tmp_path, name, **changes):
    """Run the job; gives its arrays, the table of classes and the record."""
    state = tmp_path / "state.json"
    given = {
        "dataset": name, "data_dir": str(tmp_path), "folders": {}, "digest": "", "protocol": "published", "pair": None,
        "appearance": {"size": 32, "fit": "stretch", "colour": "rgb", "scaling": "unit"}, "n_train": 4, "n_test": 3,
        "seed": 0, "resampled": False, **changes,
    }  # fmt: skip
    outputs = {k: tmp_path / "run" / f for k, f in (("metrics", "m.parquet"), ("arrays", "a.st"), ("record", "r.json"))}
    job = Job({"state": [state] if state.exists() else []}, outputs, given, 1, Recorder("x", "c", given))
    prepare_images(job)
    return load_arrays(outputs["arrays"]), pd.read_parquet(outputs["metrics"]), read_record(outputs["record"])


def present(tmp_path, name, monkeypatch):
    """Put the official archives where they would be downloaded to, and let them be unpacked and verified."""
    made = MAKERS[name]()
    publish(monkeypatch, made)
    home = tmp_path / name
    made.write(home)
    state = acquire(made.entry(name), Place(home))
    assert state.state == "present", state.reason
    write_json(tmp_path / "state.json", asdict(state))
    return made, state, home
