"""Which runs are drawn, and the probability that a forgery is among them."""

from itertools import combinations
from types import SimpleNamespace

import pytest

from audit.outcomes import RESULTS, judgement, measurement
from convrfm.replication.audit.outcome import Replay, Result
from convrfm.replication.audit.records import Product
from convrfm.replication.audit.replay import Choice, choose, coverage_of


def product(kind: str, number: int, made_from=(), *, is_figure: bool = False) -> Product:
    place = f"{RESULTS}/figures/published/{kind}" if is_figure else f"{RESULTS}/runs/{kind}/published/seed={number}"
    files = {"parquet": f"{place}.parquet"} if is_figure else {"metrics": f"{place}/metrics.parquet"}
    inputs = [SimpleNamespace(path=file) for run in made_from for file in run.files.values()]
    record = SimpleNamespace(inputs=dict(enumerate(inputs)))
    return Product(f"{place}.json" if is_figure else f"{place}/record.json", kind, is_figure, {}, files, record)


DRAWS = [product("draw", seed) for seed in range(3)]
FITS = [product("rfm", seed, [DRAWS[seed % 3]]) for seed in range(20)]
NETWORKS = [product("cnn", seed, [DRAWS[seed % 3]]) for seed in range(5)]
FIVE = product("fig05", 0, [*FITS, *NETWORKS], is_figure=True)
SIX = product("fig06", 0, FITS, is_figure=True)
ALL = [*DRAWS, *FITS, *NETWORKS, FIVE, SIX]
TEN, TWELVE = (
    judgement(claim=claim, measurements=(measurement(sources=(figure.files["parquet"],)),))
    for claim, figure in (("A10", FIVE), ("A12", SIX))
)


def chosen(choice: Choice, root: str = "00", sound=ALL) -> list[str]:
    return [each.name for each in choose(choice, [TEN, TWELVE], ALL, sound, root)]


def fits(names):
    return [name for name in names if "/rfm/" in name]


def test_draws_and_figures_always_all_or_single_claims():
    assert chosen(Choice()) == sorted(each.name for each in (*DRAWS, FIVE, SIX))
    assert len(chosen(Choice(None))) == len(chosen(Choice(claims=("A10",)))) == len(ALL)
    assert len(fits(chosen(Choice(claims=("A12",))))) == len(FITS)
    assert not any("/cnn/" in name for name in chosen(Choice(claims=("A12",))))


@pytest.mark.parametrize("number", [1, 3, 7])
def test_so_many_of_each_claim_which_share_runs_where_they_can(number):
    drawn = [name for name in chosen(Choice(number)) if name not in chosen(Choice())]
    assert number <= len(drawn) <= 2 * number
    assert len(fits(drawn)) >= number


def test_the_draw_follows_from_root_and_beacon():
    first = chosen(Choice(3))
    assert chosen(Choice(3)) == first
    others = [chosen(Choice(3), root=f"{i:02x}") for i in range(1, 9)]
    others += [chosen(Choice(3, beacon=str(i))) for i in range(8)]
    assert first not in others
    # Each of 20 is among the 5 of its own claim in a quarter of the cases, and sometimes by the other claim.
    drawn = [name for i in range(400) for name in fits(chosen(Choice(5), root=str(i)))]
    assert min(drawn.count(each.name) for each in FITS) > 60


def test_what_is_not_sound_is_not_computed():
    sound = [each for each in ALL if each is not FITS[0]]
    assert all(FITS[0].name not in chosen(Choice(each), sound=sound) for each in (None, 20))


def replays(products, result=Result.EQUAL):
    return [Replay(each.name, result, "", 1.0) for each in products]


@pytest.mark.parametrize("number", [0, 1, 4, 20])
def test_the_probability_is_that_of_all_ways_to_draw(number):
    """Forged runs among those that are drawn from, by listing every draw."""
    _, found = coverage_of([TEN, TWELVE], ALL, replays([*DRAWS, *FITS[:number]]))
    assert (found.runs, found.recomputed) == (23, 3 + number)
    assert found.caught_one == pytest.approx(number / 20)
    forged = {0, 1}  # a tenth of 20
    draws = list(combinations(range(20), number))
    assert found.caught_tenth == pytest.approx(sum(bool(forged & set(draw)) for draw in draws) / len(draws))


def test_what_came_out_otherwise_and_claims_without_measurements_do_not_count():
    some = [*replays(DRAWS), *replays(FITS[:4], Result.CLOSE), *replays(FITS[4:], Result.IMPOSSIBLE)]
    found, none = coverage_of([TWELVE, judgement(measurements=())], ALL, some)
    assert (found.runs, found.recomputed) == (23, 7)
    assert (none.runs, none.recomputed, none.caught_one, none.caught_tenth) == (0, 0, 0.0, 0.0)
