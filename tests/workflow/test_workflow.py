"""The workflow through Snakemake itself, on a tiny preset."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from convrfm.system.storage import load_arrays
from workflow.conftest import PANEL

PROTOCOLS = ("published", "corrected")


def test_everything_is_built(built):
    for protocol in PROTOCOLS:
        built.check_built(["fig05"], protocol)


def test_the_table_is_tidy_and_keeps_protocols_apart(built):
    for protocol in PROTOCOLS:
        table = pd.read_parquet(built.results / "figures" / protocol / "fig05.parquet")
        assert set(table["protocol"]) == {protocol}
        runs = table[table["quantity"] == "run"]
        assert runs["value"].between(0, 1).all()
        bars = runs[runs["task"] == "bars"]
        assert set(bars["method"]) == {"CNTK", "ConvRFM", "Deep ConvRFM, stage 1", "CNN (Adam)", "CNN (SGD)"}
        assert len(bars) == 2 * 5
        assert np.allclose(bars["noise_std"], np.sqrt(bars["sigma"] / 32))
        assert not bars["stand_in"].any()
        assert table.loc[table["task"] == "noisy-digits", "stand_in"].all()
        caption = (built.results / "figures" / protocol / "fig05.md").read_text()
        assert f"protocol: {protocol}" in caption
        assert "not comparable with the paper" in caption


def test_the_table_holds_the_numbers_of_the_runs(built):
    table = pd.read_parquet(built.results / "figures/published/fig05.parquet")
    history = pd.read_parquet(built.results / "runs/rfm/published/task=bars,sigma=2,seed=0/metrics.parquet")
    rows = table.query("task == 'bars' and sigma == 2 and quantity == 'run'").set_index("method")
    first = history.query("stage == 0 and round == 0")
    assert rows.loc["CNTK", "value"] == first["test_accuracy"].max()
    # ConvRFM never counts round 0, which is its competitor.
    assert rows.loc["ConvRFM", "value"] == history.query("stage == 0 and round >= 1")["test_accuracy"].max()
    assert rows.loc["Deep ConvRFM, stage 1", "value"] == history.query("stage == 1")["test_accuracy"].max()
    corrected = pd.read_parquet(built.results / "runs/rfm/corrected/task=bars,sigma=2,seed=0/metrics.parquet")
    chosen = corrected.query("stage == 0 and round == 0")
    chosen = chosen.loc[chosen["validation_accuracy"].idxmax()]
    table = pd.read_parquet(built.results / "figures/corrected/fig05.parquet")
    table = table.query("task == 'bars' and sigma == 2 and quantity == 'run'")
    assert table.set_index("method").loc["CNTK", "value"] == chosen["test_accuracy"]


def test_records_vouch_for_what_lies_there(built):
    records = [*built.results.glob("runs/*/*/*/record.json"), *built.results.glob("figures/*/fig05.json")]
    assert len(records) == 2 * (2 + 3 + 6 + 1)
    built.check_records(records)
    (fit,) = built.results.glob("runs/rfm/published/task=bars,sigma=2,*/record.json")
    record = json.loads(fit.read_text())
    assert record["protocol"] == "published"
    assert record["rfm"]["agop_samples"] == 20
    assert all(solve["residual"] < 1e-6 for solve in record["solves"])


def test_networks_keep_their_weights(built):
    (path,) = built.results.glob("runs/cnn/published/task=bars,sigma=2,optimizer=adam,*/arrays.safetensors")
    arrays = load_arrays(path)
    assert arrays["initial/convolutions.0.weight"].shape == (4, 1, 3, 3)
    assert not np.array_equal(arrays["initial/readout.weight"], arrays["final/readout.weight"])
    record = json.loads(path.with_name("record.json").read_text())
    assert {"best_epoch_test_accuracy", "last_epoch_test_accuracy"} <= set(record)
    for path in built.results.glob("runs/cnn/*/*/arrays.safetensors"):
        record, correct = json.loads(path.with_name("record.json").read_text()), load_arrays(path)["correct"]
        assert correct.dtype == bool
        assert correct.mean() == record["best_epoch_test_accuracy"]


def test_progress_is_in_the_logs(built):
    log = (built.results / "logs/rfm/published/task=bars,sigma=2,seed=0.log").read_text()
    assert "stage 2 of 2, rounds: 2 of 2 done" in log
    log = (built.results / "logs/cnn/published/task=bars,sigma=2,optimizer=sgd,seed=0.log").read_text()
    assert "epochs: 2 of 2 done" in log


def test_a_second_call_does_nothing(built):
    assert built.planned("fig05") == {}
    assert "Nothing to be done" in built.snakemake("-c2", "--", "fig05")


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ("src/convrfm/replication/figures/fig05.py", {"draw_fig05": 2}),
        ("src/convrfm/networks/plain_cnn.py", {"train_cnn": 12, "draw_fig05": 2}),
        ("src/convrfm/kernels/cpu.py", {"fit_rfm": 6, "draw_fig05": 2}),
        ("src/convrfm/rfm/estimators.py", {}),
        ("src/convrfm/replication/plan/presets.py", {}),
    ],
)
def test_a_change_rebuilds_what_depends_on_it_and_nothing_else(built, change, jobs):
    assert built.planned_after_change(change, "fig05") == jobs


def test_configuration_reaches_the_jobs_that_see_it(built):
    assert built.planned("fig05", "--config", "protocol=published") == {}
    assert built.planned("fig05", "--config", "protocol=published", "seeds=[0,1]") == {"draw": 2, "fit_rfm": 3, "draw_fig05": 1}
    assert built.planned("fig05", "--config", "protocol=published", "device=cpu") == {"train_cnn": 6, "draw_fig05": 1}


def test_a_wrong_key_stops_before_the_first_job(project):
    project.configure(protocl="both")
    output = project.snakemake("-c2", succeeds=False)
    assert "unknown key 'protocl'" in output
    assert "did you mean 'protocol'?" in output
    assert "Traceback" not in output
    assert not project.results.exists()


def test_results_that_cannot_be_written(project):
    (project.root / "results").write_text("a file in the way")
    output = project.snakemake("-c2", succeeds=False)
    assert "is a file, not a folder" in output
    assert "Traceback" not in output


def test_a_job_that_fails_says_why_in_a_sentence(project):
    name = "dataset=digits,size=8,fit=stretch,colour=grey,scaling=unit,classes=all,n_train=1439,n_test=20,seed=0"
    output = project.snakemake("-c1", "--", f"results/quick/runs/prepare/published/{name}/metrics.parquet", succeeds=False)
    assert "error: n_train is 1439, but the train part of scikit-learn's digits has 1438 images: lower n_train." in output
    assert "Traceback" not in output
    (log,) = (project.results / "logs/prepare/published").iterdir()
    assert "lower n_train" in log.read_text()
    assert not list(project.results.glob("runs/prepare/*/*/*.parquet"))


def test_an_unknown_data_set(project):
    project.configure(overrides={"fig05": {"panels": [{"task": "noisy-letters", "sigmas": [1.0], **PANEL}]}})
    output = project.snakemake("-c2", succeeds=False)
    assert "fig05.panels.0.task: must be" in output
    assert "'noisy-mnist'" in output
    assert "not 'noisy-letters'" in output


def test_too_few_images(project):
    digits = {"task": "noisy-digits", "sigmas": [1.0], **PANEL, "n_train": 1790}
    project.configure(overrides={"fig05": {"panels": [digits]}})
    output = project.snakemake("-n", "--", "fig05", succeeds=False)
    assert "n_train + n_test must be at most 1797, the number of digits for noisy-digits, but it is 1806" in output


def test_every_rule_names_the_environment_and_a_log(project):
    text = "".join(path.read_text() for path in (project.root / "workflow/rules").glob("*.smk"))
    rules = re.findall(r"^ *(?:rule|checkpoint)(?: \w+)?:", text, flags=re.MULTILINE)
    # A rule that is made of another one has its environment.
    inheriting = re.findall(r"^use rule \w+ as \w+ with:", text, flags=re.MULTILINE)
    # The targets of figures run nothing.
    targets = text.count("            name\n")
    assert targets == 1
    assert len(rules) - targets == text.count("    conda:")
    assert len(rules) - targets + len(inheriting) == text.count("    log:")
    assert (project.root / "envs/convrfm.yaml").exists()


def test_the_command_line_gives_numbers(project):
    """In mappings and lists, Snakemake hands them on as text, to its own jobs as well."""
    given = ["--config", "protocol=published", "overrides={theorem1: {draws: 3, learning_rate: 0.25}}"]
    project.snakemake("-c1", *given, "--", "theorem1")
    record = json.loads((project.results / "figures/published/theorem1.json").read_text())
    assert (record["settings"]["draws"], record["settings"]["learning_rate"]) == (3, 0.25)
    output = project.snakemake("-n", "--config", "overrides={theorem1: {draws: 3.5}}", "--", "theorem1", succeeds=False)
    assert "config.yaml: overrides.theorem1.draws: must be an integer, not 3.5" in output


def test_files_and_folders_of_the_configuration(project):
    config = project.root / "config.yaml"
    text = config.read_text()

    def said(*arguments):
        output = project.snakemake("-n", *arguments, "--", "datasets", succeeds=False)
        assert "Traceback" not in output
        return output

    config.write_text(f"overrides: {{fig04: {{sigma: 2.0}}}}\n{text}")
    assert re.search(r"config\.yaml: line \d+: duplicate key 'overrides', first in line 1: keep one of the two\.", said())
    config.write_bytes(text.encode() + b"# \xe4\n")
    assert "is not UTF-8 text: save the file in this encoding." in said()
    config.write_text(text)
    (project.root / "more.yaml").write_text("seeds: [1]\nseeds: [2]\n")
    assert "more.yaml: line 2: duplicate key 'seeds', first in line 1" in said("--configfile", "more.yaml")
    assert "config.yaml is a file: name another folder." in said("--config", "data_dir=config.yaml")
    assert "config.yaml: data_dir: must have no braces" in said("--config", "data_dir=a{b}c")
    gone = "data_folders={mnist: /gone/away}"
    assert "config.yaml: data_folders.mnist: there is no folder /gone/away: correct the path, or take" in said("--config", gone)
    project.snakemake("-n", "--config", gone, "assume_data=true", "--", "datasets")
