"""Figures 3, 10, 11 and 12 from synthetic tables: what is said of them, and the pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.replication.figures import fig03, fig10, fig11, fig12
from convrfm.replication.figures.features import (
    Sheet,
    Strip,
    against_random,
    excess,
    orientation_sentence,
    proper_edges,
    table_of,
)
from convrfm.replication.plan.presets import load_settings

ROOT = Path(__file__).parents[2]
PATCH_SIZE = {"cntk": 3, "laplace": 7}
SIZES = {"n_train": 60, "n_test": 40}


def of_run(part, panel, dataset, source, kernel, seed):
    keys = {"panel": panel, "dataset": dataset, "source": source, "kernel": kernel, "seed": seed}
    return part.assign(**keys, patch_size=PATCH_SIZE[kernel], draw=str(seed), **SIZES)


def eigenvectors(dataset="svhn", source="svhn", kernel="cntk", panel="A", seeds=(0, 1), gap=5.0, gain=0.3):
    """Four eigenvectors: the second is constant, the fourth has no orientation."""
    parts = []
    for seed in seeds:
        rows = [
            [i, j, quantity, 0.1 + gain * (i != 2) + 0.01 * j, 0.1 + 0.001 * seed]
            for i in range(1, 5)
            for j in range(4)
            for quantity in ("sobel", "sobel_zero_mean")
        ]
        for i in range(1, 5):
            single = {
                "share": 0.5**i, "constant_share": 0.9 * (i == 2), "orientation": 40.0 * i, "coherence": 0.9 if i < 4 else 0.01,
                "picked": 40.0 * i + gap, "selectivity": 0.5, "gap": gap,
            }  # fmt: skip
            rows += [[i, -1, quantity, value, 44.0 if quantity == "gap" else np.nan] for quantity, value in single.items()]
        part = pd.DataFrame(rows, columns=["eigenvector", "image", "quantity", "value", "control"])
        parts.append(of_run(part, panel, dataset, source, kernel, seed))
    return parts


def operators(dataset="svhn", source="svhn", kernel="cntk", panel="B", seeds=(0, 1), gain=0.3):
    parts = []
    for seed in seeds:
        quantities = ("alike", "alike_without_means", f"sobel_{kernel}", "sobel_network")
        rows = [[j, quantity, 0.4 + gain + 0.01 * j, 0.4] for j in range(4) for quantity in quantities]
        part = pd.DataFrame(rows, columns=["image", "quantity", "value", "control"])
        parts.append(of_run(part, panel, dataset, source, kernel, seed))
    return parts


def sheet(rng, channels=3, q=3):
    return Sheet(rng.standard_normal((4, channels, q, q)), rng.random((2, channels, 9, 9)), rng.random((4, 2, 9, 9)))


def strip(rng, channels=3):
    pictures = {name: rng.random((2, 9, 9)) for name in (fig10.RFM, fig10.CNN, fig10.RANDOM)}
    return Strip(rng.random((2, channels, 9, 9)), pictures)


def figure_03(dataset="svhn", natural="imagenet", **changes):
    parts = [part for kernel in PATCH_SIZE for part in eigenvectors(dataset, dataset, kernel, **changes)]
    parts += operators(dataset, dataset)
    parts += [part for kernel in PATCH_SIZE if natural for part in operators(dataset, natural, kernel, "C")]
    return table_of(parts, "published")


def test_the_table_is_tidy_and_says_what_stands_in():
    table = table_of([*eigenvectors(), *operators("svhn", "photographs", panel="C")], "corrected")
    assert table.groupby("source")["stand_in"].first().to_dict() == {"photographs": True, "svhn": False}
    assert set(table["protocol"]) == {"corrected"}
    assert (table.loc[table["panel"] == "C", "eigenvector"] == 0).all()
    keys = ["panel", "dataset", "source", "seed", "kernel", "eigenvector", "image", "quantity"]
    assert not table.duplicated(keys).any()


def test_constant_eigenvectors_and_those_of_no_weight_do_not_count():
    table = table_of(eigenvectors(), "published")
    assert set(proper_edges(table)["eigenvector"]) == {1, 3, 4}
    last = (table["quantity"] == "share") & (table["eigenvector"] == 4)
    assert set(proper_edges(table.assign(value=table["value"].where(~last, 5e-4)))["eigenvector"]) == {1, 3}


def test_intervals_are_over_draws_or_images():
    rows = table_of(eigenvectors(), "published").query("quantity == 'sobel' and eigenvector == 1")
    found = excess(rows)
    assert found["units"] == 2
    assert found["value"] == pytest.approx(0.415)
    assert found["excess"] == pytest.approx(0.415 - 0.1005)
    alone = excess(rows.assign(draw="one"))
    assert alone["units"] == 4
    assert alone["low"] < alone["excess"] < alone["high"]


def test_numbers_beside_random_ones():
    rows = table_of(operators(gain=-0.2, seeds=(0,)), "published").query("quantity == 'alike'")
    assert against_random(excess(rows)).startswith("0.215, against 0.400 at random: -0.185 [-0.2")


def test_the_angle_is_that_of_eigenvectors_with_an_orientation():
    sentence = orientation_sentence(table_of(eigenvectors(gap=14.9, seeds=(0,)), "published"))
    assert (
        "Of 3 eigenvectors that are neither constant nor negligible (at least 0.1 % of the trace), 2 have an orientation"
        in sentence
    )
    assert "14.9 degrees" in sentence
    assert "44.0" in sentence


def test_captions_compute_their_numbers(rng):
    table = figure_03()
    text = fig03.caption(table, {})
    value = proper_edges(table[(table["panel"] == "A") & (table["kernel"] == "cntk")])
    assert f"{value.loc[value['quantity'] == 'sobel', 'value'].mean():.3f}, against 0.10" in text
    assert "over 2 draws" in text
    assert "stand-in" not in text.lower()
    stand_in = fig03.caption(figure_03("street-digits", "photographs"), {})
    assert "not comparable with the paper" in stand_in
    assert "pick 50.0 degrees" in fig11.caption(table_of(eigenvectors(gap=50.0, kernel="laplace"), "corrected"), {})
    assert "SKIPPED (gone)" in fig12.caption(table_of(eigenvectors(), "published"), {"gtsrb": "gone"})
    assert "protocol: corrected" in fig10.caption(table_of(operators(), "corrected"), {})


def test_eigenvectors_that_are_all_constant_are_said_to_find_no_edges():
    table = table_of(eigenvectors(), "published")
    table.loc[table["quantity"] == "constant_share", "value"] = 1.0
    assert "no edges" in fig12.edge_sentences(table)


@pytest.mark.parametrize(("dataset", "channels"), [("svhn", 3), ("street-digits", 1)])
@pytest.mark.parametrize("natural", ["photographs", None])
def test_figure_3_is_drawn(rng, dataset, channels, natural):
    filters = {kernel: rng.standard_normal((4, channels, q, q)) for kernel, q in PATCH_SIZE.items()}
    large = {name: rng.random((1, 9, 9)) for name in ("cntk", "laplace", "sobel")}
    shown = Strip(rng.random((1, channels, 9, 9)), large) if natural else None
    skipped = {} if natural else {"imagenet": "no account"}
    figure = fig03.draw(figure_03(dataset, natural), fig03.Pictures(filters, strip(rng, channels), shown), skipped)
    figure.draw_without_rendering()
    words = [text.get_text() for part in figure.subfigs for axes in part.axes for text in axes.texts]
    assert any("SKIPPED" in word for word in words) == (natural is None)
    assert ("stand-in" in figure.subfigs[0].get_suptitle()) == (dataset == "street-digits")


def test_figures_10_to_12_are_drawn(rng):
    both = table_of([*operators(), *operators("gtsrb", "gtsrb")], "published")
    figure = fig10.draw(both, {name: strip(rng) for name in ("svhn", "gtsrb")}, {"cifar10": "gone"})
    figure.draw_without_rendering()
    assert len(figure.subfigs) == 3
    figure = fig11.draw(table_of(eigenvectors(source="photographs", kernel="laplace"), "published"), sheet(rng, q=7))
    figure.draw_without_rendering()
    assert "two photographs, not ImageNet" in figure.get_suptitle()
    figure = fig12.draw(table_of(eigenvectors(), "published"), {"svhn": sheet(rng)}, {"cifar10": "gone"})
    figure.draw_without_rendering()
    labels = [axes.get_xlabel() for axes in figure.subfigs[0].axes]
    assert "constant\n" in labels
    assert "none,\n165°" in labels


def preset(preset="quick", **changes):
    config = {**yaml.safe_load((ROOT / "config.yaml").read_text()), "preset": preset, "overrides": changes}
    return load_settings(config, ROOT / "workflow" / "presets").preset


TASK = {"dataset": "svhn", "n_train": 50, "n_test": 50, "network": {"epochs": 2}}


def test_presets_name_the_papers_data():
    paper = preset("paper")
    assert [task.dataset for task in paper.features.tasks] == ["svhn", "cifar10", "gtsrb"]
    assert (paper.fig03.datasets, paper.fig12.datasets) == (["svhn"], ["cifar10", "gtsrb"])
    for task in paper.features.tasks:
        assert (task.depth, task.patch_size, task.laplace_patch_size, task.network.width) == (3, 3, 7, 64)
    printed = preset("workstation").features.tasks[0]
    assert (printed.dataset, printed.n_train, printed.n_test, printed.ridges) == ("svhn", 1000, 1000, [1e-5])


@pytest.mark.parametrize(("changes", "message"), [
    ({"features": {"tasks": [TASK, TASK]}}, "duplicate"),
    ({"features": {"tasks": [{**TASK, "rounds": 1}]}}, "rounds must be at least 2"),
    ({"features": {"tasks": [{**TASK, "dataset": "shvn"}]}}, "dataset: must be one of mnist, .*, not 'shvn'"),
    ({"features": {"tasks": [{**TASK, "patch_size": 1}]}}, "orientation"),
    ({"features": {"tasks": [{**TASK, "n_test": 5}]}}, "images must be at most"),
    ({"fig12": {"datasets": ["svhn"]}}, "fig12.datasets: 'svhn' is not in features.tasks"),
    ({"fig03": {"datasets": ["street-digits", "photograph-patches"]}}, "one data set only"),
    ({"fig10": {"datasets": ["street-digits", "street-digits"]}}, "duplicate"),
    ({"features": {"natural": "imagnet"}}, "photographs"),
])  # fmt: skip
def test_wrong_sections_are_explained(changes, message):
    with pytest.raises(ConfigError, match=message):
        preset(**changes)
