"""Deviations from the release: each is shown where it is, and none where there is none."""

import shutil
from pathlib import Path

import pytest
import yaml

from audit.conftest import CLAIMS, JUDGE, change, commit, git
from audit.tiny import RESULTS, RUN, reseal
from convrfm.replication.audit import changes
from convrfm.replication.audit.records import find_products
from convrfm.replication.plan.presets import load_settings

ROUNDS, PRESET, LOCK = "src/convrfm/rfm/rounds.py", "workflow/presets/quick.yaml", "envs/lock.txt"
CONFIG = "config.yaml"
OF_ONE = "1 of the runs and figures, rfm/published/task=bars,sigma=2,seed=0"


def found_in(project, **config):
    """Deviations of a project, as "what: found"."""
    content = {**yaml.safe_load((project / CONFIG).read_text()), **config}
    found = changes.deviations(project, load_settings(content, project / "workflow/presets"), find_products(project, RESULTS))
    return [f"{each.what}: {each.found}" for each in found]


def put_run(project, folder=RUN, arrays="c" * 64, code=(), **more):
    """A record of a run, made at the release."""
    described = {"path": f"{folder}/arrays.safetensors", "sha256": arrays}
    made_by = {"closure": "d" * 64, "commit": git(project, "rev-parse", "HEAD"), "dirty": False, **dict(code)}
    record = {"job": "convrfm.replication.jobs.fits:fit_task", "settings": {}, "inputs": {}, "packages": {}, "code": made_by}
    reseal(project / folder / "record.json", {**record, "outputs": {"arrays": described}, **more})


def code_committed_and_not(checkout: Path) -> None:
    change(checkout / "src/convrfm/kernels/arc_cosine.py", "a = 1", "a = 2")
    commit(checkout)
    (checkout / "src/convrfm/new.py").touch()


def own_preset(checkout: Path) -> None:
    shutil.copy(checkout / PRESET, checkout / "workflow/presets/mine.yaml")
    change(checkout / CONFIG, "preset: quick", "preset: mine")


def put_draws(checkout: Path, arrays: str) -> None:
    for seed, letter in enumerate(arrays):
        put_run(checkout, f"{RESULTS}/runs/draw/published/task=bars,seed={seed}", arrays=letter * 64)


SHOWN: dict[str, tuple] = {
    "fewer seeds, or those that suit": (
        "seeds: Seeds were [0, 1, 2], and are [5]: intervals rest on fewer", CONFIG, "seeds: [0, 1, 2]", "seeds: [5]",
    ),
    "overrides of the configuration": (
        "configuration: The configuration differs: theorem1.draws was 10, and is 3.", CONFIG, "{}", "{theorem1: {draws: 3}}",
    ),
    "another preset under the same name": (
        "preset: The preset has changed: fig08.panels[0].width_divisor was 8, and is 2.",
        PRESET, "width_divisor: 8", "width_divisor: 2",
    ),
    "lower thresholds of claims": (
        f"claims: {CLAIMS} has changed: A1.conditions.level.bound was 0.7, and is 0.1", CLAIMS, "bound: 0.7,", "bound: 0.1,",
    ),
    "another judge": (f"claims: Modules with judges that differ: {JUDGE} (not committed).", JUDGE, "a = 1", "a = 2"),
    "another lock": ("lock: Locked versions have changed: torch was", LOCK, "\ntorch==", "\ntorch==9"),
    "other code, all results made by it": (f"code: Code that differs: {ROUNDS} (not committed).", ROUNDS, "a = 1", "a = 2"),
    "results made by code that was not committed": (
        "code: Made with changes that were not committed, at ", lambda checkout: put_run(checkout, code={"dirty": True}),
    ),
    "jobs that continued from checkpoints": (
        f"resumed: Continued from the checkpoints of a job that was stopped: {OF_ONE}",
        lambda checkout: put_run(checkout, resumed_from=["checkpoint-0"]),
    ),
    "one draw under several seeds, as the code makes it": (
        "equal draws: The draws of seeds 0, 1 are one: draw (protocol=published,task=bars).", lambda at: put_draws(at, "aab"),
    ),
}  # fmt: skip
"""What is shown, and what was done: another text in a file, or what a function does.

No forgeries where the code, the settings and the results agree; `docs/forgeries.md` has each of them.
"""

OTHERS = {
    "as many other seeds": ("seeds: Seeds were [0, 1, 2], and are [3, 4, 5].", CONFIG, "[0, 1, 2]", "[3, 4, 5]"),
    "another device": ("configuration: The configuration differs: device was 'auto', and is 'cuda'.", CONFIG, "auto", "cuda"),
    "a preset of one's own": ("preset: The release has no preset 'mine'.", own_preset),
    "code that was committed, and code that was not": (
        "code: Code that differs: src/convrfm/kernels/arc_cosine.py; src/convrfm/new.py (not committed).", code_committed_and_not,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", [*SHOWN, *OTHERS])
def test_what_differs_is_shown(checkout, what):
    expected, harm, *texts = {**SHOWN, **OTHERS}[what]
    change(checkout / harm, *texts) if texts else harm(checkout)
    (found,) = found_in(checkout)
    assert found.startswith(expected)


def test_the_release_itself_has_none_and_without_its_tag_the_last_commit_is_named(checkout):
    put_run(checkout)
    put_draws(checkout, "abd")
    change(checkout / PRESET, "fits_on: cpu", "fits_on: gpu")
    (checkout / "notes.txt").write_text("")
    assert found_in(checkout) == []
    assert found_in(checkout, preset="paper", protocol="both", data_dir="elsewhere", memory_mb=900) == []
    assert changes.find_release()[1] == f"the release v{changes.version('convrfm')}"
    git(checkout, "tag", "-d", f"v{changes.version('convrfm')}")
    assert f"commit {git(checkout, 'rev-parse', 'HEAD')[:8]} (HEAD)" in changes.find_release()[1]
    assert found_in(checkout) == []
    shutil.rmtree(checkout / ".git")
    outside = "code: The code lies outside git: nothing could be compared with a release."
    assert found_in(checkout, seeds=[0]) == [outside]
    assert changes.find_release()[1].startswith("nothing")


def test_commits_of_records(checkout, tmp_path):
    change(checkout / ROUNDS, "a = 1", "a = 2")
    later = commit(checkout)
    # The last one is given to git, and cannot be one of its options.
    for number, named in enumerate([None, "f" * 40, later, f"--output={tmp_path}/owned"]):
        put_run(checkout, f"{RUN}{number}", code={"commit": named, "dirty": None})
    assert sorted(found_in(checkout)) == sorted([
        f"code: Code that differs: {ROUNDS}.",
        f"code: Made outside git, known by the hash of its code alone: {OF_ONE}0.",
        f"code: Made at commit ffffffff, which this checkout does not know: {OF_ONE}1.",
        f"code: Made at commit {later[:8]}, where convrfm.rfm.rounds differ: {OF_ONE}2.",
    ])  # fmt: skip
    assert not (tmp_path / "owned").exists()
    *_, last = find_products(checkout, RESULTS)
    assert "not a record: code.commit" in last.findings[0].found
