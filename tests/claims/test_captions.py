"""Captions quote verdicts: those of the audit, by the table at hand, and by the conditions in the settings of the figure."""

import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from workflow.conftest import ROOT

from claims.made_up import CLAIMS, estimated, put, tables_of
from convrfm.replication.audit.judging import all_judges, judge_claim
from convrfm.replication.claims.claims import load_claims
from convrfm.replication.claims.evidence import Evidence
from convrfm.replication.claims.verdicts import quoted
from convrfm.replication.figures.figure import METADATA, FigureSpec
from convrfm.replication.plan import plan as plan_table
from convrfm.replication.plan.plan import FIGURES, Plan
from convrfm.replication.plan.presets import load_settings
from convrfm.replication.record.closure import import_closure
from convrfm.replication.record.record import Recorder
from convrfm.replication.record.session import Job

BY_ID = {claim.id: claim for claim in load_claims()}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_caption_says_what_the_audit_would_say_of_its_table_alone(tmp_path, claim):
    results = tmp_path / "results/paper"
    for signs, options in (
        ((1, 1), {}),
        ((1, -1), {}),
        ((-1, -1), {}),
        ((1, 1), {"single": True}),
        ((1, 1), {"value": float("nan")}),
    ):
        if claim.startswith("P-") and "single" in options:
            continue
        for figure, table in tables_of(claim, signs, **options).items():
            put(results, figure, table)
            path = results / f"figures/published/{figure}.parquet"
            found = judge_claim(BY_ID[claim].model_copy(update={"tables": [figure]}), results, "published", "paper")
            said = quoted(
                {claim: BY_ID[claim].rule()},
                all_judges()[figure],
                Evidence(pd.read_parquet(path), path.relative_to(tmp_path).as_posix()),
            )
            assert f"**, by this figure's table alone: {found.verdict}. " in said
            assert found.reason.partition(" A decision takes")[0] in said


@pytest.fixture(scope="module")
def plan():
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings = load_settings({**base, "preset": "workstation"}, ROOT / "workflow" / "presets")
    return Plan(settings, lambda _: {"state": "present", "digest": "d"})


@pytest.mark.parametrize(
    ("claim", "condition", "stale"),
    [("A10", "gain", {"fig05"}), ("A13", "step", {"fig06"}), ("A9", "excess", {"fig03", "fig04", "fig10"}),
     ("A14", "last", {"fig07", "fig08"}), ("A6", "theorem", {"theorem1"}), ("A15", "time", set())],
)  # fmt: skip
def test_an_edited_threshold_makes_the_figures_stale_that_quote_it_and_no_other(plan, monkeypatch, claim, condition, stale):
    own = BY_ID[claim]
    edited = own.conditions[condition].model_copy(update={"bound": 0.123})
    other = own.model_copy(update={"conditions": {**own.conditions, condition: edited}})

    def settings():
        return {name: of.settings(plan, {"protocol": "published"}) for name, of in FIGURES.items()}

    before = settings()
    monkeypatch.setattr(plan_table, "load_claims", lambda: [other if each is own else each for each in BY_ID.values()])
    after = settings()
    assert {name for name in FIGURES if before[name] != after[name]} == stale
    assert all(after[name]["claims"][claim]["conditions"][condition]["bound"] == 0.123 for name in stale)


@pytest.mark.parametrize(("bound", "verdict"), [(5.0, "REPRODUCED"), (50.0, "NOT REPRODUCED")])
def test_a_figure_is_judged_by_its_settings(tmp_path, bound, verdict):
    table = estimated(tables_of("A10", (1, 1))["fig05"])

    spec = FigureSpec("Figure 5", "", "", lambda _: {}, judges=all_judges()["fig05"])

    @spec.drawn
    def draw(job, skipped):
        return table, Figure(figsize=(1, 1)), "Numbers.\n"

    rule = BY_ID["A10"].rule()
    rule["conditions"]["gain"]["bound"] = bound
    settings = {"needs": {"bars": []}, "claims": {"A10": rule}}
    outputs = {form: tmp_path / f"figure.{form}" for form in (*METADATA, "parquet", "csv", "md", "record")}
    draw(Job({"states": []}, outputs, settings, 1, Recorder("test", "", settings)))
    caption = outputs["md"].read_text()
    assert caption.startswith("Numbers.\n\n**A10, Local signals in noise**, by this figure's table alone: ")
    assert f"alone: {verdict}. " in caption
    assert pd.read_parquet(outputs["parquet"]).equals(table)


FAMILIES = {"fig03": {"fig10", "fig12"}, "fig06_pairs": {"fig06"}, "fig11": {"fig12"}}
"""Figures whose drawing uses that of others."""


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_goes_stale_with_its_own_drawing_and_judges_alone(figure):
    found = set(import_closure(FIGURES[figure].job.partition(":")[0]))
    plots = {name.rpartition(".")[2] for name in found if name.startswith("convrfm.replication.figures.")} & FIGURES.keys()
    assert plots == {figure} | FAMILIES.get(figure, set())
    assert "convrfm.replication.claims.claims" not in found
    assert not [name for name in found if name.startswith("convrfm.replication.audit")]
