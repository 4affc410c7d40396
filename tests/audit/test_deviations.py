"""Deviations from the release: each is shown where it is, and none where there is none."""

import json
import shutil

import pytest
import yaml

from audit.conftest import CLAIMS, JUDGE, change, git
from audit.outcomes import RESULTS, RUN
from audit.tiny import reseal
from convrfm.replication.audit import changes
from convrfm.replication.audit.records import find_products
from convrfm.replication.plan.presets import load_settings

BARS = f"{RESULTS}/runs/draw/published/task=bars,seed="


def found_in(project, **config):
    """Deviations of a project, as "what: found"."""
    content = {**yaml.safe_load((project / "config.yaml").read_text()), **config}
    settings = load_settings(content, project / "workflow/presets")
    found = changes.deviations(project, settings, find_products(project, RESULTS))
    return [f"{each.what}: {each.found}" for each in found]


def put_run(project, folder=RUN, arrays="c" * 64, code=(), **more):
    """A record of a run, made at the release."""
    (project / folder).mkdir(parents=True)
    described = {"path": f"{folder}/arrays.safetensors", "sha256": arrays}
    made_by = {"closure": "d" * 64, "commit": git(project, "rev-parse", "HEAD"), "dirty": False, **dict(code)}
    record = {
        "job": "convrfm.replication.jobs.fits:fit_task",
        "settings": {},
        "inputs": {},
        "packages": {},
        "code": made_by,
    }
    reseal(project / folder / "record.json", {**record, "outputs": {"arrays": described}, **more})


def test_the_release_itself_has_none_and_without_its_tag_the_last_commit_is_named(checkout):
    put_run(checkout)
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


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"seeds": [0]}, "seeds: Seeds were [0, 1, 2], and are [0]: intervals rest on fewer draws."),
        ({"seeds": [3, 4, 5]}, "seeds: Seeds were [0, 1, 2], and are [3, 4, 5]."),
        ({"device": "cuda"}, "configuration: The configuration differs: device was 'auto', and is 'cuda'."),
        ({"overrides": {"theorem1": {"draws": 3}}}, "configuration: The configuration differs: theorem1.draws was 10, and is 3."),
    ],
)  # fmt: skip
def test_configuration_and_overrides(checkout, config, expected):
    assert found_in(checkout, **config) == [expected]


def test_presets_and_lock(checkout):
    preset = checkout / "workflow/presets/quick.yaml"
    content = yaml.safe_load(preset.read_text())
    content["fig08"]["panels"][0]["width_divisor"] = 4
    content["costs"]["fits_on"] = "gpu"
    preset.write_text(yaml.safe_dump(content))
    assert found_in(checkout) == ["preset: The preset has changed: fig08.panels[0].width_divisor was 8, and is 4."]
    git(checkout, "checkout", "-q", ".")
    shutil.copy(preset, preset.with_name("mine.yaml"))
    assert found_in(checkout, preset="mine") == ["preset: The release has no preset 'mine'."]
    preset.with_name("mine.yaml").unlink()
    change(checkout / "envs/lock.txt", "\ntorch==", "\ntorch==9")
    (found,) = found_in(checkout)
    assert found.startswith("lock: Locked versions have changed: torch was")


def test_claims_judges_and_code_committed_or_not(checkout):
    change(checkout / CLAIMS, "bound: 0.7,", "bound: 0.1,")
    for file in (JUDGE, "src/convrfm/kernels/arc_cosine.py"):
        (checkout / file).write_text("a = 2\n")
    git(checkout, "commit", "-qam", "later")
    (checkout / "src/convrfm/new.py").write_text("")
    (checkout / "notes.txt").write_text("")
    first, *others = found_in(checkout)
    assert first.startswith(f"claims: {CLAIMS} has changed: A1.conditions.level.bound was 0.7, and is 0.1")
    assert others == [
        f"claims: Modules with judges that differ: {JUDGE}.",
        "code: Code that differs: src/convrfm/kernels/arc_cosine.py; src/convrfm/new.py (not committed).",
    ]


def test_commits_of_records(checkout, tmp_path):
    for number, code in enumerate([{"dirty": True}, {"commit": None, "dirty": None}, {"commit": "f" * 40}]):
        put_run(checkout, f"{RUN}{number}", code=code)
    (checkout / "src/convrfm/rfm/rounds.py").write_text("a = 2\n")
    git(checkout, "commit", "-qam", "later")
    put_run(checkout, f"{RUN}3")
    git(checkout, "checkout", "-q", "HEAD~1")
    # It is given to git, and cannot be one of its options.
    put_run(checkout, f"{RUN}4", code={"commit": f"--output={tmp_path}/owned"})
    found = found_in(checkout)
    assert len(found) == 4
    for number, words in enumerate(
        (
            "Made with changes that were not committed, at ",
            "Made outside git, known by the hash of its code alone: ",
            "Made at commit ffffffff, which this checkout does not know: ",
            ", where convrfm.rfm.rounds differ: ",
        )
    ):
        (one,) = [each for each in found if words in each]
        assert f"1 of the runs and figures, rfm/published/task=bars,sigma=1,seed=0{number}" in one
    assert not (tmp_path / "owned").exists()
    *_, last = find_products(checkout, RESULTS)
    assert "not a record: code.commit" in last.findings[0].found


def test_resumed_jobs_and_equal_draws_of_several_seeds(checkout):
    for seed, arrays in enumerate("aab"):
        put_run(checkout, f"{BARS}{seed}", arrays=arrays * 64)
    assert found_in(checkout) == ["equal draws: The draws of seeds 0, 1 are one: draw (protocol=published,task=bars)."]
    record = json.loads((checkout / f"{BARS}1/record.json").read_text())
    record["outputs"]["arrays"]["sha256"] = "c" * 64
    reseal(checkout / f"{BARS}1/record.json", {**record, "resumed_from": ["checkpoint-0123456789abcdef.safetensors"]})
    (found,) = found_in(checkout)
    assert found.startswith(
        "resumed: Continued from the checkpoints of a job that was stopped: 1 of the runs and figures, draw/"
    )
