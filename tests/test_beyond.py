"""The figure beyond the paper from made-up runs with known answers: table, paired intervals, caption, drawing."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy import stats

from convrfm.replication.figures import beyond
from convrfm.replication.figures.beyond import caption

CHOICES = {"task": "bars", "n_train": 500, "changes": ["metric_power-2", "selection-validation", "solver_dtype-float32"]}
SHIFTS = (-0.02, 0.0, 0.05)


def history(scores, validation=None):
    """One ridge: test accuracies by (stage, round); without validation images there is no validation accuracy."""
    validation = validation or {}
    return pd.DataFrame(
        {"stage": s, "round": t, "ridge": 1e-5, "test_accuracy": value, "validation_accuracy": validation.get((s, t), np.nan)}
        for (s, t), value in scores.items()
    )


def run(scores, *, variant="unchanged", protocol="published", task="bars", n=500, seed=0, agop=20, validation=None):
    selection = "validation" if validation else "test"
    keys = {"experiment": "variant", "protocol": protocol, "variant": variant, "task": task, "sigma": "1",
            "n_train": str(n), "seed": str(seed)}  # fmt: skip
    settings = {"sigma": 1.0, "n_train": n, "n_test": 100, "seed": seed}
    fitted = n - n // 5 if validation else n
    record = {"settings": settings, "rfm": {"agop_samples": agop, "selection": selection}, "images_fitted": fitted,
              "inputs": {"draw/0": {"sha256": f"{seed:064x}"[::-1]}}}  # fmt: skip
    return keys, record, history(scores, validation)


def scores(seed, gain=0.1, base=0.6):
    base = base + 3 * SHIFTS[seed]
    return {(0, 0): base, (0, 1): base + gain, (1, 0): base + gain + 0.02}


@pytest.fixture(scope="module")
def table():
    runs = []
    for seed, shift in enumerate(SHIFTS):
        plain = scores(seed)
        runs += [
            run(plain, seed=seed),
            run(scores(seed, 0.1 + shift), variant="metric_power-2", seed=seed),
            run(plain, variant="solver_dtype-float32", seed=seed),
            # The best of the test images is not the best of the validation images.
            run(
                {**plain, (0, 2): 0.99}, variant="selection-validation", seed=seed,
                validation={(0, 0): 0.5, (0, 1): 0.8, (0, 2): 0.7, (1, 0): 0.5},
            ),
            run(scores(seed, 0.05), variant="agop_samples-1", seed=seed, agop=1),
            run(scores(seed, 0.12), variant="agop_samples-all", seed=seed, agop="all"),
            run(scores(seed, 0.04), protocol="corrected", seed=seed, agop="all", validation=dict.fromkeys(plain, 0.5)),
            run(scores(seed, 0.01, 0.5), n=250, seed=seed),
            run(scores(seed, 0.02, 0.4), task="noisy-digits", n=100, seed=seed),
        ]  # fmt: skip
    return beyond.tidy(runs)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_numbers_of_the_table_are_those_of_the_runs(table):
    assert len(table) == 3 * 9 * 4
    rows = table[(table["variant"] == "unchanged") & (table["n_train"] == 500) & (table["protocol"] == "published")]
    first = rows[rows["seed"] == 2].set_index("method")
    assert first["accuracy"].to_dict() == pytest.approx(
        {"CNTK": 0.75, "ConvRFM, round 1": 0.85, "ConvRFM": 0.85, "Deep ConvRFM, stage 1": 0.87}
    )
    by_variant = table[table["n_train"] == 500].groupby("variant")["agop_images"].first()
    assert by_variant[["agop_samples-1", "agop_samples-all", "metric_power-2"]].to_list() == [1, 500, 20]
    # All images of a fit that holds some out for validation are fewer.
    assert set(table.loc[table["protocol"] == "corrected", "agop_images"]) == {400}
    assert table.groupby("task")["stand_in"].first().to_dict() == {"bars": False, "noisy-digits": True}


def test_each_fit_is_read_as_it_was_chosen(table):
    validated = table[(table["variant"] == "selection-validation") & (table["method"] == "ConvRFM")]
    assert set(validated["chosen"]) == {1}
    assert validated["accuracy"].max() < 0.99


def test_effects_are_paired_by_draw(table):
    found = beyond.effects(table, CHOICES).set_index(["variant", "method"])
    row = found.loc["metric_power-2", "ConvRFM"]
    differences = 100 * np.array(SHIFTS)
    assert row["mean"] == pytest.approx(differences.mean())
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))
    assert row["accuracy"] == pytest.approx(100 * np.mean([0.6 + 4 * shift + 0.1 for shift in SHIFTS]))
    # Unpaired, the interval would be three times as wide, and more.
    assert stats.sem(100 * (np.array(SHIFTS) * 4)) > 3 * stats.sem(differences)
    assert found.loc["solver_dtype-float32", "ConvRFM"][["mean", "draws_changed"]].to_list() == [0, 0]
    assert found.loc[beyond.CORRECTED, "ConvRFM"]["mean"] == pytest.approx(-6)
    # CNTK knows no AGOP: nothing changed it, so it is left out.
    assert "CNTK" not in found.index.get_level_values("method")


def test_curves_hold_one_protocol_and_nothing_else(table):
    curve = beyond.agop_curve(table, CHOICES, "published")
    assert sorted(set(curve["agop_images"])) == [1, 20, 500]
    assert set(curve["protocol"]) == {"published"}
    assert set(beyond.agop_curve(table, CHOICES, "corrected")["variant"]) == {"unchanged"}
    sizes = beyond.size_curve(table, "bars", "published")
    assert set(zip(sizes["n_train"], sizes["variant"], strict=True)) == {(250, "unchanged"), (500, "unchanged")}


def test_the_caption_says_what_was_found(table):
    text = caption(table, CHOICES, "published", {"noisy-mnist": "MNIST is absent."})
    lines = text.splitlines()
    convrfm = "68.0 [41.1, 94.9] | -7.0 [-7.0, -7.0]"
    assert f"| 1 | {convrfm} | {convrfm} | 70.0 [43.1, 96.9] | -7.0 [-7.0, -7.0] |" in lines
    assert any(line.startswith("| 500 | 75.0") and " | - | " in line for line in lines)
    assert any(line.startswith("| 250 |") and "| +1.0 [+1.0, +1.0] | +2.0 [+2.0, +2.0] |" in line for line in lines)
    mean, low, high = (beyond.effects(table, CHOICES).iloc[0][key] for key in ("mean", "low", "high"))
    assert f"| metric = AGOP squared | {mean:+.1f} [{low:+.1f}, {high:+.1f}] |" in text
    assert "| solver in float32 | no change in any draw | no change in any draw | no change in any draw |" in lines
    assert "all of the protocol `corrected` (ConvRFM, -6.0)" in text
    assert "not comparable with the paper" in text
    assert "**Noisy MNIST**: SKIPPED (MNIST is absent.)" in lines


def test_the_figure_has_a_panel_for_each_part(table):
    drawn = texts(beyond.draw(table, CHOICES, "published", {"noisy-mnist": "MNIST is absent."}))
    for part in (
        r"Noisy bars, $\sigma$ = 1, n = 500",
        "images in the AGOP",
        "(stand-in: scikit-learn",
        "SKIPPED: MNIST is",
        "metric = AGOP squared",
    ):
        assert part in drawn
    # Where the task of the choices is not there, what remains is drawn.
    digits = table[table["task"] == "noisy-digits"]
    drawn = texts(beyond.draw(digits, CHOICES, "published", {"bars": "reason"}))
    assert "metric = AGOP squared" not in drawn
    assert "single choices" not in caption(digits, CHOICES, "published", {"bars": "reason"})


def test_one_draw_has_no_intervals(table):
    one = table[table["seed"] == 1]
    assert beyond.effects(one, CHOICES)["low"].isna().all()
    assert "| metric = AGOP squared | no change in any draw | no change in any draw | no change in any draw |" in caption(
        one, CHOICES, "published", {}
    )
    assert "Of 0 differences, 0 exclude 0 by their interval." in caption(one, CHOICES, "published", {})
    beyond.draw(one, CHOICES, "published", {})


def test_a_change_without_words_is_named():
    assert beyond.in_words("metric_power-4") == "metric power = 4"
