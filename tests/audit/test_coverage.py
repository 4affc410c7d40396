"""Which runs are drawn, and the probability that a forgery is among them."""

from itertools import combinations
from types import SimpleNamespace

import pytest

from audit.outcomes import judgement, measurement
from convrfm.replication.audit.outcome import Replay, Result
from convrfm.replication.audit.records import Product
from convrfm.replication.audit.replay import Choice, choose, coverage_of

PREFIX = "results/quick"


def product(kind: str, number: int, inputs=(), *, is_figure: bool = False) -> Product:
    place = f"{PREFIX}/figures/published/{kind}" if is_figure else f"{PREFIX}/runs/{kind}/published/seed={number}"
    files = {"parquet": f"{place}.parquet"} if is_figure else {"metrics": f"{place}/metrics.parquet"}
    record = SimpleNamespace(inputs={str(i): SimpleNamespace(path=path) for i, path in enumerate(inputs)})
    return Product(f"{place}.json" if is_figure else f"{place}/record.json", kind, is_figure, {}, files, record)


DRAWS = [product("draw", seed) for seed in range(3)]
FITS = [product("rfm", seed, DRAWS[seed % 3].files.values()) for seed in range(20)]
NETWORKS = [product("cnn", seed, DRAWS[seed % 3].files.values()) for seed in range(5)]
FIVE = product("fig05", 0, [file for run in (*FITS, *NETWORKS) for file in run.files.values()], is_figure=True)
SIX = product("fig06", 0, [file for run in FITS for file in run.files.values()], is_figure=True)
ALL = [*DRAWS, *FITS, *NETWORKS, FIVE, SIX]
TEN = judgement(claim="A10", measurements=(measurement(sources=(FIVE.files["parquet"],)),))
TWELVE = judgement(claim="A12", measurements=(measurement(sources=(SIX.files["parquet"],)),))


def chosen(choice: Choice, root: str = "00", sound=ALL) -> list[str]:
    return [each.name for each in choose(choice, [TEN, TWELVE], ALL, sound, root)]


def of_kind(names, kind):
    return [name for name in names if f"/{kind}/" in name]


def test_draws_and_figures_always():
    assert chosen(Choice()) == sorted(each.name for each in (*DRAWS, FIVE, SIX))


def test_all_and_single_claims():
    assert len(chosen(Choice(None))) == len(ALL)
    assert len(chosen(Choice(claims=("A10",)))) == len(ALL)
    assert len(of_kind(chosen(Choice(claims=("A12",))), "rfm")) == len(FITS)
    assert of_kind(chosen(Choice(claims=("A12",))), "cnn") == []


def test_so_many_of_each_claim_which_share_runs_where_they_can():
    for number in (1, 3, 7):
        drawn = [name for name in chosen(Choice(number)) if name not in chosen(Choice())]
        assert number <= len(drawn) <= 2 * number
        assert len(of_kind(drawn, "rfm")) >= number


def test_the_draw_follows_from_root_and_beacon():
    first = chosen(Choice(3))
    assert chosen(Choice(3)) == first
    others = [chosen(Choice(3), root=f"{i:02x}") for i in range(1, 9)] + [
        chosen(Choice(3, beacon=str(i))) for i in range(8)
    ]
    assert all(other != first for other in others)
    counts = dict.fromkeys((each.name for each in FITS), 0)
    for i in range(400):
        for name in of_kind(chosen(Choice(5), root=str(i)), "rfm"):
            counts[name] += 1
    # Each of 20 is among the 5 of its own claim in a quarter of the cases, and sometimes by the other claim.
    assert min(counts.values()) > 60


def test_what_is_not_sound_is_not_computed():
    sound = [each for each in ALL if each is not FITS[0]]
    assert FITS[0].name not in chosen(Choice(None), sound=sound)
    assert FITS[0].name not in chosen(Choice(20), sound=sound)


def replays(products, result=Result.EQUAL):
    return [Replay(each.name, result, "", 1.0) for each in products]


@pytest.mark.parametrize("number", [0, 1, 4, 20])
def test_the_probability_is_that_of_all_ways_to_draw(number):
    """Forged runs among those that are drawn from, by listing every draw."""
    _, found = coverage_of([TEN, TWELVE], ALL, replays([*DRAWS, *FITS[:number]]))
    assert (found.runs, found.recomputed) == (23, 3 + number)
    assert found.caught_one == pytest.approx(number / 20)
    forged = {0, 1}  # a tenth of 20
    draws = list(combinations(range(20), number)) if number in (0, 1, 4) else [range(20)]
    assert found.caught_tenth == pytest.approx(sum(bool(forged & set(draw)) for draw in draws) / len(draws))


def test_what_came_out_otherwise_does_not_count():
    (found,) = coverage_of(
        [TWELVE], ALL, [*replays(DRAWS), *replays(FITS[:4], Result.CLOSE), *replays(FITS[4:], Result.IMPOSSIBLE)]
    )
    assert (found.runs, found.recomputed) == (23, 7)


def test_a_claim_without_measurements_rests_on_nothing():
    (found,) = coverage_of([judgement(measurements=())], ALL, [])
    assert (found.runs, found.recomputed, found.caught_one, found.caught_tenth) == (0, 0, 0.0, 0.0)
