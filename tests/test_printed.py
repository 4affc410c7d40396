"""The authors' printed numbers beside those of made-up runs."""

import pandas as pd
import pytest
from matplotlib.text import Text

from convrfm.replication.figures import printed
from convrfm.replication.figures.printed import PRINTED


def run(name, shift=0.0, seed=0):
    """A run whose accuracies lie this many points above the printed ones, and whose errors lie 0.01 above."""
    numbers = PRINTED[name]
    errors = numbers.squared_error or (0.5,) * numbers.rounds
    rows = [
        {"stage": 0, "round": t, "ridge": 1e-5, "test_accuracy": (value + shift) / 100, "test_error": error + 0.01}
        for t, (value, error) in enumerate(zip(numbers.accuracy, errors, strict=True))
    ]
    # What the printed run does not have: another ridge, a later round, a stage of Deep ConvRFM.
    last = {"test_accuracy": 0.99, "test_error": 0.0}
    rows += [{"stage": 0, "round": 9, "ridge": 1e-5, **last}, {"stage": 1, "round": 0, "ridge": 1e-5, **last}]
    rows += [{"stage": 0, "round": 0, "ridge": 1e-3, **last}]
    keys = {"seed": str(seed), "protocol": "published"}
    keys |= {"dataset": "svhn", "classes": "all"} if numbers.sigma is None else {"task": numbers.task, "sigma": "1"}
    settings = {"n_train": numbers.n_train, "n_test": numbers.n_test}
    return keys, {"settings": settings, "inputs": {"images/0": {"sha256": f"{seed:064x}"[::-1]}}}, pd.DataFrame(rows)


def test_each_number_stands_beside_the_printed_one():
    table = printed.tidy([run("svhn-1000", 0.1), run("noisy-mnist-200", -3), run("noisy-mnist-4000", 1)])
    assert len(table) == 10 + 2 + 8
    for name, difference in (("svhn-1000", 0.1), ("noisy-mnist-200", -3), ("noisy-mnist-4000", 1)):
        rows = table[(table["run"] == name) & (table["quantity"] == "accuracy")]
        assert rows["printed"].to_list() == list(PRINTED[name].accuracy)
        assert rows["difference"].to_list() == pytest.approx([difference] * PRINTED[name].rounds)
    errors = table[table["quantity"] == "squared error"]
    assert set(errors["run"]) == {"svhn-1000", "noisy-mnist-4000"}
    assert errors["difference"].to_list() == pytest.approx([0.01] * 9)
    keys, _, metrics = run("svhn-1000")
    with pytest.raises(KeyError):
        printed.tidy([(keys, {"settings": {"n_train": 999, "n_test": 1000}}, metrics)])


def test_means_over_draws_stand_beside_the_tolerance():
    runs = [run("svhn-1000", shift, seed) for seed, shift in enumerate((-0.2, 0.5, 0.9))]
    found = printed.summary(printed.tidy(runs))
    accuracy = found[found["quantity"] == "accuracy"]
    assert accuracy["difference"].to_list() == pytest.approx([0.4] * 5)
    assert accuracy["tolerance"].to_list() == list(PRINTED["svhn-1000"].tolerance)
    assert found.loc[found["quantity"] == "squared error", "tolerance"].isna().all()
    assert set(accuracy["draws"]) == {3}
    half = 4.3027 * 0.5568 / 3**0.5
    assert accuracy["high"].iloc[0] == pytest.approx(53.4 + half, abs=1e-3)


def test_caption_and_figure_say_what_differs_and_what_is_missing():
    table = printed.tidy([run("svhn-1000", 0.5), run("noisy-mnist-200", 0.0)])
    skipped = {"noisy-mnist-4000": "MNIST is absent."}
    text = printed.caption(table, skipped)
    assert "| 0 | accuracy | 53.5 % | 53.0 % | +0.5 | 0.2 |" in text
    assert "| 4 | squared error | 0.7776 | 0.7676 | +0.0100 | - |" in text
    assert "**Noisy MNIST, sigma = 1, n = 4000/4000**: SKIPPED (MNIST is absent.)" in text
    figure = printed.draw(table, skipped)
    drawn = " ".join(found.get_text() for found in figure.findobj(Text))
    for part in ("n = 1000/1000", "n = 200/200", "printed by the authors", "SKIPPED: MNIST is absent."):
        assert part in drawn
