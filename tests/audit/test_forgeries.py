"""Forgers who make all hashes fit: what finds them, by default and when everything is computed again."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workflow.conftest import ROOT

from audit import tiny
from audit.conftest import change
from audit.test_deviations import SHOWN
from audit.tiny import FIGURES, RESULTS, edit_arrays, edit_record, edit_table, inside, plan_of, rehash
from convrfm.replication.audit import replay as replaying
from convrfm.replication.audit.auditing import audit
from convrfm.replication.audit.outcome import Audit, Result
from convrfm.replication.figures.accuracies import ScoredRun
from convrfm.replication.record.record import read_record
from convrfm.system.storage import load_arrays, write_arrays, write_table

PAGE = ROOT / "docs/forgeries.md"

pytestmark = pytest.mark.forged

ROWS: dict[str, tuple[str, str]] = {}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    figures = ("fig01", "fig02", "fig04", "fig05", "fig12")
    return tiny.make_project(tmp_path_factory.mktemp("honest") / "project", figures, seeds=[0, 1])


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
    return audit(project, plan_of(project).settings, replaying.Choice(each), cores=1)[0]


def caught(found: Audit) -> str:
    """By what, in words; empty where nothing was found."""
    parts = [f"finding: {state}" for state in dict.fromkeys(finding.state for finding in found.findings)]
    wrong = [Path(each.name).parts[2:] for each in found.replays if each.result is Result.DIFFERENT]
    kinds = dict.fromkeys(f"figures/{parts[2]}" if parts[0] == "figures" else parts[1] for parts in wrong)
    return "; ".join([*parts, *([f"replay of {', '.join(kinds)}"] if kinds else [])])


# What forgers do to a run, by its folder, or to the files of a figure, by their path without a suffix.


def run_again(run: Path, change_inputs=lambda inputs: inputs, **settings) -> None:
    """Let the job of a run do its work on other inputs or with other settings, and say in its record that it did not."""
    project, record = run.parents[5], read_record(run / "record.json")
    with inside(project):
        tiny.make(plan_of(project), str((run / "record.json").relative_to(project)), change_inputs, **settings)
    edit_record(run, **{key: record[key] for key in ("settings", "inputs", "outputs", "code", "seed")})


def on_test_images(run: Path) -> None:
    path, draw = run.with_name("mixed.safetensors"), read_record(run / "record.json")["inputs"]["draw/0"]
    arrays = load_arrays(run.parents[5] / draw["path"])
    tests = {name.replace("test", "train"): array for name, array in arrays.items() if name.startswith("test/")}
    mixed = {name: np.concatenate([test, arrays[name][len(test) :]]) for name, test in tests.items() if name in arrays}
    write_arrays(path, {**arrays, **mixed})
    run_again(run, lambda inputs: {**inputs, "draw": [path]})
    path.unlink()


def outputs_of_a_fit(run: Path, first: int = 0) -> None:
    """The accuracies, and the answers for each test image that they are the means of, from a stage on."""
    edit_arrays(run, {f"correct/{stage}/*": np.ones_like for stage in range(first, 2)})
    edit_table(run, {"test_accuracy": lambda t: t["test_accuracy"].where(t["stage"] < first, 1.0)})


def a_draw_copied(run: Path) -> None:
    """One draw as two: the first seed has the images of the second."""
    other = run.with_name(run.name.replace("seed=0", "seed=1"))
    for name in ("arrays.safetensors", "metrics.parquet"):
        shutil.copy(other / name, run / name)


def a_table_with_its_csv(figure: Path) -> None:
    table = pd.read_parquet(figure.with_suffix(".parquet"))
    for form in (".parquet", ".csv"):
        write_table(figure.with_suffix(form), table.assign(value=table["value"] + 0.3))


def other_draws_in_a_record(run: Path) -> None:
    """What a run was made from under another name, and a draw that is none under the name that figures tell draws by."""
    inputs = {f"zz/{name}": described for name, described in read_record(run / "record.json")["inputs"].items()}
    edit_record(run, inputs={**inputs, "draw/0": {"path": "nowhere/state.json", "sha256": "b" * 64}})


# By what was forged: of which kind of run, or of Figure 5; what is done; and with what.

ALWAYS: dict[str, tuple] = {
    "another draw in the record of a fit": ("rfm", other_draws_in_a_record),
    "the same draw under two seeds": ("draw", a_draw_copied),
    "less noise in a draw": ("draw", edit_arrays, {"*frame": lambda array: array / 2}),
    "a draw of another seed, which suits better": ("draw", lambda run: run_again(run, seed=1234)),
    "test images of a preparation in another order": ("prepare", edit_arrays, {"test/images": lambda array: array[::-1]}),
    "the table of the pictures of layers": ("layers", edit_table, {"pearson": 0.99}),
    "accuracies of a fit alone": ("rfm", edit_table, {"test_accuracy": lambda t: (t["test_accuracy"] + 0.2).clip(None, 1)}),
    "the picture of a figure": ("fig05", lambda figure: shutil.copy(figure.with_name("fig12.png"), figure.with_suffix(".png"))),
    "numbers in a caption": ("fig05", lambda figure: change(figure.with_suffix(".md"), "0.", "9.")),
    "a figure's table, with its CSV": ("fig05", a_table_with_its_csv),
    "versions in a record": ("rfm", lambda run: edit_record(run, packages={"numpy": "1.0.0"})),
}
"""Found by default."""

SAMPLED: dict[str, tuple] = {
    "accuracies of a fit, with the answers that they are the means of": ("rfm", outputs_of_a_fit),
    "the same of later stages alone": ("rfm", outputs_of_a_fit, 1),
    "accuracy of the last epoch of a network": ("cnn", edit_table, {"test_accuracy": lambda t: [*t["test_accuracy"][:-1], 1]}),
    # Such as the best epoch, which captions quote.
    "what a record says beside its files": ("cnn", lambda run: edit_record(run, best_epoch=7)),
    "a network trained on test images and their labels": ("cnn", on_test_images),
    "a fit to test images and their labels": ("rfm", on_test_images),
    # What a training writes that went on from weights of another one.
    "a training that went on from a planted checkpoint": ("cnn", lambda run: run_again(run, seed=1234)),
    "nulls and gains of the ansatz": ("ansatz", edit_table, {"value": lambda t: t["value"] + 0.05}),
    "cores of the AGOP": ("ansatz", edit_arrays, {"*core": lambda array: array * 1.001}),
    "a metric of ConvRFM": ("features", edit_arrays, {"metric/1": lambda a: a[::-1, ::-1], "best": lambda a: a.T + 1}),
}
"""Found where the run is computed again."""


def forge(project: Path, what: str, **lies) -> None:
    """Do what a forger does, with lies about the machine, and make hashes and all that stands on it fit."""
    kind, forgery, *how = {**ALWAYS, **SAMPLED}[what]
    if kind == "fig05":
        forgery(project / FIGURES / kind)
        rehash(project, project / FIGURES / "fig05.json")
        return
    run = min((project / RESULTS / "runs" / kind / "published").iterdir())
    forgery(run, *how)
    rehash(project, run / "record.json", machine={**read_record(run / "record.json")["machine"], **lies})
    with pytest.MonkeyPatch.context() as patch:
        # By code that does not hold accuracies against the answers that they are the means of.
        patch.setattr(ScoredRun, "correct_at", lambda run, name, accuracy: run.correct.get(name))
        tiny.follow(project, run)


def test_honest_results_are_trusted(pristine):
    found = audited(pristine, None)
    assert found.trusted, (found.findings, [replay for replay in found.replays if replay.result is Result.DIFFERENT])
    assert {replay.result for replay in found.replays} == {Result.EQUAL}
    assert all(each.recomputed == each.runs and each.caught_tenth == 1 for each in found.coverage if each.runs)


@pytest.mark.parametrize("what", [*ALWAYS, *SAMPLED])
def test_found_by_default_or_where_it_is_computed_again(project, what):
    forge(project, what)
    by_default, by_all = audited(project, 0), audited(project, None)
    assert not by_all.trusted
    assert by_default.trusted == (what in SAMPLED)
    # Nothing but the run itself can tell of the others; what stands on it is honest work.
    assert what in ALWAYS or all(each.caught_one < 1 for each in by_default.coverage if each.runs)
    ROWS[what] = (caught(by_default) or "with probability k / m", caught(by_all))


COARSE = (
    "accuracies of a fit, with the answers that they are the means of", "the same of later stages alone",
    "accuracy of the last epoch of a network", "nulls and gains of the ansatz", "a fit to test images and their labels",
    "a metric of ConvRFM", "the table of the pictures of layers",
)  # fmt: skip


@pytest.mark.parametrize("what", COARSE)
@pytest.mark.parametrize("lie", [{"processor": "another"}, {"gpu": "a fast one"}])
def test_a_lie_about_the_machine_does_not_help(project, what, lie):
    """Tolerances are for the last digits, and what is no measured number has to be equal anywhere."""
    forge(project, what, **lie)
    assert not audited(project, None).trusted


def test_the_page_is_up_to_date():
    if len(ROWS) < len(ALWAYS) + len(SAMPLED):
        pytest.skip("the other tests of this module make its rows")
    # What `test_deviations.py` does to a checkout.
    shown = {what: (f"deviation: {found.partition(':')[0]}",) * 2 for what, (found, *_) in SHOWN.items()}
    head, line, _ = PAGE.read_text(encoding="utf-8").partition("|---|---|---|\n")
    text = head + line + "".join(f"| {what} | {' | '.join(row)} |\n" for what, row in (ROWS | shown).items())
    if os.environ.get("FORGERY_TABLE"):
        PAGE.write_text(text, encoding="utf-8")
    assert text == PAGE.read_text(encoding="utf-8")
