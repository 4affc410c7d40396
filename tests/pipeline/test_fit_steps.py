"""Fits in steps: the jobs of all steps, one after the other, give the bits of one job; and nothing of another fit gets in."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from convrfm.datasets.local_signal import noisy_bars
from convrfm.errors import ConvRFMWarning, StorageError
from convrfm.kernels import backends, cpu
from convrfm.replication.cluster.fits import fit_bytes
from convrfm.replication.jobs.fits import fill_gram, fit_round, fit_task
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job
from convrfm.rfm import rounds as rfm
from convrfm.system.storage import sha256, write_arrays

# The generator is used in each round, and between stages.
SETTINGS = {
    "task": "bars", "sigma": 1.0, "n_train": 70, "n_test": 24, "depth": 2, "patch_size": 3, "protocol": "corrected",
    "seed": 3, "backend": "cpu", "memory_mb": 100, "changes": {"agop_samples": 30},
    "rfm": {"rounds": 2, "stages": 2, "filters": 3, "ridges": [1e-5, 1e-3]},
}  # fmt: skip
STEPS = [(0, 0), (0, 1), (1, 0), (1, 1)]
PARTS = 3


@pytest.fixture(scope="module", autouse=True)
def small_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "gram_side", lambda *_: 16)
        yield


@pytest.fixture(scope="module")
def draw(tmp_path_factory):
    path = tmp_path_factory.mktemp("draw") / "arrays.safetensors"
    write_arrays(path, noisy_bars(70, 24, seed=3).arrays())
    return path


class InSteps:
    """A fit whose jobs are called one by one, as Snakemake would; files of steps lie in a folder of their own."""

    def __init__(self, folder: Path, draw: Path, **settings) -> None:
        self.folder, self.draw, self.settings, self.code = folder / "steps", draw, {**SETTINGS, **settings}, "c"
        self.run = folder / "run"

    def _job(self, inputs, outputs, **step) -> Job:
        given = {**self.settings, **({"step": step} if step else {})}
        return Job({"draw": [self.draw], **inputs}, outputs, given, 1, Recorder("x", self.code, given))

    def round(self, stage, t) -> Path:
        return self.folder / f"round-{stage}-{t}.safetensors"

    def parts(self, stage, t) -> list[Path]:
        return [
            self.folder / f"{stage}-{t}-{matrix}.part-{part}-of-{PARTS}.npz"
            for matrix in ("train", "test")
            for part in range(PARTS)
        ]

    def _before(self, stage, t) -> dict[str, list[Path]]:
        number = STEPS.index((stage, t))
        return {"rounds": [self.round(*step) for step in STEPS[max(number - 1, 0) : number]]}

    def fill(self, stage, t, part) -> None:
        train, test = self.parts(stage, t)[part], self.parts(stage, t)[PARTS + part]
        step = {"stage": stage, "round": t, "part": part, "parts": PARTS}
        fill_gram(self._job(self._before(stage, t), {"train": train, "test": test}, **step))

    def fit_round(self, stage, t) -> None:
        inputs = {**self._before(stage, t), "parts": self.parts(stage, t)}
        fit_round(self._job(inputs, {"round": self.round(stage, t)}, stage=stage, round=t))

    def until(self, steps) -> None:
        for step in steps:
            for part in (2, 0, 1):
                self.fill(*step, part)
            self.fit_round(*step)

    def finish(self, rounds=tuple(STEPS)) -> list[str]:
        """Write the outputs of the fit; gives their hashes."""
        outputs = {name: self.run / name for name in ("metrics", "arrays", "record")}
        outputs["metrics"] = self.run / "metrics.parquet"
        fit_task(self._job({"rounds": [self.round(*step) for step in rounds]}, outputs))
        return [sha256(outputs[name]) for name in ("metrics", "arrays")]


@pytest.fixture(scope="module")
def whole(draw, tmp_path_factory):
    """Hashes and record of the fit in one job."""
    fit = InSteps(tmp_path_factory.mktemp("whole"), draw)
    return fit.finish(rounds=()), read_record(fit.run / "record")


@pytest.fixture(scope="module")
def halfway(draw, tmp_path_factory):
    """A fit of which two steps are done, with the parts of the third."""
    fit = InSteps(tmp_path_factory.mktemp("halfway"), draw)
    fit.until(STEPS[:2])
    for part in range(PARTS):
        fit.fill(1, 0, part)
    return fit


@pytest.fixture
def begun(halfway, tmp_path):
    shutil.copytree(halfway.folder, tmp_path / "steps")
    return InSteps(tmp_path, halfway.draw)


def test_the_bits_are_those_of_one_job(draw, tmp_path, whole):
    fit = InSteps(tmp_path, draw)
    fit.until(STEPS)
    assert sorted(fit.folder.iterdir()) == sorted(
        [*(fit.round(*step) for step in STEPS), *(file for step in STEPS for file in fit.parts(*step))]
    )
    for file in fit.parts(0, 0):
        with zipfile.ZipFile(file) as archive:
            assert len(archive.namelist()) > 3  # each part has tiles, beside what it says of itself
    bits, record = whole
    assert fit.finish() == bits
    assert sorted(path.name for path in fit.run.iterdir()) == ["arrays", "metrics.parquet", "record"]
    found = read_record(fit.run / "record")
    assert found.pop("rounds") == {fit.round(*step).as_posix(): sha256(fit.round(*step)) for step in STEPS}
    assert found.keys() == record.keys()
    assert list(found["inputs"]) == ["draw/0"]
    for name in ("settings", "inputs", "rfm", "deep", "solves", "images_fitted"):
        assert found[name] == record[name]


def test_another_generator_would_be_seen(begun, whole):
    """Negative control: a round whose state of the generator has changed gives another fit."""
    from safetensors.numpy import save_file

    from convrfm.system.storage import digest_of, read_arrays

    header, arrays = read_arrays(begun.round(0, 1))
    content = json.loads(header["round"])
    content.pop("sha256")
    content["generator"]["state"]["state"] += 2
    text = json.dumps(content | {"sha256": digest_of(content, arrays)})
    save_file(arrays, begun.round(0, 1), {"round": text})
    begun.until(STEPS[2:])
    assert begun.finish() != whole[0]


def test_a_job_goes_on_where_it_was_interrupted(begun, monkeypatch):
    original, computed = cpu.gram_tile, []

    def failing(left, right, spec):
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(len(left))
        return original(left, right, spec)

    for file in begun.parts(1, 0):
        file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(cpu, "gram_tile", failing)
        with pytest.raises(KeyboardInterrupt):
            begun.fill(1, 0, 0)
    assert not begun.parts(1, 0)[0].exists()
    (scratch,) = begun.folder.glob("checkpoint-*")
    assert list(scratch.glob("*.partial"))
    again = []
    monkeypatch.setattr(cpu, "gram_tile", lambda *arguments: again.append(1) or original(*arguments))
    begun.fill(1, 0, 0)
    interrupted = len(again)
    again.clear()
    for file in begun.parts(1, 0):
        file.unlink(missing_ok=True)
    begun.fill(1, 0, 0)
    assert len(again) == interrupted + 3
    assert not list(begun.folder.glob("checkpoint-*"))


def test_a_round_that_fails_finds_its_parts_again(begun, whole, monkeypatch):
    """As where the solver runs out of memory: kernel matrices are there, and so are the parts, which Snakemake looks for."""

    def failing(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(rfm, "solve_ridge", failing)
        with pytest.raises(MemoryError):
            begun.fit_round(1, 0)
    assert all(file.exists() and not file.is_symlink() for file in begun.parts(1, 0))
    (scratch,) = begun.folder.glob("checkpoint-*")
    assert sorted(path.name for path in scratch.iterdir()) == ["1-0-test.npy", "1-0-train.npy"]
    monkeypatch.setattr("convrfm.kernels.gram_file.compute_tiles", failing)
    begun.fit_round(1, 0)  # no tile was computed
    assert not list(begun.folder.glob("checkpoint-*"))
    monkeypatch.undo()
    begun.until(STEPS[3:])
    assert begun.finish() == whole[0]


def test_what_an_earlier_version_has_left_is_in_nobodys_way(begun, whole, monkeypatch):
    begun.code = "earlier"
    with monkeypatch.context() as patch:
        patch.setattr(cpu, "gram_tile", lambda *_: 1 / 0)
        for name in ("round-0-0", "round-0-1"):
            (begun.folder / f"{name}.safetensors").unlink()
        with pytest.raises(ZeroDivisionError):
            begun.fill(0, 0, 1)
    assert list(begun.folder.glob("checkpoint-*"))
    begun.code = "c"
    begun.until(STEPS)
    assert not list(begun.folder.glob("checkpoint-*"))
    assert begun.finish() == whole[0]


def test_a_damaged_part_costs_its_tiles(begun, whole):
    file = begun.parts(1, 0)[1]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.warns(ConvRFMWarning, match="part-1-of-3.npz is damaged"):
        begun.fit_round(1, 0)
    begun.until(STEPS[3:])
    assert begun.finish() == whole[0]


def test_parts_of_another_round_are_refused(begun):
    shutil.copy(begun.parts(0, 1)[0], begun.parts(1, 0)[0])
    with pytest.raises(StorageError, match="belongs to another kernel matrix"):
        begun.fit_round(1, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda fit: setattr(fit, "code", "other"),
        lambda fit: fit.settings.update(sigma=2.0),
        lambda fit: fit.settings["rfm"].update(ridges=[1e-3]),
    ],
    ids=["code", "noise", "ridges"],
)
def test_rounds_of_another_fit_are_refused(begun, change):
    begun.settings["rfm"] = dict(SETTINGS["rfm"])
    change(begun)
    with pytest.raises(StorageError, match=r"round-0-0\.safetensors belongs to another fit"):
        begun.fill(1, 0, 0)
    assert not begun.run.exists()


def test_a_round_that_is_missing_or_damaged_is_not_fitted_again_by_other_jobs(begun):
    path = begun.round(0, 0)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    sentence = r"round-0-0\.safetensors is missing or damaged: delete it, and call Snakemake again"
    for job in (lambda: begun.fill(1, 0, 0), lambda: begun.fit_round(1, 0), lambda: begun.finish(STEPS[:3])):
        with pytest.raises(StorageError, match=sentence):
            job()
    path.unlink()
    with pytest.raises(StorageError, match=sentence):
        begun.fill(1, 0, 0)
    assert not begun.run.exists()


def test_filling_does_not_depend_on_what_is_free(begun, monkeypatch):
    """The side of the tiles would, and parts of different sides do not fit together."""
    begun.settings["memory_mb"] = None
    seen = []
    monkeypatch.setattr(cpu, "gram_side", lambda _prepared, _spec, memory: seen.append(memory) or 16)
    for free in (2**28, 2**40):
        monkeypatch.setattr(backends, "free_bytes", lambda free=free: free)
        fit = InSteps(begun.folder.parent / str(free), begun.draw, memory_mb=None)
        fit.fill(0, 0, 0)
    assert seen == [backends.LARGEST_DEFAULT] * 4


def test_filling_takes_less_memory_than_fitting():
    given = {**SETTINGS, "memory_mb": None, "rfm": {**SETTINGS["rfm"], "filters": 64}}
    filling, fitting = (
        fit_bytes(given, 20000, 10000, (1, 42, 42), filling=filling) for filling in (True, False)
    )  # fmt: skip
    images = 30000 * 64 * 40 * 40 * 4  # in the features of the second stage
    # They stay with the fit, and prepared for the kernels, which hold a copy.
    assert 2 * images < filling < 2.5 * images
    assert fitting > filling + 24 * 20000**2 * 0.5
