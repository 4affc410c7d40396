"""The claims as data: complete, checked when they are read, and in step with what reads them."""

import json
import re
from pathlib import Path

import pytest
import yaml

from convrfm.replication.audit.judging import all_judges, check_matched
from convrfm.replication.claims.claims import ClaimsError, load_claims, read_claims, rebuild_command
from convrfm.replication.claims.evidence import Judges, Rule
from convrfm.replication.figures.printed import PRINTED
from convrfm.replication.pages.generate import claims_page
from convrfm.replication.plan.plan import FIGURES
from convrfm.replication.record.closure import import_closure

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "src/convrfm/replication/claims/claims.yaml").read_text()
CLAIMS = {claim.id: claim for claim in load_claims()}


def test_every_claim_is_there_with_a_judge():
    of_paper = len(CLAIMS) - len(PRINTED)
    assert of_paper >= 15
    assert list(CLAIMS) == [f"A{n}" for n in range(1, of_paper + 1)] + [f"P-{name}" for name in PRINTED]
    check_matched(load_claims(), all_judges())
    for claim in CLAIMS.values():
        sentences = (claim.sentence, claim.where, claim.condition_in_words(), claim.failure_means, claim.needs)
        assert all(len(words) > 10 for words in sentences)
        assert "{" not in claim.condition_in_words()


def test_a_claim_without_a_judge_and_a_judge_without_a_claim_are_errors():
    every = {**all_judges(), "fig05": all_judges()["cost"]}
    with pytest.raises(ClaimsError, match=r"no judge of A10 \(fig05\), A11 \(fig05\) and no claim for A15 \(fig05\)"):
        check_matched(load_claims(), every)
    with pytest.raises(ValueError, match="By fig05, the claim A10 has a judge already"):
        every["fig05"] = all_judges()["fig05"]("A10")(lambda claim, found: iter(()))
    with pytest.raises(ValueError, match="fig05 has judges already"):
        Judges("fig05", (), ())


def test_what_decides_a_claim_is_plain_and_made_from_its_record_again():
    for claim in CLAIMS.values():
        again = Rule.model_validate(json.loads(json.dumps(claim.rule())))
        assert again == Rule.model_validate({name: getattr(claim, name) for name in Rule.model_fields})


def test_nothing_here_knows_the_audit():
    for module in ("claims", "evidence", "verdicts"):
        assert not [
            name
            for name in import_closure(f"convrfm.replication.claims.{module}")
            if name.startswith("convrfm.replication.audit")
        ]


def gain(**changes):
    return lambda claims: claims[9]["conditions"]["gain"].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[0].update(colour="red"), r"0\.colour\n +Extra inputs"),
        (lambda c: c[0].pop("needs"), r"0\.needs\n +Field required"),
        (lambda c: c[0].update(id="B1"), r"0\.id\n +String should match"),
        (lambda c: c[1].update(id="A1"), "duplicate id A1"),
        (lambda c: c[0].update(condition="at least {nothing}"), r"names \{nothing\}, but the conditions are over_initial"),
        (gain(bound="5"), r"9\.conditions\.gain\.bound"),
        (gain(relation="more or less"), r"9\.conditions\.gain\.relation"),
        (gain(soft=True), "all conditions are soft"),
        (lambda c: c[9].update(presets=["huge"]), r"9\.presets\.0"),
    ],
)
def test_wrong_claims_are_errors_in_sentences(change, message):
    entries = yaml.safe_load(TEXT)
    change(entries)
    with pytest.raises(ClaimsError, match=message):
        read_claims(yaml.safe_dump(entries, sort_keys=False))


@pytest.mark.parametrize("text", ["a: [", "a: 1", "[1, 2]", ""])
def test_what_is_no_list_of_claims_is_an_error(text):
    with pytest.raises(ClaimsError, match=r"claims\.yaml must be a list"):
        read_claims(text)


def test_tables_are_figures_with_a_target():
    assert {table for claim in CLAIMS.values() for table in claim.tables} - {"cost"} <= FIGURES.keys()
    assert [claim.id for claim in CLAIMS.values() if claim.figure is None] == ["A15"]


def test_printed_claims_say_what_is_printed():
    for name, run in PRINTED.items():
        claim = CLAIMS[f"P-{name}"]
        assert all(f"{number:g}" in claim.sentence for number in run.accuracy)
        assert f"{run.n_train} training images" in claim.sentence
        # Tolerances differ from round to round, and the words name each of them.
        assert all(f"{tolerance:g} point" in claim.condition for tolerance in set(run.tolerance))


@pytest.mark.parametrize(
    ("claim", "preset", "protocol", "command"),
    [
        ("A10", "quick", "published", "snakemake -c2 --config preset=quick protocol=published -- fig05"),
        ("A10", "quick", "corrected", "snakemake -c2 --config preset=quick protocol=corrected -- fig05"),
        ("A10", "paper", "corrected", "snakemake -c2 --config preset=paper protocol=corrected -- fig05"),
        ("A8", "workstation", None, "snakemake -c2 --config preset=workstation -- fig03 fig11 fig12"),
        ("A6", "quick", "corrected", "snakemake -c2 --config preset=quick -- theorem1"),
        ("A15", "paper", "corrected", "python benchmarks/cost.py"),
        # Other presets have no printed sizes.
        ("P-svhn-1000", "quick", "published", "snakemake -c2 --config preset=workstation protocol=published -- printed"),
        ("P-svhn-1000", "workstation", "published", "snakemake -c2 --config preset=workstation protocol=published -- printed"),
    ],
)
def test_the_command_says_the_preset_and_the_protocol(claim, preset, protocol, command):
    assert rebuild_command(CLAIMS[claim], preset, protocol) == command


def test_the_page_has_every_claim_and_every_bound():
    page = claims_page(load_claims(), "made from something")
    for claim in CLAIMS.values():
        assert f"## {claim.id}: {claim.title}\n" in page
        assert claim.condition_in_words() in page
    assert (
        "| test accuracy over that of the CNTK, paired by draw | at least 5 points, with a 95 % interval over draws above 0 |  |"
        in page
    )
    assert page == (ROOT / "docs/claims.md").read_text().replace(
        re.search(r"<!-- (.*) -->", (ROOT / "docs/claims.md").read_text())[1], "made from something"
    )
