"""Forgers who make all hashes fit: what finds them, by default and when everything is computed again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audit import forgeries
from audit.test_deviations import BARS, found_in, put_run
from audit.tiny import follow, inside, make_project, one_thread, plan_of, rehash, reseal, settings_of
from convrfm.replication.audit import replay as replaying
from convrfm.replication.audit.auditing import audit
from convrfm.replication.audit.outcome import Audit, Result
from convrfm.replication.audit.replay import Choice
from convrfm.replication.figures.accuracies import ScoredRun
from convrfm.replication.plan.table import RUNS
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job, load_job
from convrfm.system.storage import load_arrays, write_arrays, write_bytes, write_table

FIGURES = ("fig01", "fig02", "fig04", "fig05", "fig12")
RESULTS = Path("results/quick")
PAGE = Path(__file__).parents[2] / "docs" / "forgeries.md"

pytestmark = pytest.mark.forged

ROWS: dict[str, tuple[str, str]] = {}


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("honest") / "project", FIGURES, seeds=[0, 1])


@pytest.fixture
def project(honest, tmp_path) -> Path:
    shutil.copytree(honest, tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(scope="module", autouse=True)
def in_this_process():
    """Without processes of their own, and what is the same as in another test is not computed again."""
    known: dict[str, replaying.Replayed] = {}

    def computed(tasks, cores):
        with one_thread():
            for task in tasks:
                before = Path.cwd()
                known[task.key] = known.get(task.key) or replaying._replayed(task)
                os.chdir(before)
                yield task, known[task.key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_computed", computed)
        yield


def audited(project: Path, choice: Choice) -> Audit:
    return audit(project, settings_of(project), choice, cores=1)[0]


def caught(found: Audit) -> str:
    """By what, in words; empty where nothing was found."""
    parts = [f"finding: {state}" for state in dict.fromkeys(finding.state for finding in found.findings)]
    wrong = [replay.name.removeprefix(f"{RESULTS}/") for replay in found.replays if replay.result is Result.DIFFERENT]
    kinds = dict.fromkeys(
        "/".join(name.split("/")[::2][:2]) if "figures" in name else name.split("/")[1] for name in wrong
    )
    return "; ".join([*parts, *([f"replay of {', '.join(kinds)}"] if wrong else [])])


def a_run(project: Path, experiment: str, containing: str = "") -> Path:
    return min(
        path for path in (project / RESULTS / "runs" / experiment / "published").iterdir() if containing in path.name
    )


def edit_table(run: Path, change: Callable[[pd.DataFrame], None]) -> None:
    table = pd.read_parquet(run / "metrics.parquet")
    change(table)
    write_table(run / "metrics.parquet", table)


def edit_arrays(run: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    arrays = load_arrays(run / "arrays.safetensors")
    change(arrays)
    write_arrays(run / "arrays.safetensors", arrays)


def run_again(project: Path, run: Path, change_inputs: Callable[[dict], dict], **settings) -> None:
    """Let the job of a run do its work on other inputs or with other settings, and say in its record that it did not."""
    keys = {"protocol": run.parent.name, **dict(part.split("=", 1) for part in run.name.split(","))}
    of, plan, record = RUNS[run.parent.parent.name], plan_of(project), read_record(run / "record.json")
    with inside(project), one_thread():
        inputs = {name: [Path(path) for path in files(plan, keys)] for name, files in of.inputs.items()}
        outputs = {name: run / path.name for name, path in ((p.stem, p) for p in run.iterdir())}
        given = {**of.settings(plan, keys), **settings}
        load_job(of.job)(
            Job(change_inputs(inputs), outputs, given, 1, Recorder(of.job, record["code"]["closure"], given))
        )
    made = read_record(run / "record.json")
    notes = {key: value for key, value in made.items() if key not in ("settings", "inputs", "outputs", "code")}
    kept = {key: record[key] for key in ("settings", "inputs", "outputs", "code")}
    reseal(run / "record.json", {**notes, **kept, "seed": record["seed"]})


def metrics_of_a_fit(project: Path) -> None:
    """The figures are drawn by code that does not hold the accuracies against the answers that they are the means of."""
    run = a_run(project, "rfm")
    edit_table(run, lambda table: table.__setitem__("test_accuracy", np.minimum(table["test_accuracy"] + 0.2, 1.0)))
    rehash(project, run / "record.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScoredRun, "correct_at", lambda run, name, accuracy: run.correct.get(name))
        follow(project, run)


def outputs_of_a_fit(project: Path, first: int = 0) -> Path:
    """The accuracies, and the answers for each test image that they are the means of, from a stage on."""
    run = a_run(project, "rfm")
    edit_table(
        run, lambda table: table.__setitem__("test_accuracy", table["test_accuracy"].where(table["stage"] < first, 1.0))
    )

    def change(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.startswith("correct/") and int(name.split("/")[1]) >= first]:
            arrays[name] = np.ones_like(arrays[name])

    edit_arrays(run, change)
    return run


def deep_stages(project: Path) -> Path:
    return outputs_of_a_fit(project, 1)


def best_epoch(project: Path) -> Path:
    run = a_run(project, "cnn")
    edit_table(run, lambda table: table.loc.__setitem__((table.index[-1], "test_accuracy"), 1.0))
    return run


def _on_test_images(project: Path, kind: str) -> Path:
    def with_test_images(inputs: dict) -> dict:
        arrays = load_arrays(inputs["draw"][0])
        tests = {name: arrays[name.replace("train", "test")] for name in arrays if name.startswith("train/")
                 and name.replace("train", "test") in arrays}  # fmt: skip
        count = min(len(array) for array in tests.values())
        mixed = {name: np.concatenate([array[:count], arrays[name][count:]]) for name, array in tests.items()}
        path = project / "mixed.safetensors"
        write_arrays(path, {**arrays, **mixed})
        return {**inputs, "draw": [path]}

    run = a_run(project, kind)
    run_again(project, run, with_test_images)
    (project / "mixed.safetensors").unlink()
    return run


def a_network_trained_on_test_images(project: Path) -> Path:
    return _on_test_images(project, "cnn")


def a_fit_to_test_images(project: Path) -> Path:
    return _on_test_images(project, "rfm")


def _of_another_seed(project: Path, kind: str) -> Path:
    run = a_run(project, kind)
    run_again(project, run, lambda inputs: inputs, seed=1234)
    return run


def a_planted_checkpoint(project: Path) -> Path:
    """What a training writes that went on from weights of another one."""
    return _of_another_seed(project, "cnn")


def layer_tables(project: Path) -> Path:
    run = a_run(project, "layers")
    edit_table(run, lambda table: table.__setitem__("pearson", 0.99))
    return run


def nulls_and_gains(project: Path) -> Path:
    run = a_run(project, "ansatz")

    def change(table: pd.DataFrame) -> None:
        numbers = [name for name in table if pd.api.types.is_float_dtype(table[name]) and table[name].notna().any()]
        table[numbers[-1]] += 0.05

    edit_table(run, change)
    return run


def cores_of_the_agop(project: Path) -> Path:
    run = a_run(project, "ansatz")

    def change(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.endswith("core")]:
            arrays[name] = arrays[name] * 1.001

    edit_arrays(run, change)
    return run


def a_metric(project: Path) -> Path:
    run = a_run(project, "features")
    edit_arrays(
        run,
        lambda arrays: arrays.update({"metric/1": arrays["metric/1"][::-1, ::-1].copy(), "best": arrays["best"].T + 1}),
    )
    return run


def a_draw_copied(project: Path) -> Path:
    """One draw as two: the second seed has the images of the first."""
    one, two = a_run(project, "draw", "seed=0"), a_run(project, "draw", "seed=1")
    for name in ("arrays.safetensors", "metrics.parquet"):
        shutil.copy(one / name, two / name)
    return two


def a_quieter_draw(project: Path) -> Path:
    run = a_run(project, "draw")

    def change(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.endswith("frame")]:
            arrays[name] = arrays[name] / 2

    edit_arrays(run, change)
    return run


def a_seed_that_suits(project: Path) -> Path:
    return _of_another_seed(project, "draw")


def a_preparation(project: Path) -> Path:
    run = a_run(project, "prepare")
    edit_arrays(run, lambda arrays: arrays.update({"test/images": arrays["test/images"][::-1].copy()}))
    return run


def a_picture(project: Path) -> None:
    figure = project / RESULTS / "figures/published"
    write_bytes(figure / "fig05.png", (figure / "fig12.png").read_bytes())
    rehash(project, figure / "fig05.json")


def numbers_in_a_caption(project: Path) -> None:
    figure = project / RESULTS / "figures/published"
    text = (figure / "fig05.md").read_text()
    write_bytes(figure / "fig05.md", text.replace("0.", "9.", 1).encode() + b"\nThe CNN tests at 99.9 %.\n")
    rehash(project, figure / "fig05.json")


def a_table_with_its_csv(project: Path) -> None:
    figure = project / RESULTS / "figures/published"
    table = pd.read_parquet(figure / "fig05.parquet")
    column = "accuracy" if "accuracy" in table else "value"
    table[column] = table[column] + 0.3
    write_table(figure / "fig05.parquet", table)
    write_table(figure / "fig05.csv", table)
    rehash(project, figure / "fig05.json")


def notes_of_a_record(project: Path) -> Path:
    """What a record says beside its files, such as the best epoch, which captions quote."""
    run = a_run(project, "cnn")
    record = read_record(run / "record.json")
    reseal(run / "record.json", {**record, "best_epoch": record["best_epoch"] + 1})
    return run


def versions(project: Path) -> Path:
    run = a_run(project, "rfm")
    record = read_record(run / "record.json")
    reseal(run / "record.json", {**record, "packages": {**record["packages"], "numpy": "1.0.0"}})
    return run


def other_draws_in_a_record(project: Path) -> Path:
    """What a run was made from under another name, and a draw that is none under the name that figures tell draws by."""
    run = a_run(project, "rfm")
    record = read_record(run / "record.json")
    inputs = {f"zz/{name}": described for name, described in record["inputs"].items()}
    inputs["draw/0"] = {"path": "nowhere/state.json", "sha256": "b" * 64}
    reseal(run / "record.json", {**record, "inputs": inputs})
    return run


ALWAYS = {
    "another draw in the record of a fit": other_draws_in_a_record,
    "the same draw under two seeds": a_draw_copied,
    "less noise in a draw": a_quieter_draw,
    "a draw of another seed, which suits better": a_seed_that_suits,
    "test images of a preparation in another order": a_preparation,
    "the table of the pictures of layers": layer_tables,
    "accuracies of a fit alone": metrics_of_a_fit,
    "the picture of a figure": a_picture,
    "numbers in a caption": numbers_in_a_caption,
    "a figure's table, with its CSV": a_table_with_its_csv,
    "versions in a record": versions,
}
"""Found by default."""

SAMPLED = {
    "accuracies of a fit, with the answers that they are the means of": outputs_of_a_fit,
    "the same of later stages alone": deep_stages,
    "accuracy of the last epoch of a network": best_epoch,
    "what a record says beside its files": notes_of_a_record,
    "a network trained on test images and their labels": a_network_trained_on_test_images,
    "a fit to test images and their labels": a_fit_to_test_images,
    "a training that went on from a planted checkpoint": a_planted_checkpoint,
    "nulls and gains of the ansatz": nulls_and_gains,
    "cores of the AGOP": cores_of_the_agop,
    "a metric of ConvRFM": a_metric,
}
"""Found where the run is computed again."""


def _other_claims(checkout: Path) -> None:
    path = checkout / "src/convrfm/replication/claims.yaml"
    path.write_text(path.read_text().replace("bound: 5.0", "bound: 0.5"))


def _other_lock(checkout: Path) -> None:
    path = checkout / "envs/lock.txt"
    path.write_text(path.read_text().replace("\ntorch==", "\ntorch==9"))


def _other_preset(checkout: Path) -> None:
    path = checkout / "workflow/presets/quick.yaml"
    path.write_text(path.read_text().replace("width_divisor: 8", "width_divisor: 2"))


SHOWN: dict[str, tuple[str, Callable[[Path], object], dict]] = {
    "fewer seeds, or those that suit": ("seeds", lambda _: None, {"seeds": [5]}),
    "overrides of the configuration": ("configuration", lambda _: None, {"overrides": {"theorem1": {"draws": 3}}}),
    "another preset under the same name": ("preset", _other_preset, {}),
    "lower thresholds of claims": ("claims", _other_claims, {}),
    "another judge": ("claims", lambda c: (c / "src/convrfm/judges/cost.py").write_text("a = 2\n"), {}),
    "another lock": ("lock", _other_lock, {}),
    "other code, all results made by it": ("code", lambda c: (c / "src/convrfm/rfm/rounds.py").write_text("a = 2\n"), {}),
    "results made by code that was not committed": ("code", lambda c: put_run(c, code={"dirty": True}), {}),
    "jobs that continued from checkpoints": ("resumed", lambda c: put_run(c, resumed_from=["checkpoint-0"]), {}),
    "one draw under several seeds, as the code makes it": (
        "equal draws", lambda c: [put_run(c, f"{BARS}{seed}", arrays="a" * 64) for seed in range(3)], {},
    ),
}  # fmt: skip
"""No forgeries where the code, the settings and the results agree: shown as deviations from the release."""


def forge(project: Path, forgery: Callable[[Path], Path | None]) -> None:
    run = forgery(project)
    if run is not None:
        rehash(project, run / "record.json")
        follow(project, run)


def test_honest_results_are_trusted(honest):
    found = audited(honest, Choice(None))
    assert found.trusted, (found.findings, [replay for replay in found.replays if replay.result is Result.DIFFERENT])
    assert {replay.result for replay in found.replays} == {Result.EQUAL}
    assert all(each.recomputed == each.runs and each.caught_tenth == 1 for each in found.coverage if each.runs)


@pytest.mark.parametrize("what", ALWAYS)
def test_found_by_default(project, what):
    forge(project, ALWAYS[what])
    by_default, by_all = audited(project, Choice()), audited(project, Choice(None))
    assert not by_default.trusted
    assert not by_all.trusted
    ROWS[what] = (caught(by_default), caught(by_all))


@pytest.mark.parametrize("what", SAMPLED)
def test_found_where_it_is_computed_again(project, what):
    forge(project, SAMPLED[what])
    assert not audited(project, Choice(None)).trusted
    by_default = audited(project, Choice())
    shown = caught(by_default)
    # Nothing but the run itself can tell; what stands on it is honest work.
    assert shown == ""
    assert all(each.caught_one < 1 for each in by_default.coverage if each.runs)
    ROWS[what] = ("with probability k / m", caught(audited(project, Choice(None))))


@pytest.mark.parametrize(
    "forgery",
    [outputs_of_a_fit, deep_stages, best_epoch, nulls_and_gains, a_fit_to_test_images, a_metric, layer_tables],
)
@pytest.mark.parametrize("lie", [{"processor": "another"}, {"gpu": "a fast one"}])
def test_a_lie_about_the_machine_does_not_help(project, forgery, lie):
    """Tolerances are for the last digits, and what is no measured number has to be equal anywhere."""
    run = forgery(project)
    rehash(project, run / "record.json")
    record = read_record(run / "record.json")
    reseal(run / "record.json", {**record, "machine": {**record["machine"], **lie}})
    follow(project, run)
    assert not audited(project, Choice(None)).trusted


@pytest.mark.parametrize("what", SHOWN)
def test_shown_as_a_deviation(checkout, what):
    kind, change, config = SHOWN[what]
    change(checkout)
    (found,) = found_in(checkout, **config)
    assert found.startswith(f"{kind}: ")
    ROWS[what] = (f"deviation: {kind}",) * 2


def test_the_page_is_up_to_date():
    if len(ROWS) < len(ALWAYS) + len(SAMPLED) + len(SHOWN):
        pytest.skip("the other tests of this module make its rows")
    text = forgeries.table(ROWS)
    if os.environ.get("FORGERY_TABLE"):
        PAGE.write_text(text, encoding="utf-8")
    assert text == PAGE.read_text(encoding="utf-8")
