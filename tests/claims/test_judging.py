"""Verdicts on made-up tables: every verdict of every claim, at their boundaries and on damaged results."""

import hashlib
import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from claims import made_up
from claims.made_up import CLAIMS, DEEP, NAN, both, fig01, fig05, fig06, fig08, put, put_skipped, tables_of
from convrfm.datasets.registry import CIFAR_WEIGHTS, WEIGHTS
from convrfm.replication.audit.judging import judge, judge_claim
from convrfm.replication.audit.outcome import Audit, as_document
from convrfm.replication.claims.claims import load_claims
from convrfm.replication.claims.evidence import Condition, Number, Reading
from convrfm.replication.claims.verdicts import Verdict, _weighed
from convrfm.replication.figures.printed import PRINTED
from convrfm.replication.record.received import cost_recorder, cost_trouble, write_cost_record

GOOD, BAD = (1, 1), (-1, -1)
BY_ID = {claim.id: claim for claim in load_claims()}
PUBLISHED = "figures/published"
REASON = "svhn is not there. Fetch it with `snakemake -c1 download_svhn`."


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results" / "paper"
    folder.mkdir(parents=True)
    return folder


def fill(results, claim, signs, *, protocol="published", **options):
    for figure, table in tables_of(claim, signs, **options).items():
        put(results, figure, table, protocol=protocol)


def verdict_on(results, claim, protocol="published", preset="paper"):
    return judge_claim(BY_ID[claim], results, protocol, preset)


def filled(results, claim, signs, **options):
    """The verdict on made-up tables."""
    fill(results, claim, signs, **options)
    return verdict_on(results, claim)


def of_table(results, claim, figure, table, **options):
    """The verdict on one table."""
    put(results, figure, table, **options)
    return verdict_on(results, claim)


def decisive(judgement):
    """Measurements that decide."""
    return [each for each in judgement.measurements if each.comparable and not each.soft]


# Every verdict of every claim.


@pytest.mark.parametrize("claim", CLAIMS)
def test_reproduced_and_not_reproduced(results, claim):
    found = filled(results, claim, GOOD)
    assert found.verdict is Verdict.REPRODUCED, found.reason
    assert all(each.holds and each.margin >= 0 for each in decisive(found))
    assert all(each.sources[0].startswith("results/paper/figures/published/") for each in found.measurements)
    found = filled(results, claim, BAD)
    assert found.verdict is Verdict.NOT_REPRODUCED, found.reason
    failing = [each for each in decisive(found) if "control" not in each.what]
    assert failing
    assert all(each.holds is False and each.margin <= 0 for each in failing)
    assert f"{len(failing)} fail; the largest shortfall is" in found.reason or "1 fails: " in found.reason


def test_an_epoch_of_a14_is_one_over_all_images(results):
    fill(results, "A14", GOOD)
    # The first epoch is after as many images as the data set has, and the first that was kept from then on is the last one.
    put(results, "fig08", fig08((1, 1), divisor=540))
    found = verdict_on(results, "A14")
    on_simplenet = [each.what for each in found.measurements if "SimpleNet" in each.what]
    assert [what.partition("after ")[2] for what in on_simplenet] == ["epoch 540 minus before the first step"] * 2
    put(results, "fig08", fig08((1, 1), divisor=600))
    found = verdict_on(results, "A14")
    assert found.verdict is Verdict.PARTIAL
    assert "SimpleNet on CIFAR-10 was trained for 540 epochs of 84 images, less than one epoch of all 50000" in found.reason


# A11 asks for one case, and the few measurements of A12 are shares of all tasks.
@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim not in ("A11", "A12")])
def test_partial(results, claim):
    found = filled(results, claim, (1, -1))
    assert found.verdict is Verdict.PARTIAL, found.reason
    assert {each.holds for each in decisive(found)} == {True, False}


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim != "A6" and not claim.startswith("P-")])
def test_stand_ins_are_not_comparable_and_never_mix_into_a_verdict(results, claim):
    for signs in (GOOD, BAD):
        found = filled(results, claim, signs, stand_in=True)
        assert found.verdict is Verdict.NOT_COMPARABLE, found.reason
        assert not any(each.comparable for each in found.measurements)
        # The numbers are shown all the same.
        assert any(each.value is not None for each in found.measurements)
    # A claim that fails on the paper's data is not saved by stand-ins, nor the reverse.
    for signs, others, verdict in ((GOOD, BAD, Verdict.REPRODUCED), (BAD, GOOD, Verdict.NOT_REPRODUCED)):
        standing = tables_of(claim, others, stand_in=True)
        for figure, table in tables_of(claim, signs).items():
            put(results, figure, both(table, standing[figure]))
        found = verdict_on(results, claim)
        assert found.verdict is verdict, found.reason
        assert "on stand-in data are not comparable and do not count" in found.reason


@pytest.mark.parametrize("claim", CLAIMS)
def test_nothing_built_absent_data_and_missing_numbers(results, claim):
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.UNKNOWN
    assert not found.measurements
    assert "has not been built" in found.reason
    assert f"A decision takes {BY_ID[claim].needs}" in found.reason
    found = filled(results, claim, GOOD, value=NAN)
    assert found.verdict is Verdict.UNKNOWN, found.reason
    assert not any(each.holds for each in decisive(found) if "control" not in each.what)
    if claim != "A6":
        part = claim.removeprefix("P-") if claim.startswith("P-") else (BY_ID[claim].of or ["svhn"])[-1]
        for figure in BY_ID[claim].tables:
            put_skipped(results, figure, {part: REASON})
        found = verdict_on(results, claim)
        assert found.verdict is Verdict.SKIPPED, found.reason
        assert REASON.rstrip(".") in found.reason


NARROW, WIDE = 0.002, 0.2
"""Half the width of intervals over draws."""


@pytest.mark.parametrize(
    ("claim", "gains", "half", "verdict"),
    [
        ("A10", (0.08, 0.08), WIDE, Verdict.INCONCLUSIVE),
        ("A10", (-0.08, -0.08), WIDE, Verdict.INCONCLUSIVE),
        # One that fails does not make the others fail.
        ("A11", (-0.01, -0.01), NARROW, Verdict.NOT_REPRODUCED),
        ("A11", (-0.01, -0.01), WIDE, Verdict.INCONCLUSIVE),
        ("A11", (0.01, 0.01), WIDE, Verdict.INCONCLUSIVE),
    ],
)
def test_intervals_too_wide_to_tell_are_inconclusive(results, claim, gains, half, verdict):
    deep, method = gains
    rows = [
        {"task": "noisy-mnist", "stand_in": False, "sigma": 2.0, **row}
        for row in made_up.methods({"ConvRFM": method - deep * (claim == "A11"), DEEP: method, "CNN (Adam)": method}, spread=half / 2.5)
    ]  # fmt: skip
    if claim == "A11":
        for row in rows:
            row["accuracy"] -= (row["method"] == "ConvRFM") * (half / 2.5) * (row["seed"] - 1)
    found = of_table(results, claim, "fig05", pd.DataFrame(rows))
    assert found.verdict is verdict, found.reason
    assert ("not decided, since the interval contains" in found.reason) == (verdict is Verdict.INCONCLUSIVE)
    # More data would help, and not other data.
    assert "A decision takes" not in found.reason
    assert found.number


@pytest.mark.parametrize("signs", [(1, 1), (-1, -1)])
def test_simplenet_after_a_few_epochs_decides_nothing_of_its_recipe(results, signs):
    put(results, "fig08", fig08(signs, epochs=5))
    found = verdict_on(results, "A4")
    assert found.verdict is Verdict.UNKNOWN
    assert "SimpleNet on SVHN was trained for 5 epochs, where its authors' recipe has 540" in found.reason


WITHOUT = ("A6", "A8", "A9", "A13", "A14")
"""Claims that numbers without an interval decide, or whose made-up tables have several draws in any case."""


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.startswith("A") and claim not in WITHOUT])
def test_without_an_interval_nothing_is_decided(results, claim):
    """A single draw, a network or an image without an interval, too few data sets."""
    found = filled(results, claim, GOOD, single=True)
    # Accuracies of A4 need no interval.
    assert found.verdict is (Verdict.PARTIAL if claim == "A4" else Verdict.UNKNOWN), found.reason
    assert any(each.holds is None and each.margin is None for each in decisive(found))
    assert "not decided, since" in found.reason
    assert "A decision takes" in found.reason


@pytest.mark.parametrize(
    ("claim", "column", "where"),
    [
        ("A1", "value", "quantity == 'gain_over_null'"),
        ("A4", "value", "quantity == 'mean_pearson' and epoch == 0"),
        ("A5", "value", "patch_size == 7"),
        ("A6", "one_minus_rho", "kind == 'theorem'"),
        ("A10", "accuracy", "method == 'ConvRFM' and sigma == 2"),
        ("A12", "accuracy", "method == 'CNTK'"),
        ("A13", "accuracy", "layers == 2"),
        ("P-svhn-1000", "ours", "quantity == 'accuracy'"),
    ],
)
def test_one_missing_number_is_no_smaller_sample(results, claim, column, where):
    """A NaN is not dropped from a mean in silence: what rests on it is not decided."""
    ((figure, table),) = tables_of(claim, GOOD).items()
    table.loc[table.query(where).index[0], column] = NAN
    found = of_table(results, claim, figure, table)
    assert found.verdict in (Verdict.PARTIAL, Verdict.UNKNOWN), found.reason


@pytest.mark.parametrize("claim", ["A1", "A4", "A8", "A10", "A13"])
def test_each_protocol_by_itself(results, claim):
    fill(results, claim, BAD, protocol="corrected")
    assert filled(results, claim, GOOD).verdict is Verdict.REPRODUCED
    found = verdict_on(results, claim, "corrected")
    assert (found.verdict, found.protocol) == (Verdict.NOT_REPRODUCED, "corrected")
    assert "protocol=corrected" in found.command
    assert all("/corrected/" in each.sources[0] for each in found.measurements)


def test_no_claim_is_absent_and_the_order_is_that_of_the_claims(results):
    found = judge(results, "paper", ["published", "corrected"])
    assert list(dict.fromkeys(each.claim for each in found)) == list(BY_ID)
    assert {each.verdict for each in found} == {Verdict.UNKNOWN}
    protocols = {name: [each.protocol for each in found if each.claim == name] for name in BY_ID}
    assert protocols["A10"] == ["published", "corrected"]
    assert protocols["A6"] == protocols["A15"] == [None]
    # The printed numbers are there even if only the other protocol is asked for.
    assert protocols["P-svhn-1000"] == ["published"]
    only = judge(results, "paper", ["corrected"])
    assert [each.protocol for each in only if each.claim == "P-svhn-1000"] == ["published"]
    # Theorem 1 is found under either protocol.
    fill(results, "A6", GOOD, protocol="corrected")
    found = judge(results, "paper", ["published", "corrected"])
    assert {each.claim: each.verdict for each in found}["A6"] is Verdict.REPRODUCED


def test_judging_changes_nothing_and_gives_plain_data(results):
    for claim in CLAIMS:
        if not claim.startswith("P-"):
            fill(results, claim, GOOD)

    def state():
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in results.rglob("*") if path.is_file()}

    before = state()
    first = judge(results, "paper", ["published"])
    assert judge(results, "paper", ["published"]) == first
    assert state() == before
    audit = Audit("paper", "results/paper", first, (), (), (), (), "", {}, "", "")
    text = json.dumps(as_document(audit, datetime.now(UTC)), allow_nan=False)
    assert len(json.loads(text)["judgements"]) == len(first)


# Boundaries of conditions.

ABOVE = {"relation": "above", "bound": 0.0, "clear": True}
FIVE = {"relation": "at least", "bound": 5.0, "clear": True}
LEAST = {"relation": "at least", "bound": 0.0}
MOST = {"relation": "at most", "bound": 1e-9}
WITHIN = {"relation": "within", "bound": 1.0}
PRINTED_BOUND = {"relation": "within", "bound": "printed"}


@pytest.mark.parametrize(
    ("condition", "number", "bound", "holds", "margin"),
    [
        (ABOVE, (0.1, (0.001, 0.2)), None, True, 0.1),
        # An interval that touches 0 does not exclude it.
        (ABOVE, (0.1, (0.0, 0.2)), None, None, 0.1),
        (ABOVE, (0.1, (1e-15, 0.2)), None, None, 0.1),
        (ABOVE, (0.1, (-0.001, 0.2)), None, None, 0.1),
        (ABOVE, (-0.1, (-0.2, 0.001)), None, None, -0.1),
        (ABOVE, (-0.1, (-0.2, 0.0)), None, False, -0.1),
        (ABOVE, (-0.1, (-0.2, 1e-15)), None, False, -0.1),
        (ABOVE, (0.0, (0.0, 0.0)), None, False, 0.0),
        (FIVE, (5.0, (1.0, 9.0)), None, True, 0.0),
        (FIVE, (4.999, (4.0, 6.0)), None, None, -0.001),
        (FIVE, (4.0, (3.0, 5.0)), None, None, -1.0),
        (FIVE, (4.0, (3.0, 4.99)), None, False, -1.0),
        (FIVE, (7.0, (-1.0, 15.0)), None, None, 2.0),
        (FIVE, (7.0,), None, None, None),
        # A mean of equal numbers may differ from them by rounding.
        (LEAST, (-1e-16,), None, True, 0.0),
        (LEAST, (-1e-6,), None, False, -1e-6),
        ({"relation": "above", "bound": 0.7}, (0.7,), None, False, 0.0),
        (MOST, (1e-9,), None, True, 0.0),
        (MOST, (1.1e-9,), None, False, -1e-10),
        (WITHIN, (-1.0,), None, True, 0.0),
        (WITHIN, (-1.01,), None, False, -0.01),
        (PRINTED_BOUND, (0.5,), 0.4, False, -0.1),
        (PRINTED_BOUND, (0.5,), None, None, None),
        (LEAST, (NAN,), None, None, None),
        (LEAST, (np.inf,), None, None, None),
        (LEAST, (1.0, None, "too few"), None, None, None),
        (LEAST, (-1.0, None, "", "", "not all are known"), None, None, -1.0),
        (LEAST, (1.0, None, "", "", "not all are known"), None, True, 1.0),
    ],
)
def test_boundaries(condition, number, bound, holds, margin):
    reading = Reading("x", "here", "something", Number(*number), True, ("a",), {}, bound)
    weighed = _weighed(Condition(quantity="q", **condition), reading)
    found, gap = weighed.measurement, weighed.gap
    assert found.holds is holds
    assert found.margin == (None if margin is None else pytest.approx(margin, abs=1e-12))
    assert bool(gap) == (holds is None and condition["bound"] != "printed")
    assert found.value is None or np.isfinite(found.value)


@pytest.mark.parametrize(("claim", "condition"), [("A10", "gain"), ("A7", "excess"), ("A9", "excess"), ("A13", "step")])
def test_bounds_come_from_the_claims_and_not_from_code(results, claim, condition):
    fill(results, claim, GOOD)
    own = BY_ID[claim]
    bound = 50.0 if own.conditions[condition].unit == "points" else 0.45
    harder = own.conditions[condition].model_copy(update={"bound": bound})
    other = own.model_copy(update={"conditions": {**own.conditions, condition: harder}})
    found = judge_claim(other, results, "published", "paper")
    assert found.verdict is Verdict.NOT_REPRODUCED
    assert f"{bound:g}" in found.measurements[0].required


# What a verdict rests on.


def test_the_reason_names_noise_images_and_seeds(results):
    found = filled(results, "A10", GOOD)
    assert "hold (Noisy bars; Noisy MNIST: sigma = 2, n = 500/400, seeds 0, 1, 2)." in found.reason
    table = both(fig05([1]), fig05([1]).assign(seed=lambda t: t["seed"] + 3, n_train=600))
    found = of_table(results, "A11", "fig05", table.assign(task="noisy-mnist"))
    assert "(Noisy MNIST: sigma = 1, 2, n = 500/400, 600/400, seeds 0 to 5 (6))" in found.reason
    assert "(Noisy digits: sigma = 2, n = 500/400" in filled(results, "A10", GOOD, stand_in=True).reason


@pytest.mark.parametrize("signs", [GOOD, BAD, (1, -1)])
def test_the_number_is_the_one_that_decides_and_comes_with_its_data(results, signs):
    found = filled(results, "A10", signs)
    failing = [each for each in decisive(found) if each.holds is False]
    closest = min(failing or decisive(found), key=lambda each: each.margin)
    assert found.number.startswith(f"{closest.what}: {closest.value:.3g} [")
    assert found.number.endswith("points (interval over draws)")
    assert found.data == "Noisy bars; Noisy MNIST: sigma = 2, n = 500/400, seeds 0, 1, 2"


def test_where_one_is_enough_it_is_the_one_that_holds_best(results):
    fill(results, "A11", (1, -1))
    found = verdict_on(results, "A11")
    assert found.verdict is Verdict.REPRODUCED
    best = max(decisive(found), key=lambda each: each.margin)
    assert best.holds
    assert found.number.startswith(f"{best.what}: {best.value:.3g} [")


def test_without_a_decision_there_is_no_number(results):
    assert (verdict_on(results, "A10").number, verdict_on(results, "A10").data) == ("", "")
    found = filled(results, "A10", GOOD, stand_in=True)
    assert (found.number, found.data) == ("", "")


def test_sources_name_the_runs_that_a_number_came_from(results):
    runs = [f"results/paper/runs/rfm/published/task={task},sigma={sigma},seed={seed}/metrics.parquet"
            for task in ("bars", "noisy-mnist") for sigma in (1, 2) for seed in (0, 1, 7)]  # fmt: skip
    drawn = ["results/paper/runs/draw/published/task=bars,seed=0/arrays.safetensors", "data/mnist/state.json"]
    found = of_table(results, "A10", "fig05", fig05(GOOD), inputs=[*runs, *drawn]).measurements[0]
    # No row has the seed 7.
    own = [run for run in runs if "task=bars,sigma=2" in run and "seed=7" not in run]
    assert found.sources == ("results/paper/figures/published/fig05.parquet", *own, drawn[0])


def test_what_two_tables_show_alike_counts_once(results):
    """Panel B of Figure 3 is a part of Figure 10 where both show the same data set; where they differ, both count."""
    tables = tables_of("A9", GOOD)
    for figure, table in tables.items():
        put(results, figure, table)
    apart = verdict_on(results, "A9").measurements
    again = tables["fig10"].assign(panel="B")
    found = of_table(results, "A9", "fig03", again).measurements
    assert len(found) == len(apart) - 2
    assert sum(each.what.startswith("SVHN") for each in found) == 2
    assert all("fig10" in each.sources[0] for each in found if each.what.startswith("SVHN"))
    found = of_table(results, "A9", "fig03", again.assign(value=again["value"] + 0.01)).measurements
    assert sum(each.what.startswith("SVHN") for each in found) == 4


# What single claims have of their own.


BARS, THEOREM = fig05([1], tasks=("bars",)), made_up.theorem1(GOOD)
MNIST = fig05([1], tasks=("noisy-mnist",))
LOWER = (MNIST["sigma"] == 1.0) & (MNIST["method"] == DEEP)
PAIRED = [
    {"task": "bars", "stand_in": False, "sigma": 2.0, "method": method, "seed": seed, "accuracy": 0.5 + 0.15 * seed + gain}
    for seed in range(3)
    for method, gain in (("CNTK", 0), ("ConvRFM", 0.06 + 0.001 * seed), (DEEP, 0.06), ("CNN (Adam)", 0.06))
]


@pytest.mark.parametrize(
    ("claim", "table", "verdict", "reason"),
    [
        ("A6", made_up.theorem1(GOOD, control=1e-15), "UNKNOWN", "A control does not do what it should"),
        ("A6", THEOREM[THEOREM["kind"] == "theorem"], "PARTIAL", "no case of the kind control"),
        ("A10", BARS[BARS["method"] != DEEP], "PARTIAL", f"no draw has both {DEEP}"),
        # As in the preset quick: kernels have three draws, the network one.
        ("A10", BARS[(BARS["method"] != "CNN (Adam)") | (BARS["seed"] == 0)], "PARTIAL",
         "since there is no interval, as of a single draw, seed or image: Noisy bars: CNN (Adam) over CNTK"),
        # Draws differ by far more than the gain, which is the same in each: only pairing sees it.
        ("A10", pd.DataFrame(PAIRED), "REPRODUCED", "3 of 3"),
        # Bars gain in depth, and do not count; at the lower level noisy MNIST has lost nothing yet.
        ("A11", fig05([1, -1]), "NOT REPRODUCED", "(Noisy MNIST"),
        ("A11", fig05([-1, 1]), "REPRODUCED", "(Noisy MNIST"),
        # One level is enough.
        ("A11", MNIST.assign(accuracy=MNIST["accuracy"].where(~LOWER, 0.2)), "REPRODUCED", "1 of 2"),
        # Tasks with noise belong to Figure 5.
        ("A12", fig06([1] * 5, sigma=1.0), "UNKNOWN", "A decision takes"),
        ("A12", fig06([1] * 4), "UNKNOWN", "4 of at least 5 data sets"),
        ("A13", fig06([1], tasks=("svhn",), step=0.0), "REPRODUCED", "1 of 1"),
        # Stage 1 falls below ConvRFM, which stays above the CNTK: a maximum over layers would still rise.
        ("A13", fig06([1], tasks=("svhn",), step=-0.01), "NOT REPRODUCED", "from 1 to 2 layers that learn: -1 ["),
    ],
)  # fmt: skip
def test_what_single_claims_ask_for(results, claim, table, verdict, reason):
    found = of_table(results, claim, BY_ID[claim].tables[0], table)
    assert found.verdict == verdict, found.reason
    assert reason in found.reason


def test_a1_reports_the_lowest_layer_of_networks_that_the_paper_names(results):
    first = fig01([1])
    lowest = first.iloc[[0]].assign(quantity="lowest_pearson", value=0.85, low=NAN, high=NAN)
    found = of_table(results, "A1", "fig01", both(first, lowest).assign(network="alexnet-v1"))
    assert found.verdict is Verdict.REPRODUCED
    (layer,) = [each for each in found.measurements if "lowest layer" in each.what]
    assert (layer.value, layer.holds, layer.soft) == (0.85, False, True)
    assert not any("lowest" in each.what for each in of_table(results, "A1", "fig01", both(first, lowest)).measurements)


def test_a8_counts_most_eigenvectors_that_have_an_orientation(results):
    table = tables_of("A8", GOOD)["fig12"]
    fill(results, "A8", GOOD)
    for angles, holds in (((5, 5, 40), True), ((5, 40, 40), False), ((15, 15, 40), True), ((14, 16, 16), False)):
        # Vector 1 is constant and does not count.
        for vector, angle in zip((2, 3, 4), angles, strict=True):
            table.loc[(table["eigenvector"] == vector) & (table["quantity"] == "gap"), "value"] = angle
        found = of_table(results, "A8", "fig12", table).measurements
        assert [e.holds for e in found if "median angle" in e.what and "fig12" in e.sources[0]] == [holds]
    two = table[(table["eigenvector"] != 4)]
    found = of_table(results, "A8", "fig12", two.assign(value=two["value"].where(two["quantity"] != "coherence", 0.1)))
    assert found.verdict is Verdict.PARTIAL
    assert "no eigenvector has an orientation" in found.reason


def test_a8_leaves_out_eigenvectors_that_may_be_rounding_noise(results):
    table = tables_of("A8", GOOD)["fig12"]
    noise = (table["quantity"] == "share") & (table["eigenvector"] > 2)
    fill(results, "A8", GOOD)
    for share, vectors in ((0.0011, 3), (0.0009, 1)):
        found = of_table(results, "A8", "fig12", table.assign(value=table["value"].where(~noise, share))).measurements
        assert sum(f"between {vectors} oriented" in e.what for e in found if "fig12" in e.sources[0]) == 1


def test_a9_asks_for_no_more_than_there_is_room_for(results):
    """Where random matrices reach 0.92, nothing can exceed them by 0.1."""
    fill(results, "A9", GOOD)
    table = tables_of("A9", GOOD)["fig04"]
    found = of_table(results, "A9", "fig04", table.assign(pearson=0.99, control=0.92, excess=0.07))
    assert found.verdict is Verdict.REPRODUCED
    assert [each.soft for each in found.measurements if "layer 1" in each.what] == [True]
    found = of_table(results, "A9", "fig04", table.assign(pearson=0.97, control=0.9, excess=0.07))
    assert found.verdict is Verdict.PARTIAL


def test_a10_is_about_five_points_at_the_highest_noise(results):
    """The made-up gains have the opposite sign at the lower level."""
    assert all("sigma = 2" in each.what for each in filled(results, "A10", GOOD).measurements)
    table = fig05(GOOD).assign(accuracy=lambda t: t["accuracy"].where(t["method"] == "CNTK", t["accuracy"] - 0.04))
    found = of_table(results, "A10", "fig05", table)
    # However sure: Deep ConvRFM gains 8 + 3 - 4 points, the others 8 - 4.
    assert all(each.interval[0] > 0 for each in found.measurements)
    assert [each.holds for each in found.measurements] == [False, True, False] * 2


def fixed_draw(table, correct=True):
    """The same accuracies on one draw of 500 images, seen by their test images if `correct`."""
    rows = []
    for row in table[table["seed"] == 0].to_dict("records"):
        there = np.arange(500) < round(500 * row["accuracy"])
        rows.append({**row, "draw": "one", "n_test": 500, "accuracy": there.mean(), **({"correct": there} if correct else {})})
    return pd.DataFrame(rows)


def test_a10_and_a11_take_no_interval_over_test_images(results):
    """Noise is drawn anew by each seed: one draw of it proves nothing, however many images it has."""
    for claim, table in (("A10", fig05(GOOD)), ("A11", fig05([1], tasks=("noisy-mnist",)))):
        put(results, "fig05", fixed_draw(table))
        found = verdict_on(results, claim)
        assert found.verdict is Verdict.UNKNOWN
        assert "since its interval is over test images, and the claim asks for one over draws of the data" in found.reason
        assert "(interval over test images)" in found.reason
        assert {each.over for each in found.measurements if each.interval} == {"test images"}
        put(results, "fig05", table)
        assert {each.over for each in verdict_on(results, claim).measurements if each.interval} == {"draws"}


def test_a12_and_a13_take_the_test_images_of_a_fixed_draw(results):
    put(results, "fig06", fixed_draw(fig06([1] * 5)))
    found = verdict_on(results, "A12")
    assert found.verdict is Verdict.REPRODUCED
    assert all("by intervals over test images" in each.what for each in found.measurements)
    put(results, "fig06", fixed_draw(fig06([1] * 5), correct=False))
    assert verdict_on(results, "A12").verdict is Verdict.UNKNOWN
    put(results, "fig06", fixed_draw(fig06([1], tasks=("svhn",))))
    found = verdict_on(results, "A13")
    assert found.verdict is Verdict.REPRODUCED
    assert found.measurements[0].over == "test images"


def test_three_runs_of_one_draw_exclude_nothing(results):
    """0.8 points in each of three seeds with the same images: their interval had width 0, and lay above 0."""
    rows = []
    for seed in range(3):
        for name, first, count in (("CNTK", 0, 404), ("ConvRFM", 10, 408), ("Deep ConvRFM", 10, 408), ("CNN", 10, 408)):
            correct = (np.arange(500) >= first) & (np.arange(500) < first + count)
            rows += [{"task": task, "stand_in": False, "sigma": NAN, "layers": NAN, "method": name, "seed": seed, "draw": "one", "n_test": 500,
                      "accuracy": correct.mean(), "correct": correct} for task in ("svhn", "cifar10", "gtsrb", "stl10", "dtd")]  # fmt: skip
    put(results, "fig06", pd.DataFrame(rows))
    shares = [each for each in verdict_on(results, "A12").measurements if "share on which" in each.what]
    assert [each.value for each in shares] == [0.0, 0.0]
    put(results, "fig06", pd.DataFrame(rows).assign(draw=lambda table: table["seed"].map(str)))
    shares = [each for each in verdict_on(results, "A12").measurements if "share on which" in each.what]
    assert [each.value for each in shares] == [1.0, 1.0]


def test_a10_reports_sgd_and_is_not_decided_by_it(results):
    table = fig05([1], tasks=("bars",))
    sgd = table[table["method"] == "CNN (Adam)"].assign(method="CNN (SGD)", accuracy=0.1)
    found = of_table(results, "A10", "fig05", both(table, sgd))
    assert found.verdict is Verdict.REPRODUCED
    assert [each.holds for each in found.measurements if each.soft] == [False]


def test_a12_leaves_out_data_sets_whose_training_images_lack_classes(results):
    table = fig06([1] * 6, tasks=("svhn", "cifar10", "gtsrb", "stl10", "dtd", "emnist-letters"))
    lacking = table.assign(unseen_classes=40.0 * (table["task"] == "gtsrb"))
    found = of_table(results, "A12", "fig06", lacking)
    assert found.verdict is Verdict.REPRODUCED
    assert all("5 data sets" in each.what for each in found.measurements)
    found = of_table(results, "A12", "fig06", lacking[lacking["task"] != "dtd"])
    assert found.verdict is Verdict.UNKNOWN
    assert "4 of at least 5 data sets, without GTSRB, whose training images lack classes" in found.reason


@pytest.mark.parametrize(("unclear", "holds"), [(0, False), (1, None)])
def test_a_share_of_a12_fails_only_if_unclear_data_sets_could_not_help(results, unclear, holds):
    """Three of five hold clearly; the other two lose, or one of them gains without a clear interval."""
    table = fig06([1, 1, 1, -1, -1])
    wide = (table["task"] == "dtd") & table["method"].str.contains("ConvRFM") & bool(unclear)
    table.loc[wide, "accuracy"] = 0.61 + 0.1 * (table.loc[wide, "seed"] - 1)
    shares = [each for each in of_table(results, "A12", "fig06", table).measurements if "share on which" in each.what]
    assert [(each.value, each.holds) for each in shares] == [(0.6, holds)] * 2


@pytest.mark.parametrize(("losing", "holds"), [(1, True), (2, False)])
def test_a12_asks_for_four_in_five(results, losing, holds):
    """The network gains on the tasks that lose, or not: then the second condition has nothing against them."""
    table = fig06([1] * (5 - losing) + [-1] * losing)
    lost = list(dict.fromkeys(table["task"]))[5 - losing :]
    no_network = table["task"].isin(lost) & (table["method"] == "CNN")
    found = of_table(results, "A12", "fig06", table.assign(accuracy=table["accuracy"].where(~no_network, 0.55)))
    shares = [each for each in found.measurements if "share on which" in each.what]
    assert [each.value for each in shares] == [1 - losing / 5] * 2
    assert [each.holds for each in shares] == [holds] * 2


def test_a15_reads_the_table_of_the_benchmark(results):
    project, claim = results.parents[1], "A15"
    assert verdict_on(results, claim).verdict is Verdict.UNKNOWN
    assert "python benchmarks/cost.py" in verdict_on(results, claim).command
    for signs, verdict in (((1, 1, 1), Verdict.REPRODUCED), ((1, -1, 1), Verdict.PARTIAL), ((-1,) * 3, Verdict.NOT_REPRODUCED)):
        made_up.put_cost(project, made_up.cost(signs))
        assert verdict_on(results, claim).verdict is verdict
    made_up.put_cost(project, made_up.cost((1, 1, 1), value=NAN))
    assert verdict_on(results, claim).verdict is Verdict.UNKNOWN
    path = made_up.put_cost(project, made_up.cost((1, 1, 1)).drop(columns="ratio"))
    assert "lacks ratio (numbers)" in verdict_on(results, claim).reason
    path.write_bytes(b"\x80\x81")
    write_cost_record(cost_recorder(project, {}), project)
    assert "cannot be read" in verdict_on(results, claim).reason


def test_a15_reads_no_table_without_a_sound_record(results):
    """Each forgery of the table or its record leaves the claim undecided, and is a finding."""
    project = results.parents[1]
    path = made_up.put_cost(project, made_up.cost((1, 1, 1)))
    record = path.with_suffix(".json")
    written = record.read_text()
    assert cost_trouble(project) is None
    assert verdict_on(results, "A15").verdict is Verdict.REPRODUCED

    def undecided(state):
        found = verdict_on(results, "A15")
        assert found.verdict is Verdict.UNKNOWN
        assert f"benchmarks/cost.csv is {state}" in found.reason
        assert cost_trouble(project)[0] == state

    path.write_text(path.read_text().replace("20.0", "30.0"))
    undecided("tampered")
    path = made_up.put_cost(project, made_up.cost((1, 1, 1)))
    record.write_text(record.read_text().replace("benchmarks/cost.py", "benchmarks/coat.py"))
    undecided("tampered")
    record.write_text("[]")
    undecided("tampered")
    record.unlink()
    undecided("orphaned")
    record.write_text(written)
    (project / "benchmarks/cost.py").write_text("pass")
    undecided("stale")


def test_printed_runs_are_claims_of_their_own(results):
    names = list(PRINTED)
    table = both(made_up.printed(1, names[0]), made_up.printed(-1, names[1]))
    put(results, "printed", table, skipped={names[2]: REASON})
    verdicts = [verdict_on(results, f"P-{name}", preset="workstation").verdict for name in names]
    assert verdicts == [Verdict.REPRODUCED, Verdict.NOT_REPRODUCED, Verdict.SKIPPED]
    # A tolerance that somebody has written into the table changes nothing.
    put(results, "printed", table.assign(tolerance=100.0))
    assert verdict_on(results, f"P-{names[1]}", preset="workstation").verdict is Verdict.NOT_REPRODUCED


# Damaged results.


def test_scope_is_named_where_a_part_is_skipped(results):
    skipped = {"noisy-mnist": "MNIST is absent."}
    found = of_table(results, "A10", "fig05", fig05([1], tasks=("bars",)), skipped=skipped)
    assert found.verdict is Verdict.REPRODUCED
    assert "(Noisy bars: sigma = 2," in found.reason
    assert "Skipped, noisy-mnist: MNIST is absent." in found.reason
    # What another claim does not speak of is not its business.
    assert verdict_on(results, "A11").verdict is Verdict.SKIPPED


@pytest.mark.parametrize(("signs", "verdict"), [(GOOD, Verdict.PARTIAL), (BAD, Verdict.UNKNOWN)])
def test_a_figure_that_is_missing_takes_something_from_the_verdict(results, signs, verdict):
    fill(results, "A9", signs)
    (results / PUBLISHED / "fig04.parquet").unlink()
    found = verdict_on(results, "A9")
    assert found.verdict is verdict
    assert "The table of fig04 has not been built" in found.reason


def damage(path, rng):
    """Ways to spoil a table; each gives a name."""
    table = pd.read_parquet(path)
    column = rng.choice(list(table.columns))
    yield "no parquet", lambda: path.write_bytes(b"garbage")
    yield "cut", lambda: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    yield "empty file", lambda: path.write_bytes(b"")
    yield "no rows", lambda: table.iloc[:0].to_parquet(path)
    yield "column gone", lambda: table.drop(columns=column).to_parquet(path)
    yield "words for numbers", lambda: table.astype(str).to_parquet(path)
    yield "numbers for words", lambda: table.assign(**dict.fromkeys(table, 1.0)).to_parquet(path)
    yield "another table", lambda: pd.DataFrame({"a": [1]}).to_parquet(path)
    yield "rows twice", lambda: both(table, table).to_parquet(path)
    yield "rows gone", lambda: table.sample(frac=0.4, random_state=1).to_parquet(path)
    yield "infinite", lambda: table.assign(**dict.fromkeys(table.select_dtypes("float"), np.inf)).to_parquet(path)
    yield "list in a cell", lambda: table.assign(**{column: [[1]] * len(table)}).to_parquet(path)
    unknown = {name: "letters" for name in ("task", "dataset", "source", "network") if name in table}
    yield "names nobody knows", lambda: table.assign(stand_in=True, **unknown).to_parquet(path)
    yield "a folder", lambda: (path.unlink(), path.mkdir())


MAY_BE_WHOLE = ("rows twice", "rows gone", "column gone", "list in a cell", "names nobody knows")
"""These may leave a whole table: of fewer rows, or without what the claim does not need, such as names."""


@pytest.mark.parametrize(
    ("claim", "figure"), [(claim, BY_ID[claim].tables[0]) for claim in CLAIMS] + [("A9", "fig04"), ("A14", "fig07")]
)
def test_damaged_tables_give_no_verdict_and_no_crash(results, claim, figure, rng):
    fill(results, claim, GOOD)
    whole = results.with_name("whole")
    shutil.copytree(results, whole)
    for name, spoil in damage(results / PUBLISHED / f"{figure}.parquet", rng):
        spoil()
        found = verdict_on(results, claim)
        assert found.reason, name
        assert name in MAY_BE_WHOLE or found.verdict in (Verdict.UNKNOWN, Verdict.PARTIAL), (name, found.reason)
        shutil.rmtree(results)
        shutil.copytree(whole, results)


@pytest.mark.parametrize("record", [None, "", "[]", '{"inputs": 3}', '{"inputs": {"a": {}}}', '{"skipped": "all"}', "\ud800"])
def test_a_table_without_a_sound_record_is_not_taken_at_its_word(results, record):
    fill(results, "A10", GOOD)
    path = results / PUBLISHED / "fig05.json"
    path.unlink() if record is None else path.write_bytes(record.encode(errors="surrogatepass"))
    found = verdict_on(results, "A10")
    assert found.verdict is Verdict.PARTIAL
    assert "fig05.json is missing or no record" in found.reason


def test_rows_of_another_protocol_are_not_taken(results):
    fill(results, "A10", GOOD)
    put(results, "fig05", fig05(GOOD), protocol="corrected")
    folder = results / "figures"
    shutil.copy(folder / "published/fig05.parquet", folder / "corrected/fig05.parquet")
    found = verdict_on(results, "A10", "corrected")
    assert found.verdict is Verdict.UNKNOWN
    assert "holds rows of the protocol published" in found.reason


CIFAR10 = {"names": ("resnet20", "resnet56"), "source": "cifar10"}


@pytest.mark.parametrize("claim", ["A1", "A2", "A3", "A7"])
def test_networks_beyond_the_papers_list_decide_nothing_of_its_claims(results, claim):
    """They would refute it, they would confirm it, and they are skipped: nothing of that is a word on ImageNet's networks."""
    (figure,) = BY_ID[claim].tables

    def of_cifar10(signs):
        names = {"vgg11-v1": "resnet20-cifar10", "resnet18-v1": "resnet56-cifar10"}
        table = tables_of(claim, signs)[figure]
        return table.assign(network=table["network"].replace(names))

    own = tables_of(claim, GOOD)[figure]
    alone = of_table(results, claim, figure, own)
    assert alone.verdict is Verdict.REPRODUCED
    skipped = {"resnet20-cifar10": REASON}
    together = of_table(results, claim, figure, both(own, of_cifar10(BAD)), skipped=skipped)
    assert together == alone
    # The control: of networks of ImageNet the same numbers count.
    assert of_table(results, claim, figure, both(own, tables_of(claim, BAD)[figure])) != alone
    for signs in (GOOD, BAD):
        found = of_table(results, claim, figure, of_cifar10(signs), skipped=skipped)
        assert found.verdict is Verdict.UNKNOWN
        assert found.measurements == ()
    assert of_table(results, claim, figure, of_cifar10(GOOD), skipped={"vgg11-v1": REASON}).verdict is Verdict.SKIPPED


def test_the_papers_networks_decide_nothing_of_those_beyond_its_list(results):
    alone = of_table(results, "A16", "fig01", fig01(GOOD, **CIFAR10))
    assert alone.verdict is Verdict.REPRODUCED
    assert "4 of 4 measurements on networks beyond the paper's list hold" in alone.reason
    assert of_table(results, "A16", "fig01", both(fig01(GOOD, **CIFAR10), fig01(BAD))) == alone
    assert of_table(results, "A16", "fig01", fig01(BAD, **CIFAR10)).verdict is Verdict.NOT_REPRODUCED
    for quantity in ("gain_over_initial", "gain_over_null"):
        table = fig01(GOOD, **CIFAR10)
        chosen = table["quantity"] == quantity
        table.loc[chosen, "low"] = -0.01
        assert of_table(results, "A16", "fig01", table).verdict is Verdict.PARTIAL


def test_claims_on_networks_name_those_whose_weights_are_known():
    of_imagenet = [entry.name for entry in WEIGHTS]
    assert all(BY_ID[claim].of == of_imagenet for claim in ("A1", "A2", "A3", "A7"))
    assert BY_ID["A16"].of == [entry.name for entry in CIFAR_WEIGHTS]
