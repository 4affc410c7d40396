"""Deviations from the release: each is shown where it is, and none where there is none."""

import json
import shutil

import pytest
import yaml

from audit import outcomes
from audit.conftest import git
from audit.tiny import reseal
from convrfm.replication.audit import deviations
from convrfm.replication.audit.records import find_products
from convrfm.replication.config.presets import load_settings

BARS = f"{outcomes.RESULTS}/runs/draw/published/task=bars,seed="


def found_in(project, **config):
    """Deviations of a project, as "what: found"."""
    content = {**yaml.safe_load((project / "config.yaml").read_text()), **config}
    settings = load_settings(content, project / "workflow/presets")
    products = [product for product, _ in find_products(project, outcomes.RESULTS)]
    return [f"{each.what}: {each.found}" for each in deviations.deviations(project, settings, products)]


def put_run(project, folder=outcomes.RUN, **changes):
    """A record of a run, made at the release."""
    (project / folder).mkdir(parents=True)
    described = {"path": f"{folder}/arrays.safetensors", "sha256": changes.pop("arrays", "c" * 64)}
    code = {"closure": "d" * 64, "commit": git(project, "rev-parse", "HEAD"), "dirty": False}
    record = {
        "job": "convrfm.replication.jobs.fits:fit_task", "settings": {}, "inputs": {}, "outputs": {"arrays": described},
        "code": {**code, **changes.pop("code", {})}, "packages": {}, **changes,
    }  # fmt: skip
    reseal(project / folder / "record.json", record)


def test_the_release_itself_has_none(checkout):
    put_run(checkout)
    assert found_in(checkout) == []
    assert found_in(checkout, preset="paper", protocol="both", data_dir="elsewhere", memory_mb=900) == []
    assert deviations.compared_with() == f"the release v{deviations.version('convrfm')}"


def test_without_the_tag_the_last_commit_is_named(checkout):
    git(checkout, "tag", "-d", f"v{deviations.version('convrfm')}")
    assert f"commit {git(checkout, 'rev-parse', 'HEAD')[:8]} (HEAD)" in deviations.compared_with()
    assert found_in(checkout) == []


def test_outside_git_nothing_can_be_compared_and_that_is_one(checkout):
    shutil.rmtree(checkout / ".git")
    assert found_in(checkout, seeds=[0]) == [
        "code: The code lies outside git: nothing could be compared with a release."
    ]
    assert deviations.compared_with().startswith("nothing")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"seeds": [0]}, "seeds: Seeds were [0, 1, 2], and are [0], so that intervals rest on fewer draws."),
        ({"seeds": [3, 4, 5]}, "seeds: Seeds were [0, 1, 2], and are [3, 4, 5]."),
        ({"device": "cuda"}, "configuration: The configuration differs: device was 'auto', and is 'cuda'."),
        (
            {"overrides": {"theorem1": {"draws": 3}}},
            "configuration: The configuration differs: theorem1.draws was 10, and is 3.",
        ),
    ],
)
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
    lock = checkout / "envs/lock.txt"
    lock.write_text(lock.read_text().replace("\ntorch==", "\ntorch==9"))
    (found,) = found_in(checkout)
    assert found.startswith("lock: Locked versions have changed: torch was")


def test_claims_judges_and_code_committed_or_not(checkout):
    claims = checkout / "src/convrfm/replication/claims.yaml"
    claims.write_text(claims.read_text().replace("bound: 0.7,", "bound: 0.1,", 1))
    for file in ("judges/cost.py", "kernels/arc_cosine.py"):
        (checkout / "src/convrfm" / file).write_text("a = 2\n")
    git(checkout, "commit", "-qam", "later")
    (checkout / "src/convrfm/new.py").write_text("")
    (checkout / "notes.txt").write_text("")
    found = found_in(checkout)
    assert found[0].startswith(
        "claims: src/convrfm/replication/claims.yaml has changed: A1.conditions.level.bound was 0.7, and is 0.1"
    )
    assert found[1:] == [
        "claims: Judges that differ: src/convrfm/judges/cost.py.",
        "code: Code that differs: src/convrfm/kernels/arc_cosine.py; src/convrfm/new.py (not committed).",
    ]


def test_commits_of_records(checkout):
    put_run(checkout, f"{outcomes.RUN}1", code={"dirty": True})
    put_run(checkout, f"{outcomes.RUN}2", code={"commit": None, "dirty": None})
    put_run(checkout, f"{outcomes.RUN}3", code={"commit": "f" * 40})
    (checkout / "src/convrfm/rfm/rounds.py").write_text("a = 2\n")
    git(checkout, "commit", "-qam", "later")
    put_run(checkout, f"{outcomes.RUN}4")
    git(checkout, "checkout", "-q", "HEAD~1")
    found = " ".join(found_in(checkout))
    for number, words in (
        (1, "Made with changes that were not committed, at "),
        (2, "Made outside git, known by the hash of its code alone: "),
        (3, "Made at commit ffffffff, which this checkout does not know: "),
        (4, ", where convrfm.rfm.rounds differ: "),
    ):
        assert f"{words}" in found
        assert f"1 of the runs and figures, rfm/published/task=bars,sigma=1,seed=0{number}" in found
    assert len(found_in(checkout)) == 4


def test_a_commit_cannot_be_an_option_of_git(checkout, tmp_path):
    put_run(checkout, code={"commit": f"--output={tmp_path}/owned"})
    found_in(checkout)
    assert not (tmp_path / "owned").exists()
    (_, findings), *_ = find_products(checkout, outcomes.RESULTS)
    assert "not a record: code.commit" in findings[0].found


def test_resumed_jobs(checkout):
    put_run(checkout, resumed_from=["checkpoint-0123456789abcdef.safetensors"])
    (found,) = found_in(checkout)
    assert found.startswith(
        "resumed: Continued from the checkpoints of a job that was stopped: 1 of the runs and figures, rfm/"
    )


def test_equal_draws_of_several_seeds(checkout):
    for seed, arrays in enumerate("aab"):
        put_run(checkout, f"{BARS}{seed}", arrays=arrays * 64)
    assert found_in(checkout) == ["equal draws: The draws of seeds 0, 1 are one: draw (protocol=published,task=bars)."]
    record = checkout / f"{BARS}1/record.json"
    content = json.loads(record.read_text())
    content["outputs"]["arrays"]["sha256"] = "c" * 64
    reseal(record, content)
    assert found_in(checkout) == []
