"""Intervals count distinct draws; of a single draw they are over its test images, and those of differences are paired."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import binomtest, chi2, ttest_1samp

from convrfm.errors import InputError
from convrfm.replication.figures import accuracies, fig05, fig06
from convrfm.replication.figures.accuracies import (
    ScoredRun,
    accuracy_of,
    difference,
    estimate_in,
    in_words,
    layer_name,
    over_cntk,
    with_estimates,
)


def on_images(b, c, m, both=0):
    """Whether two methods classify m images correctly: b the first alone, c the second alone, and some of them both."""
    first, second = np.zeros(m, bool), np.zeros(m, bool)
    first[:b], second[b : b + c] = True, True
    first[b + c : b + c + both] = second[b + c : b + c + both] = True
    return first, second


def row(method, correct, *, draw="one", seed=0):
    return {
        "method": method,
        "draw": draw,
        "seed": seed,
        "accuracy": correct.mean(),
        "correct": correct,
        "n_test": len(correct),
    }


def of_one_draw(b, c, m, both=0):
    first, second = on_images(b, c, m, both)
    return difference(pd.DataFrame([row("new", first), row("old", second)]), "new", "old")


def test_equal_images_are_one_draw_whatever_their_seeds_are_called():
    """FashionMNIST under `published`, 1000/1000: CNTK 80.8, 80.8, 80.8, and a gain of 0.8 whose interval had width 0."""
    new, old = on_images(28, 20, 1000, both=788)
    assert (new.mean(), old.mean()) == (0.816, 0.808)
    runs = pd.DataFrame([row(method, of, seed=seed) for seed in range(3) for method, of in (("new", new), ("old", old))])
    found = difference(runs, "new", "old")
    assert found.value == pytest.approx(0.008)
    assert (found.over, found.draws, found.images) == ("test images", 1, 1000)
    assert found.low < 0 < found.high
    alone = accuracy_of(runs[runs["method"] == "old"])
    assert (alone.over, alone.draws) == ("test images", 1)
    assert alone.low < 0.808 < alone.high
    # Seen as three draws, by their seeds, they have what they had.
    wrong = difference(runs.assign(draw=runs["seed"].map(str)), "new", "old")
    assert (wrong.over, wrong.draws) == ("draws", 3)
    assert wrong.low == pytest.approx(wrong.high) == pytest.approx(0.008)


def test_runs_of_one_draw_are_averaged_first():
    new, old = on_images(30, 10, 100, both=40)
    values = {"a": (0.1, 0.3), "b": (0.4,), "c": (0.5,)}
    rows = []
    for draw, gains in values.items():
        for seed, gain in enumerate(gains):
            rows += [row("old", old, draw=draw, seed=seed), row("new", new, draw=draw, seed=seed) | {"accuracy": 0.5 + gain}]
    found = difference(pd.DataFrame(rows), "new", "old")
    low, high = ttest_1samp([0.2, 0.4, 0.5], 0).confidence_interval(0.95)
    assert found == pytest.approx((np.mean([0.2, 0.4, 0.5]), low, high, "draws", 3, 100))


def test_runs_of_one_draw_that_differ_have_no_interval():
    """Networks of several initialisations: their mean is not the accuracy of one."""
    rows = pd.DataFrame([row("new", on_images(b, 1, 50)[0], seed=b) for b in (3, 5)])
    found = accuracy_of(rows)
    assert (found.value, found.over, found.draws) == (0.08, "", 1)
    assert np.isnan(found.low)


def test_a_draw_that_only_one_has_does_not_count():
    new, old = on_images(30, 10, 100)
    rows = pd.DataFrame([row("new", new, draw="a"), row("old", old, draw="a"), row("old", new, draw="b")])
    assert difference(rows, "new", "old")[3:5] == ("test images", 1)
    assert difference(rows, "new", "none") is None


def test_a_missing_accuracy_is_no_smaller_sample():
    new, _ = on_images(30, 10, 100)
    rows = pd.DataFrame([row(method, new, draw=draw) for draw in "abc" for method in ("new", "old")])
    rows.loc[0, "accuracy"] = np.nan
    assert np.isnan(difference(rows, "new", "old").value)
    assert np.isnan(accuracy_of(rows[rows["method"] == "new"]).value)


@pytest.mark.parametrize("m", [60, 1000])
def test_the_interval_excludes_0_exactly_where_the_test_of_mcnemar_rejects(m):
    for b in range(0, 31, 2):
        for c in range(0, 31, 3):
            found = of_one_draw(b, c, m)
            assert found.value == pytest.approx((b - c) / m)
            assert -1 <= found.low <= found.value <= found.high <= 1
            statistic = (b - c) ** 2 / (b + c) if b + c else 0.0
            assert (found.low > 0 or found.high < 0) == (chi2.sf(statistic, 1) < 0.05), (b, c)


def score(difference, b, c, m):
    """The squared score at a difference, with the most likely probabilities by brute force."""
    most = (1 - abs(difference)) / 2

    def unlikely(q):  # of the second method alone; the first alone has q + difference
        rest = 1 - 2 * q - difference
        return -(xlogy(b, q + difference) + xlogy(c, q) + xlogy(m - b - c, rest))

    low = max(0.0, -difference)
    q = minimize_scalar(unlikely, (low, low + most), bounds=(low, low + most), method="bounded", options={"xatol": 1e-12}).x
    return (b - c - m * difference) ** 2 / (m * (2 * q + difference - difference**2))


@pytest.mark.parametrize(("b", "c", "m"), [(1, 7, 21), (35, 2, 500), (17, 7, 1000), (12, 40, 60), (3, 3, 9)])
def test_the_interval_is_where_the_score_reaches_its_quantile(b, c, m):
    found = of_one_draw(b, c, m)
    for end in (found.low, found.high):
        assert score(end, b, c, m) == pytest.approx(chi2.ppf(0.95, 1), rel=1e-4)


def test_the_ends_of_the_range():
    # Of no discordant images the end is that of Wilson for 0 of m.
    quantile = chi2.ppf(0.95, 1)
    assert of_one_draw(0, 0, 1000)[1:3] == pytest.approx((-quantile / (1000 + quantile), quantile / (1000 + quantile)))
    assert (of_one_draw(20, 0, 20).high, of_one_draw(0, 20, 20).low) == (1.0, -1.0)


@pytest.mark.parametrize(("b", "c", "m"), [(35, 2, 500), (6, 0.5, 60), (35, 8, 1000), (40, 40, 400)])
def test_the_interval_covers_what_it_should(rng, b, c, m):
    """Brute force: over draws of the test images the true difference is covered 95 times in 100, about."""
    drawn = rng.multinomial(m, [b / m, c / m, 1 - (b + c) / m], 4000)[:, :2]
    ends = {(int(x), int(y)): accuracies._score_interval(int(x), int(y), m) for x, y in drawn}
    low, high = np.array([ends[int(x), int(y)] for x, y in drawn]).T
    covered = np.mean((low <= (b - c) / m) & ((b - c) / m <= high))
    assert 0.93 <= covered <= 0.98


def test_an_accuracy_has_the_exact_binomial_interval():
    correct = np.arange(150) < 120
    found = accuracy_of(pd.DataFrame([row("old", correct)]))
    low, high = binomtest(120, 150).proportion_ci(0.95, "exact")
    assert found == pytest.approx((0.8, low, high, "test images", 1, 150))
    # Of all images, the lower end is the level at which so many in a row would be seen once in 40 times.
    assert accuracy_of(pd.DataFrame([row("old", correct[:120])])).low == pytest.approx(0.025 ** (1 / 120))


def history(scores):
    return pd.DataFrame(
        {"stage": s, "round": t, "ridge": 1e-5, "test_accuracy": value, "validation_accuracy": value}
        for (s, t), value in scores.items()
    )


def scored(arrays, *, draw="one", seed=0, dataset="fashion-mnist", **keys):
    named = {(int(s), int(t)): of for s, t, of in ((*name.split("/"), of) for name, of in arrays.items())}
    about = {"dataset": dataset, "classes": "all"} if "task" not in keys else {}
    given = {
        "experiment": "rfm" if "task" in keys else "image-rfm",
        "protocol": "published",
        "seed": str(seed),
        **about,
        **keys,
    }
    correct = {f"correct/{name}": of for name, of in arrays.items()}
    sizes = {"n_train": 1000, "n_test": 1000}
    return ScoredRun(given, sizes, history({key: of.mean() for key, of in named.items()}), draw, correct)


@pytest.fixture
def arrays():
    new, old = on_images(28, 20, 1000, both=788)
    return {"0/0": old, "0/1": new, "1/1": np.roll(new, 3), "2/1": np.roll(new, 7)}


def test_table_and_caption_of_figure_6_name_the_kind(arrays):
    runs = [scored(arrays, seed=seed) for seed in range(3)]
    runs += [
        scored({name: np.roll(of, seed) for name, of in arrays.items()}, seed=seed, draw=str(seed), dataset="svhn")
        for seed in range(3)
    ]
    table = fig06.tidy(runs, [])
    of_runs = ["seed", "draw", "stage", "last_accuracy", "chosen", "ridge"]
    estimates = table[table["quantity"] != "run"]
    assert estimates[of_runs].replace("", pd.NA).isna().all(axis=None)  # what differs from run to run is of runs alone
    fashion = table[table["task"] == "fashion-mnist"]
    assert set(fashion.loc[fashion["quantity"] != "run", ["over", "draws"]].itertuples(index=False, name=None)) == {
        ("test images", 1)
    }
    gain = estimate_in(fashion, "ConvRFM", "CNTK")
    assert gain.low < 0 < gain.high
    assert estimate_in(table[table["task"] == "svhn"], "ConvRFM", "CNTK")[3:5] == ("draws", 3)
    # Each number of layers over the one before, and each method over CNTK.
    compared = {(row.method, row.against) for row in fashion.itertuples() if row.quantity == "difference"}
    deep, deeper = layer_name(2), layer_name(3)
    assert {("ConvRFM", "CNTK"), (deep, "ConvRFM"), (deeper, deep), ("Deep ConvRFM", "CNTK")} <= compared
    assert set(table["n_train"]) == set(table["n_test"]) == {1000}
    caption = fig06.caption(table, ["svhn"], {})
    assert "95 % over draws; where marked †, over test images of the one draw" in caption
    (line,) = [line for line in caption.splitlines() if line.startswith("| FashionMNIST")]
    assert line.count("†") == 3
    (line,) = [line for line in caption.splitlines() if line.startswith("| SVHN, cropped digits | 1000")]
    assert "†" not in line
    drawn = " ".join(
        text.get_text() for text in fig06.draw(table, ["svhn"], {}).findobj(lambda artist: hasattr(artist, "get_text"))
    )
    assert "95 % over draws" in drawn
    assert "95 % over test images" in drawn


def test_caption_of_figure_5_names_the_kind(arrays):
    runs = [scored(arrays, seed=seed, draw=str(seed), task="bars", sigma="1") for seed in range(3)]
    picture = {
        "image": np.eye(4),
        "identity": np.eye(4),
        "learned": np.eye(4),
        "contrast_identity": 1.0,
        "contrast_learned": 2.0,
        "sigma": 1.0,
    }
    several, single = fig05.tidy(runs), fig05.tidy(runs[:1])
    assert "interval (95 % over draws), paired by draw" in fig05.caption(several, {"bars": picture}, {})
    assert "†" not in fig05.caption(several, {"bars": picture}, {})
    text = fig05.caption(single, {"bars": picture}, {})
    assert "interval (95 % over test images of the one draw), paired by draw" in text
    assert "†" in text


def test_an_array_that_is_not_that_of_the_history_is_refused(arrays):
    run = scored(arrays)
    wrong = ScoredRun(run.keys, run.settings, run.metrics, run.draw, {**run.correct, "correct/0/0": arrays["0/1"]})
    with pytest.raises(InputError, match=r"0\.808 by its history and 0\.816 by its array 'correct/0/0'"):
        fig06.tidy([wrong], [])


def test_words_never_mix_two_kinds_in_silence():
    assert in_words(["draws", "draws", ""]) == "95 % over draws"
    assert in_words([""]) == "no interval"
    assert in_words(["test images", "draws"]) == "95 % over draws; where marked †, over test images of the one draw"


def test_the_table_keeps_the_runs():
    new, old = on_images(3, 1, 20)
    runs = pd.DataFrame(
        [row(name, of, draw=draw) | {"chosen": 1, "task": "a"} for draw in "ab" for name, of in (("CNTK", old), ("CNN", new))]
    )
    table = with_estimates(runs, ["task"], over_cntk)
    assert table["quantity"].to_list() == ["run"] * 4 + ["accuracy"] * 2 + ["difference"]
    assert "correct" not in table
    assert table["value"].to_list() == pytest.approx([0.05, 0.15] * 3 + [0.1])
