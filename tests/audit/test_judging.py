"""Verdicts on made-up tables: every verdict of every claim, at their boundaries and on damaged results."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from audit import made_up
from audit.made_up import CLAIMS, DEEP, NAN, both, fig01, fig05, fig06, put, put_skipped, tables_of
from convrfm.audit.claims import Condition, load_claims
from convrfm.audit.evidence import Bench, Reading
from convrfm.audit.judges import all_judges
from convrfm.audit.judging import judge, judge_claim, measured
from convrfm.audit.outcome import Verdict
from convrfm.printed import PRINTED

GOOD, BAD = (1, 1), (-1, -1)
BY_ID = {claim.id: claim for claim in load_claims()}
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
    return judge_claim(BY_ID[claim], all_judges()[claim], Bench(results, protocol), preset)


def decisive(judgement):
    """Measurements that decide."""
    return [each for each in judgement.measurements if each.comparable and not each.soft]


@pytest.mark.parametrize("claim", CLAIMS)
def test_reproduced(results, claim):
    fill(results, claim, GOOD)
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.REPRODUCED, found.reason
    assert all(each.holds and each.margin >= 0 for each in decisive(found))
    assert all(each.sources[0].startswith("results/paper/figures/published/") for each in found.measurements)


@pytest.mark.parametrize("claim", CLAIMS)
def test_not_reproduced(results, claim):
    fill(results, claim, BAD)
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.NOT_REPRODUCED, found.reason
    of_controls = [each for each in decisive(found) if "control" in each.what]
    assert all(not each.holds and each.margin <= 0 for each in decisive(found) if each not in of_controls)
    assert "furthest" in found.reason


# A11 asks for one case, and the few measurements of A12 are shares of all tasks.
@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim not in ("A11", "A12")])
def test_partial(results, claim):
    fill(results, claim, (1, -1))
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.PARTIAL, found.reason
    assert {each.holds for each in decisive(found)} == {True, False}


@pytest.mark.parametrize(
    "claim", [claim for claim in CLAIMS if claim not in ("A6", *(f"P-{name}" for name in PRINTED))]
)
@pytest.mark.parametrize("signs", [GOOD, BAD])
def test_stand_ins_are_not_comparable(results, claim, signs):
    fill(results, claim, signs, stand_in=True)
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.NOT_COMPARABLE, found.reason
    assert found.measurements
    assert not any(each.comparable for each in found.measurements)
    # The numbers are shown all the same.
    assert any(each.value is not None for each in found.measurements)


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.startswith("A") and claim not in ("A6", "A11")])
def test_stand_ins_never_mix_into_a_verdict(results, claim):
    """A claim that fails on the paper's data is not saved by stand-ins, nor the reverse."""
    for signs, others, verdict in ((GOOD, BAD, Verdict.REPRODUCED), (BAD, GOOD, Verdict.NOT_REPRODUCED)):
        real, standing = tables_of(claim, signs), tables_of(claim, others, stand_in=True)
        for figure, table in real.items():
            put(results, figure, both(table, standing[figure]))
        found = verdict_on(results, claim)
        assert found.verdict is verdict, found.reason
        assert "on stand-in data are not comparable and do not count" in found.reason


@pytest.mark.parametrize("claim", CLAIMS)
def test_nothing_built(results, claim):
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.UNKNOWN
    assert not found.measurements
    assert "has not been built" in found.reason
    assert f"A decision takes {BY_ID[claim].needs}" in found.reason


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim != "A6"])
def test_absent_data(results, claim):
    part = claim.removeprefix("P-") if claim.startswith("P-") else (BY_ID[claim].of or ["svhn"])[-1]
    for figure in BY_ID[claim].tables:
        put_skipped(results, figure, {part: REASON})
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.SKIPPED, found.reason
    assert REASON.rstrip(".") in found.reason


@pytest.mark.parametrize("claim", ["A1", "A2", "A3", "A4", "A5", "A7", "A10", "A11", "A12"])
def test_without_an_interval_nothing_is_decided(results, claim):
    """A single draw, a network or an image without an interval, too few data sets."""
    fill(results, claim, GOOD, single=True)
    found = verdict_on(results, claim)
    # Accuracies of A4 need no interval.
    assert found.verdict is (Verdict.PARTIAL if claim == "A4" else Verdict.UNKNOWN), found.reason
    assert any(each.holds is None and each.margin is None for each in decisive(found))
    assert "not decided, since" in found.reason
    assert "A decision takes" in found.reason


@pytest.mark.parametrize("claim", CLAIMS)
def test_missing_numbers_decide_nothing(results, claim):
    fill(results, claim, GOOD, value=NAN)
    found = verdict_on(results, claim)
    assert found.verdict is Verdict.UNKNOWN, found.reason
    assert not any(each.holds for each in decisive(found) if "control" not in each.what)


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
    put(results, figure, table)
    found = verdict_on(results, claim)
    assert found.verdict in (Verdict.PARTIAL, Verdict.UNKNOWN), found.reason


@pytest.mark.parametrize("claim", ["A1", "A4", "A8", "A10", "A13"])
def test_each_protocol_by_itself(results, claim):
    fill(results, claim, GOOD)
    fill(results, claim, BAD, protocol="corrected")
    assert verdict_on(results, claim).verdict is Verdict.REPRODUCED
    found = verdict_on(results, claim, "corrected")
    assert found.verdict is Verdict.NOT_REPRODUCED
    assert found.protocol == "corrected"
    assert "protocol=corrected" in found.command
    assert all("/corrected/" in each.sources[0] for each in found.measurements)


def test_no_claim_is_absent_and_the_order_is_that_of_the_claims(results):
    found = judge(results, "paper", ["published", "corrected"])
    assert list(dict.fromkeys(each.claim for each in found)) == list(BY_ID)
    assert {each.verdict for each in found} == {Verdict.UNKNOWN}
    protocols = {name: [each.protocol for each in found if each.claim == name] for name in BY_ID}
    assert protocols["A10"] == ["published", "corrected"]
    assert protocols["A6"] == protocols["A15"] == [None]
    assert protocols["P-svhn-1000"] == ["published"]
    # The printed numbers are there even if only the other protocol is asked for.
    only = judge(results, "paper", ["corrected"])
    assert [each.protocol for each in only if each.claim == "P-svhn-1000"] == ["published"]


def test_theorem_1_is_found_under_either_protocol(results):
    fill(results, "A6", GOOD, protocol="corrected")
    verdicts = {each.claim: each.verdict for each in judge(results, "paper", ["published", "corrected"])}
    assert verdicts["A6"] is Verdict.REPRODUCED


def test_judging_changes_nothing(results):
    for claim in CLAIMS:
        if not claim.startswith("P-"):
            fill(results, claim, GOOD)

    def state():
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in results.rglob("*") if path.is_file()}

    before = state()
    first = judge(results, "paper", ["published"])
    assert state() == before
    assert judge(results, "paper", ["published"]) == first


# Boundaries of conditions.


def read(value, low=None, high=None, **options):
    interval = None if low is None else (low, high)
    return Reading("x", "here", "something", value, interval, True, ("a",), **options)


@pytest.mark.parametrize(
    ("condition", "reading", "holds", "margin"),
    [
        ({"relation": "above", "bound": 0.0, "clear": True}, read(0.1, 0.001, 0.2), True, 0.001),
        # An interval that touches 0 does not exclude it.
        ({"relation": "above", "bound": 0.0, "clear": True}, read(0.1, 0.0, 0.2), False, 0.0),
        ({"relation": "above", "bound": 0.0, "clear": True}, read(0.1, 1e-15, 0.2), False, 0.0),
        ({"relation": "above", "bound": 0.0, "clear": True}, read(0.1, -0.001, 0.2), False, -0.001),
        ({"relation": "at least", "bound": 5.0, "clear": True}, read(5.0, 1.0, 9.0), True, 0.0),
        ({"relation": "at least", "bound": 5.0, "clear": True}, read(4.999, 4.0, 6.0), False, -0.001),
        ({"relation": "at least", "bound": 5.0, "clear": True}, read(7.0, -1.0, 15.0), False, -1.0),
        ({"relation": "at least", "bound": 5.0, "clear": True}, read(7.0), None, None),
        # A mean of equal numbers may differ from them by rounding.
        ({"relation": "at least", "bound": 0.0}, read(-1e-16), True, 0.0),
        ({"relation": "at least", "bound": 0.0}, read(-1e-6), False, -1e-6),
        ({"relation": "above", "bound": 0.7}, read(0.7), False, 0.0),
        ({"relation": "at most", "bound": 1e-9}, read(1e-9), True, 0.0),
        ({"relation": "at most", "bound": 1e-9}, read(1.1e-9), False, -1e-10),
        ({"relation": "within", "bound": 1.0}, read(-1.0), True, 0.0),
        ({"relation": "within", "bound": 1.0}, read(-1.01), False, -0.01),
        ({"relation": "within", "bound": "printed"}, read(0.5, bound=0.4), False, -0.1),
        ({"relation": "within", "bound": "printed"}, read(0.5), None, None),
        ({"relation": "at least", "bound": 0.0}, read(NAN), None, None),
        ({"relation": "at least", "bound": 0.0}, read(np.inf), None, None),
        ({"relation": "at least", "bound": 0.0}, read(1.0, gap="too few"), None, None),
    ],
)
def test_boundaries(condition, reading, holds, margin):
    found, gap = measured(Condition(quantity="q", **condition), reading)
    assert found.holds is holds
    assert found.margin == (None if margin is None else pytest.approx(margin, abs=1e-12))
    assert bool(gap) == (holds is None and condition["bound"] != "printed")
    assert found.value is None or np.isfinite(found.value)


@pytest.mark.parametrize(("claim", "condition"), [("A10", "gain"), ("A7", "excess"), ("A9", "excess"), ("A13", "step")])
def test_bounds_come_from_the_claims_and_not_from_code(results, claim, condition):
    fill(results, claim, GOOD)
    own = BY_ID[claim]
    harder = own.conditions[condition].model_copy(update={"bound": 50.0})
    other = own.model_copy(update={"conditions": {**own.conditions, condition: harder}})
    found = judge_claim(other, all_judges()[claim], Bench(results, "published"), "paper")
    assert found.verdict is Verdict.NOT_REPRODUCED
    assert "50" in found.measurements[0].required


# What single claims have of their own.


def test_a10_is_about_the_highest_noise_alone(results):
    """The made-up gains have the opposite sign at the lower level."""
    fill(results, "A10", GOOD)
    assert all("sigma = 2" in each.what for each in verdict_on(results, "A10").measurements)


def test_a10_takes_no_gain_below_five_points_however_sure(results):
    table = fig05(GOOD).assign(accuracy=lambda t: t["accuracy"].where(t["method"] == "CNTK", t["accuracy"] - 0.04))
    put(results, "fig05", table)
    found = verdict_on(results, "A10")
    assert all(each.interval[0] > 0 for each in found.measurements)
    # Deep ConvRFM gains 8 + 3 - 4 points, the others 8 - 4.
    assert [each.holds for each in found.measurements] == [False, True, False] * 2


def test_a10_asks_for_every_method(results):
    table = fig05([1], tasks=("bars",))
    put(results, "fig05", table[table["method"] != DEEP])
    found = verdict_on(results, "A10")
    assert found.verdict is Verdict.PARTIAL
    assert f"there are none: Noisy bars: {DEEP} over CNTK" in found.reason or f"no draw has both {DEEP}" in found.reason


def test_a10_with_one_seed_of_the_networks(results):
    """As in the preset quick: kernels have three draws, the network one."""
    table = fig05([1], tasks=("bars",))
    put(results, "fig05", table[(table["method"] != "CNN (Adam)") | (table["seed"] == 0)])
    found = verdict_on(results, "A10")
    assert found.verdict is Verdict.PARTIAL
    assert "since a single draw has no interval: Noisy bars: CNN (Adam) over CNTK" in found.reason
    assert "cnn.seeds" in found.reason


def fixed_draw(table, correct=True):
    """The same accuracies on one draw of 500 images, seen by their test images if `correct`."""
    rows = []
    for row in table[table["seed"] == 0].to_dict("records"):
        there = np.arange(500) < round(500 * row["accuracy"])
        rows.append({**row, "draw": "one", "accuracy": there.mean(), **({"correct": there} if correct else {})})
    return pd.DataFrame(rows)


def test_a10_and_a11_take_no_interval_over_test_images(results):
    """Noise is drawn anew by each seed: one draw of it proves nothing, however many images it has."""
    for claim, table in (("A10", fig05(GOOD)), ("A11", fig05([1], tasks=("noisy-mnist",)))):
        put(results, "fig05", fixed_draw(table))
        found = verdict_on(results, claim)
        assert found.verdict is Verdict.UNKNOWN
        assert (
            "since its interval is over test images, and the claim asks for one over draws of the data" in found.reason
        )
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
            rows += [{"task": task, "stand_in": False, "sigma": NAN, "layers": NAN, "method": name, "seed": seed, "draw": "one",
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
    put(results, "fig05", both(table, sgd))
    found = verdict_on(results, "A10")
    assert found.verdict is Verdict.REPRODUCED
    (soft,) = [each for each in found.measurements if each.soft]
    assert soft.holds is False


def test_a10_pairs_by_seed(results):
    """Draws differ by far more than the gain, which is the same in each: only pairing sees it."""
    rows = [
        {
            "task": "bars",
            "stand_in": False,
            "sigma": 2.0,
            "method": method,
            "seed": seed,
            "accuracy": 0.5 + 0.15 * seed + gain,
        }
        for seed in range(3)
        for method, gain in (("CNTK", 0), ("ConvRFM", 0.06 + 0.001 * seed), (DEEP, 0.06), ("CNN (Adam)", 0.06))
    ]
    put(results, "fig05", pd.DataFrame(rows))
    assert verdict_on(results, "A10").verdict is Verdict.REPRODUCED


def test_a11_is_about_noisy_mnist_alone_and_one_level_is_enough(results):
    put(results, "fig05", fig05([1, -1]))
    # Bars gain in depth, and do not count; at the lower level noisy MNIST has lost nothing yet.
    assert verdict_on(results, "A11").verdict is Verdict.NOT_REPRODUCED
    put(results, "fig05", fig05([-1, 1]))
    assert verdict_on(results, "A11").verdict is Verdict.REPRODUCED
    mixed = fig05([1], tasks=("noisy-mnist",))
    lower = (mixed["sigma"] == 1.0) & (mixed["method"] == DEEP)
    put(results, "fig05", mixed.assign(accuracy=mixed["accuracy"].where(~lower, 0.2)))
    found = verdict_on(results, "A11")
    assert {each.holds for each in decisive(found)} == {True, False}
    assert found.verdict is Verdict.REPRODUCED


@pytest.mark.parametrize(("losing", "verdict"), [(1, Verdict.REPRODUCED), (2, Verdict.NOT_REPRODUCED)])
def test_a12_asks_for_four_in_five(results, losing, verdict):
    """The network gains on the tasks that lose, or not: then the second condition has nothing against them."""
    table = fig06([1] * (5 - losing) + [-1] * losing)
    lost = list(dict.fromkeys(table["task"]))[5 - losing :]
    no_network = table["task"].isin(lost) & (table["method"] == "CNN")
    put(results, "fig06", table.assign(accuracy=table["accuracy"].where(~no_network, 0.55)))
    shares = [each for each in verdict_on(results, "A12").measurements if "share on which" in each.what]
    assert [each.value for each in shares] == [1 - losing / 5] * 2
    assert [each.holds for each in shares] == [verdict is Verdict.REPRODUCED] * 2


def test_a12_leaves_tasks_with_noise_to_figure_5_and_asks_for_five_data_sets(results):
    put(results, "fig06", fig06([1] * 5, sigma=1.0))
    assert verdict_on(results, "A12").verdict is Verdict.UNKNOWN
    put(results, "fig06", fig06([1] * 4))
    found = verdict_on(results, "A12")
    assert found.verdict is Verdict.UNKNOWN
    assert "4 of at least 5 data sets" in found.reason


def test_a13_takes_an_equal_step_and_no_maximum(results):
    put(results, "fig06", fig06([1], tasks=("svhn",), step=0.0))
    assert verdict_on(results, "A13").verdict is Verdict.REPRODUCED
    # Stage 1 falls below ConvRFM, which stays above the CNTK: a maximum over layers would still rise.
    put(results, "fig06", fig06([1], tasks=("svhn",), step=-0.01))
    found = verdict_on(results, "A13")
    assert found.verdict is Verdict.NOT_REPRODUCED
    assert found.measurements[0].value == pytest.approx(-1)


def test_a6_is_worth_nothing_if_its_controls_hold(results):
    put(results, "theorem1", made_up.theorem1(GOOD, control=1e-15))
    found = verdict_on(results, "A6")
    assert found.verdict is Verdict.UNKNOWN
    assert "A control does not do what it should" in found.reason
    table = made_up.theorem1(GOOD)
    put(results, "theorem1", table[table["kind"] == "theorem"])
    assert verdict_on(results, "A6").verdict is Verdict.PARTIAL


def test_a8_counts_most_eigenvectors_that_have_an_orientation(results):
    fill(results, "A8", GOOD)
    table = pd.read_parquet(results / "figures/published/fig12.parquet")
    for angles, holds in (((5, 5, 40), True), ((5, 40, 40), False), ((15, 15, 40), True), ((14, 16, 16), False)):
        # Vector 1 is constant and does not count.
        for vector, angle in zip((2, 3, 4), angles, strict=True):
            table.loc[(table["eigenvector"] == vector) & (table["quantity"] == "gap"), "value"] = angle
        put(results, "fig12", table)
        (found,) = [
            each
            for each in verdict_on(results, "A8").measurements
            if "median angle" in each.what and "fig12" in each.what
        ]
        assert found.holds is holds
    two = table[(table["eigenvector"] != 4)]
    put(results, "fig12", two.assign(value=two["value"].where(two["quantity"] != "coherence", 0.1)))
    found = verdict_on(results, "A8")
    assert found.verdict is Verdict.PARTIAL
    assert "no eigenvector has an orientation" in found.reason


def test_a15_reads_the_table_of_the_benchmark(results):
    folder = results.parents[1] / "benchmarks"
    folder.mkdir()
    claim = "A15"
    assert verdict_on(results, claim).verdict is Verdict.UNKNOWN
    assert "python benchmarks/cost.py" in verdict_on(results, claim).command
    for signs, verdict in (
        ((1, 1, 1), Verdict.REPRODUCED),
        ((1, -1, 1), Verdict.PARTIAL),
        ((-1,) * 3, Verdict.NOT_REPRODUCED),
    ):
        made_up.cost(signs).to_csv(folder / "cost.csv", index=False)
        assert verdict_on(results, claim).verdict is verdict
    made_up.cost((1, 1, 1), value=NAN).to_csv(folder / "cost.csv", index=False)
    assert verdict_on(results, claim).verdict is Verdict.UNKNOWN
    made_up.cost((1, 1, 1)).drop(columns="ratio").to_csv(folder / "cost.csv", index=False)
    assert "lacks columns" in verdict_on(results, claim).reason
    (folder / "cost.csv").write_bytes(b"\x80\x81")
    assert "cannot be read" in verdict_on(results, claim).reason


def test_printed_runs_are_claims_of_their_own(results):
    names = list(PRINTED)
    table = both(made_up.printed(1, names[0]), made_up.printed(-1, names[1]))
    put(results, "printed", table, skipped={names[2]: REASON})
    verdicts = [verdict_on(results, f"P-{name}", preset="anchors").verdict for name in names]
    assert verdicts == [Verdict.REPRODUCED, Verdict.NOT_REPRODUCED, Verdict.SKIPPED]
    # A tolerance that somebody has written into the table changes nothing.
    put(results, "printed", table.assign(tolerance=100.0))
    assert verdict_on(results, f"P-{names[1]}", preset="anchors").verdict is Verdict.NOT_REPRODUCED


# Damaged results.


def test_scope_is_named_where_a_part_is_skipped(results):
    put(results, "fig05", fig05([1], tasks=("bars",)), skipped={"noisy-mnist": "MNIST is absent."})
    found = verdict_on(results, "A10")
    assert found.verdict is Verdict.REPRODUCED
    assert "(Noisy bars)" in found.reason
    assert "Skipped, noisy-mnist: MNIST is absent." in found.reason
    # What another claim does not speak of is not its business.
    assert verdict_on(results, "A11").verdict is Verdict.SKIPPED


def test_a_figure_that_is_missing_takes_something_from_the_verdict(results):
    fill(results, "A9", GOOD)
    (results / "figures/published/fig04.parquet").unlink()
    found = verdict_on(results, "A9")
    assert found.verdict is Verdict.PARTIAL
    assert "The table of fig04 has not been built" in found.reason
    fill(results, "A9", BAD)
    (results / "figures/published/fig04.parquet").unlink()
    assert verdict_on(results, "A9").verdict is Verdict.UNKNOWN


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


@pytest.mark.parametrize(
    ("claim", "figure"), [(claim, BY_ID[claim].tables[0]) for claim in CLAIMS] + [("A9", "fig04"), ("A14", "fig07")]
)
def test_damaged_tables_give_no_verdict_and_no_crash(results, claim, figure, rng):
    fill(results, claim, GOOD)
    whole = results.with_name("whole")
    shutil.copytree(results, whole)
    for name, spoil in damage(results / "figures/published" / f"{figure}.parquet", rng):
        spoil()
        found = verdict_on(results, claim)
        assert found.reason, name
        # These may leave a whole table: of fewer rows, or without what the claim does not need, such as names.
        if name not in ("rows twice", "rows gone", "column gone", "list in a cell", "names nobody knows"):
            assert found.verdict in (Verdict.UNKNOWN, Verdict.PARTIAL), (name, found.reason)
        shutil.rmtree(results)
        shutil.copytree(whole, results)


@pytest.mark.parametrize(
    "record", [None, "", "[]", '{"inputs": 3}', '{"inputs": {"a": {}}}', '{"skipped": "all"}', "\ud800"]
)
def test_a_table_without_a_sound_record_is_not_taken_at_its_word(results, record):
    fill(results, "A10", GOOD)
    path = results / "figures/published/fig05.json"
    path.unlink() if record is None else path.write_bytes(record.encode(errors="surrogatepass"))
    found = verdict_on(results, "A10")
    assert found.verdict is Verdict.PARTIAL
    assert "is not there or no record" in found.reason


def test_rows_of_another_protocol_are_not_taken(results):
    fill(results, "A10", GOOD)
    put(results, "fig05", fig05(GOOD), protocol="corrected")
    folder = results / "figures"
    shutil.copy(folder / "published/fig05.parquet", folder / "corrected/fig05.parquet")
    found = verdict_on(results, "A10", "corrected")
    assert found.verdict is Verdict.UNKNOWN
    assert "holds rows of the protocol published" in found.reason


def test_sources_name_the_runs_that_a_number_came_from(results):
    runs = [f"results/paper/runs/rfm/published/task={task},sigma={sigma},seed={seed}/metrics.parquet"
            for task in ("bars", "noisy-mnist") for sigma in (1, 2) for seed in (0, 1)]  # fmt: skip
    drawn = ["results/paper/runs/draw/published/task=bars,seed=0/arrays.safetensors", "data/mnist/state.json"]
    put(results, "fig05", fig05(GOOD), inputs=[*runs, *drawn])
    found = verdict_on(results, "A10").measurements[0]
    assert found.sources == (
        "results/paper/figures/published/fig05.parquet", *(run for run in runs if "task=bars,sigma=2" in run)
    )  # fmt: skip


def test_a_judgement_is_plain_data(results):
    for claim in CLAIMS:
        fill(results, claim, GOOD) if not claim.startswith("P-") else None
    from convrfm.audit.outcome import Audit

    judgements = judge(results, "paper", ["published"])
    text = json.dumps(Audit("paper", "results/paper", judgements, (), (), {}, 0).as_json(), allow_nan=False)
    assert len(json.loads(text)["judgements"]) == len(judgements)


def test_a1_reports_the_lowest_layer_of_networks_that_the_paper_names(results):
    first = fig01([1]).assign(network="alexnet-v1")
    put(results, "fig01", first)
    seven = made_up.fig07([1]).assign(network="alexnet-v1")
    layers = [
        seven.iloc[[0]].assign(layer=name, quantity="pearson", value=value)
        for name, value in (("a", 0.95), ("b", 0.85))
    ]
    put(results, "fig07", pd.concat([seven, *layers], ignore_index=True))
    found = verdict_on(results, "A1")
    assert found.verdict is Verdict.REPRODUCED
    (lowest,) = [each for each in found.measurements if "lowest layer" in each.what]
    assert (lowest.value, lowest.holds, lowest.soft) == (0.85, False, True)
