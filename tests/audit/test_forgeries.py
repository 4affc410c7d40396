"""Forgers who make all hashes fit: what finds them, by default and when everything is computed again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workflow.conftest import ROOT

from audit.test_deviations import SHOWN
from audit.tiny import do_job, follow, inside, make_project, plan_of, rehash, reseal, settings_of
from convrfm.replication.audit import replay as replaying
from convrfm.replication.audit.auditing import audit
from convrfm.replication.audit.outcome import Audit, Result
from convrfm.replication.audit.replay import Choice
from convrfm.replication.figures.accuracies import ScoredRun
from convrfm.replication.plan.plan import RUNS
from convrfm.replication.record.record import read_record
from convrfm.system.storage import load_arrays, write_arrays, write_bytes, write_table

RESULTS = Path("results/quick")
FIGURES = RESULTS / "figures/published"
PAGE = ROOT / "docs/forgeries.md"

pytestmark = pytest.mark.forged

ROWS: dict[str, tuple[str, str]] = {}

HEADER = """# Forgeries

<!-- Written by `make forgeries`; do not edit. -->

Each of these was done to the results of a tiny project, by a forger who is careful: every hash and every seal is made to fit, and
all that stands on the forged files is made again from them by the project's own jobs. "Found" names what the audit says: a
*finding* on the files, a *replay* that came out otherwise, or a *deviation*, which is shown and leaves the results trusted.
Where the default does not look, the runs of which a number is computed again are drawn, and one forged run among m is found
with probability k / m by `--replay k`.

| forgery | by default | with `--replay all` |
|---|---|---|
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    figures = ("fig01", "fig02", "fig04", "fig05", "fig12")
    return make_project(tmp_path_factory.mktemp("honest") / "project", figures, seeds=[0, 1])


@pytest.fixture
def project(honest, tmp_path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "project"))


@pytest.fixture(scope="module", autouse=True)
def in_this_process():
    """Without processes of their own, and what is the same as in another test is not computed again."""
    known: dict[str, replaying.Replayed] = {}

    def computed(tasks, cores):
        for task in tasks:
            with inside(Path(task.project)):
                known[task.key] = known.get(task.key) or replaying._replayed(task)
            yield task, known[task.key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_computed", computed)
        yield


def audited(project: Path, each: int | None) -> Audit:
    return audit(project, settings_of(project), Choice(each), cores=1)[0]


def caught(found: Audit) -> str:
    """By what, in words; empty where nothing was found."""
    parts = [f"finding: {state}" for state in dict.fromkeys(finding.state for finding in found.findings)]
    wrong = [Path(each.name).parts[2:] for each in found.replays if each.result is Result.DIFFERENT]
    kinds = dict.fromkeys(f"figures/{parts[2]}" if parts[0] == "figures" else parts[1] for parts in wrong)
    return "; ".join([*parts, *([f"replay of {', '.join(kinds)}"] if kinds else [])])


def a_run(project: Path, kind: str, containing: str = "") -> Path:
    return min(path for path in (project / RESULTS / "runs" / kind / "published").iterdir() if containing in path.name)


def edit_table(run: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    write_table(run / "metrics.parquet", change(pd.read_parquet(run / "metrics.parquet")))
    return run


def edit_arrays(run: Path, change: Callable[[str, np.ndarray], np.ndarray]) -> Path:
    arrays = load_arrays(run / "arrays.safetensors")
    write_arrays(run / "arrays.safetensors", {name: change(name, array).copy() for name, array in arrays.items()})
    return run


def edit_record(run: Path, **changes) -> Path:
    reseal(run / "record.json", {**read_record(run / "record.json"), **changes})
    return run


def run_again(project: Path, kind: str, change_inputs=lambda inputs: inputs, **settings) -> Path:
    """Let the job of a run do its work on other inputs or with other settings, and say in its record that it did not."""
    run = a_run(project, kind)
    keys = {"protocol": run.parent.name, **dict(part.split("=", 1) for part in run.name.split(","))}
    of, plan, record = RUNS[kind], plan_of(project), read_record(run / "record.json")
    with inside(project):
        inputs = {name: [Path(path) for path in files(plan, keys)] for name, files in of.inputs.items()}
        outputs = {path.stem: path for path in run.iterdir()}
        do_job(of.job, change_inputs(inputs), outputs, {**of.settings(plan, keys), **settings})
    kept = ("settings", "inputs", "outputs", "code", "seed")
    return edit_record(run, **{key: record[key] for key in kept})


def metrics_of_a_fit(project: Path) -> None:
    """The figures are drawn by code that does not hold the accuracies against the answers that they are the means of."""
    run = a_run(project, "rfm")
    edit_table(run, lambda table: table.assign(test_accuracy=np.minimum(table["test_accuracy"] + 0.2, 1.0)))
    rehash(project, run / "record.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScoredRun, "correct_at", lambda run, name, accuracy: run.correct.get(name))
        follow(project, run)


def outputs_of_a_fit(project: Path, first: int = 0) -> Path:
    """The accuracies, and the answers for each test image that they are the means of, from a stage on."""

    def perfect(name: str, array: np.ndarray) -> np.ndarray:
        forged = name.startswith("correct/") and int(name.split("/")[1]) >= first
        return np.ones_like(array) if forged else array

    run = edit_arrays(a_run(project, "rfm"), perfect)
    return edit_table(run, lambda t: t.assign(test_accuracy=t["test_accuracy"].where(t["stage"] < first, 1.0)))


def _on_test_images(project: Path, kind: str) -> Path:
    path = project / "mixed.safetensors"

    def with_test_images(inputs: dict) -> dict:
        arrays = load_arrays(inputs["draw"][0])
        pairs = {name: arrays.get(name.replace("train", "test")) for name in arrays if name.startswith("train/")}
        tests = {name: array for name, array in pairs.items() if array is not None}
        count = min(len(array) for array in tests.values())
        mixed = {name: np.concatenate([array[:count], arrays[name][count:]]) for name, array in tests.items()}
        write_arrays(path, {**arrays, **mixed})
        return {**inputs, "draw": [path]}

    run = run_again(project, kind, with_test_images)
    path.unlink()
    return run


def nulls_and_gains(project: Path) -> Path:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        numbers = [name for name in table if pd.api.types.is_float_dtype(table[name]) and table[name].notna().any()]
        return table.assign(**{numbers[-1]: table[numbers[-1]] + 0.05})

    return edit_table(a_run(project, "ansatz"), change)


def a_metric(project: Path) -> Path:
    forged = {"metric/1": lambda array: array[::-1, ::-1], "best": lambda array: array.T + 1}
    return edit_arrays(a_run(project, "features"), lambda name, array: forged.get(name, lambda array: array)(array))


def a_draw_copied(project: Path) -> Path:
    """One draw as two: the second seed has the images of the first."""
    one, two = a_run(project, "draw", "seed=0"), a_run(project, "draw", "seed=1")
    for name in ("arrays.safetensors", "metrics.parquet"):
        shutil.copy(one / name, two / name)
    return two


def a_picture(project: Path) -> None:
    shutil.copy(project / FIGURES / "fig12.png", project / FIGURES / "fig05.png")
    rehash(project, project / FIGURES / "fig05.json")


def numbers_in_a_caption(project: Path) -> None:
    text = (project / FIGURES / "fig05.md").read_text()
    write_bytes(project / FIGURES / "fig05.md", f"{text.replace('0.', '9.', 1)}\nThe CNN tests at 99.9 %.\n".encode())
    rehash(project, project / FIGURES / "fig05.json")


def a_table_with_its_csv(project: Path) -> None:
    table = pd.read_parquet(project / FIGURES / "fig05.parquet")
    for form in ("parquet", "csv"):
        write_table(project / FIGURES / f"fig05.{form}", table.assign(value=table["value"] + 0.3))
    rehash(project, project / FIGURES / "fig05.json")


def other_draws_in_a_record(project: Path) -> Path:
    """What a run was made from under another name, and a draw that is none under the name that figures tell draws by."""
    run = a_run(project, "rfm")
    inputs = {f"zz/{name}": described for name, described in read_record(run / "record.json")["inputs"].items()}
    return edit_record(run, inputs={**inputs, "draw/0": {"path": "nowhere/state.json", "sha256": "b" * 64}})


def notes_of_a_record(project: Path) -> Path:
    """What a record says beside its files, such as the best epoch, which captions quote."""
    run = a_run(project, "cnn")
    return edit_record(run, best_epoch=read_record(run / "record.json")["best_epoch"] + 1)


ALWAYS = {
    "another draw in the record of a fit": other_draws_in_a_record,
    "the same draw under two seeds": a_draw_copied,
    "less noise in a draw": lambda project: edit_arrays(
        a_run(project, "draw"), lambda name, array: array / 2 if name.endswith("frame") else array
    ),
    "a draw of another seed, which suits better": lambda project: run_again(project, "draw", seed=1234),
    "test images of a preparation in another order": lambda project: edit_arrays(
        a_run(project, "prepare"), lambda name, array: array[::-1] if name == "test/images" else array
    ),
    "the table of the pictures of layers": lambda project: edit_table(
        a_run(project, "layers"), lambda table: table.assign(pearson=0.99)
    ),
    "accuracies of a fit alone": metrics_of_a_fit,
    "the picture of a figure": a_picture,
    "numbers in a caption": numbers_in_a_caption,
    "a figure's table, with its CSV": a_table_with_its_csv,
    "versions in a record": lambda project: edit_record(a_run(project, "rfm"), packages={"numpy": "1.0.0"}),
}
"""Found by default."""

SAMPLED = {
    "accuracies of a fit, with the answers that they are the means of": outputs_of_a_fit,
    "the same of later stages alone": lambda project: outputs_of_a_fit(project, 1),
    "accuracy of the last epoch of a network": lambda project: edit_table(
        a_run(project, "cnn"), lambda table: table.assign(test_accuracy=[*table["test_accuracy"][:-1], 1.0])
    ),
    "what a record says beside its files": notes_of_a_record,
    "a network trained on test images and their labels": lambda project: _on_test_images(project, "cnn"),
    "a fit to test images and their labels": lambda project: _on_test_images(project, "rfm"),
    # What a training writes that went on from weights of another one.
    "a training that went on from a planted checkpoint": lambda project: run_again(project, "cnn", seed=1234),
    "nulls and gains of the ansatz": nulls_and_gains,
    "cores of the AGOP": lambda project: edit_arrays(
        a_run(project, "ansatz"), lambda name, array: array * 1.001 if name.endswith("core") else array
    ),
    "a metric of ConvRFM": a_metric,
}  # fmt: skip
"""Found where the run is computed again."""


def forge(project: Path, forgery: Callable[[Path], Path | None], **lies) -> None:
    run = forgery(project)
    if run is not None:
        rehash(project, run / "record.json", **lies)
        follow(project, run)


def test_honest_results_are_trusted(honest):
    found = audited(honest, None)
    assert found.trusted, (found.findings, [replay for replay in found.replays if replay.result is Result.DIFFERENT])
    assert {replay.result for replay in found.replays} == {Result.EQUAL}
    assert all(each.recomputed == each.runs and each.caught_tenth == 1 for each in found.coverage if each.runs)


@pytest.mark.parametrize("what", ALWAYS)
def test_found_by_default(project, what):
    forge(project, ALWAYS[what])
    by_default, by_all = audited(project, 0), audited(project, None)
    assert not by_default.trusted
    assert not by_all.trusted
    ROWS[what] = (caught(by_default), caught(by_all))


@pytest.mark.parametrize("what", SAMPLED)
def test_found_where_it_is_computed_again(project, what):
    forge(project, SAMPLED[what])
    by_default, by_all = audited(project, 0), audited(project, None)
    assert not by_all.trusted
    # Nothing but the run itself can tell; what stands on it is honest work.
    assert caught(by_default) == ""
    assert all(each.caught_one < 1 for each in by_default.coverage if each.runs)
    ROWS[what] = ("with probability k / m", caught(by_all))


COARSE = (
    "accuracies of a fit, with the answers that they are the means of", "the same of later stages alone",
    "accuracy of the last epoch of a network", "nulls and gains of the ansatz", "a fit to test images and their labels",
    "a metric of ConvRFM", "the table of the pictures of layers",
)  # fmt: skip


@pytest.mark.parametrize("what", COARSE)
@pytest.mark.parametrize("lie", [{"processor": "another"}, {"gpu": "a fast one"}])
def test_a_lie_about_the_machine_does_not_help(project, what, lie):
    """Tolerances are for the last digits, and what is no measured number has to be equal anywhere."""
    run = {**ALWAYS, **SAMPLED}[what](project)
    forge(project, lambda _: run, machine={**read_record(run / "record.json")["machine"], **lie})
    assert not audited(project, None).trusted


def test_the_page_is_up_to_date():
    if len(ROWS) < len(ALWAYS) + len(SAMPLED):
        pytest.skip("the other tests of this module make its rows")
    # What `test_deviations.py` does to a checkout.
    shown = {what: (f"deviation: {found.partition(':')[0]}",) * 2 for what, (found, *_) in SHOWN.items()}
    text = HEADER + "".join(f"| {what} | {' | '.join(row)} |\n" for what, row in (ROWS | shown).items())
    if os.environ.get("FORGERY_TABLE"):
        PAGE.write_text(text, encoding="utf-8")
    assert text == PAGE.read_text(encoding="utf-8")
