"""The claims as data: complete, checked when they are read, and in step with what reads them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from convrfm.audit.claims import ClaimsError, load_claims, read_claims, rebuild_command
from convrfm.audit.claims_page import claims_page
from convrfm.audit.commands import rebuild
from convrfm.audit.judges import all_judges
from convrfm.audit.judging import matched
from convrfm.plots import features, fig01, fig02, fig04, theorem1
from convrfm.printed import PRINTED

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "src/convrfm/audit/claims.yaml").read_text()
CLAIMS = {claim.id: claim for claim in load_claims()}


def changed(change):
    """The text of the claims after a change to its entries."""
    entries = yaml.safe_load(TEXT)
    change(entries)
    return yaml.safe_dump(entries, sort_keys=False)


def test_every_claim_is_there_with_a_judge():
    assert list(CLAIMS) == [f"A{n}" for n in range(1, 16)] + [f"P-{name}" for name in PRINTED]
    assert len(matched(load_claims(), all_judges())) == len(CLAIMS)
    for claim in CLAIMS.values():
        sentences = (claim.sentence, claim.where, claim.condition_in_words(), claim.failure_means, claim.needs)
        assert all(len(words) > 10 for words in sentences)
        assert "{" not in claim.condition_in_words()


def test_a_claim_without_a_judge_and_a_judge_without_a_claim_are_errors():
    judges = dict(all_judges())
    with pytest.raises(ClaimsError, match=r"no judge of A10 and no claim for none"):
        matched(load_claims(), {name: judge for name, judge in judges.items() if name != "A10"})
    with pytest.raises(ClaimsError, match=r"no judge of none and no claim for A99"):
        matched(load_claims(), judges | {"A99": judges["A1"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[0].update(colour="red"), "A1, colour: Extra inputs"),
        (lambda c: c[0].pop("needs"), "A1, needs: Field required"),
        (lambda c: c[0].update(id="B1"), "B1, id: String should match"),
        (lambda c: c[0].pop("id"), "a claim without an id, id"),
        (lambda c: c[1].update(id="A1"), "several of A1"),
        (
            lambda c: c[0].update(condition="at least {nothing}"),
            r"names \{nothing\}, but the conditions are over_initial",
        ),
        (lambda c: c[9]["conditions"]["gain"].update(bound="5"), "A10, conditions.gain.bound"),
        (lambda c: c[9]["conditions"]["gain"].update(relation="more or less"), "A10, conditions.gain.relation"),
        (
            lambda c: c[9]["conditions"]["gain"].update(soft=True),
            "A10, as a whole: Value error, all conditions are soft",
        ),
        (lambda c: c[9].update(presets=["huge"]), "A10, presets.0"),
        (lambda c: c[9].update(protocols=["secret"]), "A10, protocols.0"),
        (lambda c: c.pop(), "Each run of convrfm.printed is a claim"),
        (lambda c: c[-1].update(id="P-mnist-7"), "Each run of convrfm.printed is a claim"),
    ],
)
def test_wrong_claims_are_errors_in_sentences(change, message):
    with pytest.raises(ClaimsError, match=message):
        read_claims(changed(change))


@pytest.mark.parametrize("text", ["a: [", "a: 1", "[1, 2]", ""])
def test_what_is_no_list_of_claims_is_an_error(text):
    with pytest.raises(ClaimsError, match=r"mend the file claims.yaml|Mend the file claims.yaml"):
        read_claims(text)


def test_nothing_is_decided_by_a_maximum_that_contains_its_competitor():
    """ConvRFM counts from round 1 on and each stage by itself, and the claims say so."""
    for name in ("A10", "A12"):
        assert "from round 1 on" in CLAIMS[name].condition
    assert "each stage of Deep ConvRFM by itself" in CLAIMS["A10"].condition
    assert "by itself" in CLAIMS["A11"].condition
    assert "counted by itself" in CLAIMS["A13"].condition


def test_captions_ask_for_what_the_claims_ask_for():
    """Captions say beside their numbers whether these are enough: with the same bounds."""
    bounds = {name: {key: each.bound for key, each in claim.conditions.items()} for name, claim in CLAIMS.items()}
    assert bounds["A7"]["excess"] == fig02.EXCESS
    assert bounds["A9"]["excess"] == fig04.EXCESS == features.EXCESS
    assert bounds["A8"] == {"sobel": features.EXCESS, "orientation": features.ALIKE, "transfer": features.EXCESS}
    assert bounds["A6"] == theorem1.THRESHOLDS
    assert (bounds["A1"]["level"], bounds["A1"]["each_layer"]) == fig01.LINES


def test_targets_are_rules_and_tables_are_figures():
    rules = set(re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(), re.MULTILINE))
    for claim in CLAIMS.values():
        if claim.tables:
            assert set(claim.command.split()) == set(claim.tables) <= rules
            assert claim.figure in claim.tables


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
        ("A8", "anchors", None, "snakemake -c2 --config preset=anchors -- fig03 fig11 fig12"),
        ("A6", "quick", "corrected", "snakemake -c2 --config preset=quick -- theorem1"),
        ("A15", "paper", "corrected", "python benchmarks/cost.py"),
        # Other presets have no printed sizes.
        ("P-svhn-1000", "quick", "published", "snakemake -c2 --config preset=anchors protocol=published -- printed"),
        ("P-svhn-1000", "anchors", "published", "snakemake -c2 --config preset=anchors protocol=published -- printed"),
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


def test_the_claims_are_in_the_wheel(tmp_path):
    """What setuptools would put beside the modules, asked of setuptools itself."""
    ask = (
        "from setuptools import Distribution\n"
        "dist = Distribution(); dist.parse_config_files(); dist.include_package_data = False\n"
        "build = dist.get_command_obj('build_py'); build.ensure_finalized()\n"
        "print([name for package, *_, names in build.data_files for name in names if package == 'convrfm.audit'])\n"
    )
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "claims.yaml" in done.stdout


def test_the_call_that_builds_a_run_or_figure_anew():
    figure = "results/quick/figures/published/fig05.json"
    assert rebuild(figure) == f"snakemake -c2 --force --config preset=quick protocol=published -- {figure}"
    run = "results/quick/runs/rfm/published/a b/record.json"
    assert rebuild(run) == f"snakemake -c2 --force --config preset=quick protocol=published -- '{run}'"
    run = "results/anchors/runs/rfm/corrected/task=bars,sigma=1,seed=0/record.json"
    assert rebuild(run) == f"snakemake -c2 --force --config preset=anchors protocol=corrected -- {run}"
