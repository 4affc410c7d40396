"""Figures 1, 2 and 7 from made-up tables: what is drawn, what the captions compute, what they admit."""

import numpy as np
import pandas as pd
import pytest

from convrfm.replication.figures import fig01, fig02, fig07
from convrfm.replication.figures.zoo import BEYOND_NOTE, STAND_IN_NOTE, order, title

POWERS = (0.125, 0.25, 0.5, 0.75, 1.0)
NAN = float("nan")


def metrics(trained=0.9, initial=0.5, *, snapshots=(), layers=3, error=0.01, growth=True):
    """What the job of the ansatz writes for a network of some layers, one more of which the paper leaves out."""
    rows = []

    def row(layer, quantity, when, value, *, power=1.0, epoch=NAN, images=16, half=error):
        rows.append(
            {"layer": layer, "quantity": quantity, "when": when, "power": power, "value": value, "low": value - half,
             "high": value + half, "epoch": epoch, "images": images, "in_paper": layer != "skip"}
        )  # fmt: skip

    last = max(snapshots, default=0) + 1 if snapshots else NAN
    for layer in [*(f"conv{i}" for i in range(layers)), "skip"]:
        shift = -3.0 if layer == "skip" else 0.0
        for when, value in (("trained", trained), ("initial", initial)):
            for power in POWERS:
                row(layer, "pearson", when, value + shift - 0.1 * (1 - power), power=power)
        for quantity, value in (("rotated_null", 0.4), ("random_filters", 0.1), ("initial_cnfm", 0.3)):
            row(layer, quantity, "trained", value + shift, half=NAN if quantity == "initial_cnfm" else 0.05)
        if growth:
            for images in (8, 16):
                row(layer, "growth", "trained", trained + shift - 1 / images, images=images)
    for when, epoch, value in (("trained", last, trained), ("initial", 0.0, initial)):
        row("mean", "pearson", when, value, epoch=epoch)
    for epoch in snapshots:
        row("mean", "pearson", "epoch", (trained + initial) / 2, epoch=float(epoch))
    row("mean", "gain", "trained", trained - initial)
    return pd.DataFrame(rows)


def texts(figure):
    import matplotlib.text

    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


@pytest.fixture
def runs():
    return [
        ("resnet50-v2", "published", metrics(0.8, 0.6)),
        ("vgg11_bn-v1", "published", metrics(0.4, 0.5)),
        ("alexnet-v1", "published", metrics(0.95, 0.9)),
    ]


def test_names_and_their_order():
    names = ["resnet18-v1", "vgg13-v1", "resnet101-v1", "vgg11_bn-v1", "alexnet-standin", "vgg11-v1"]
    assert [title(name) for name in sorted(names, key=order)] == [
        "AlexNet", "VGG11", "VGG11 BN", "VGG13", "ResNet18", "ResNet101",
    ]  # fmt: skip
    assert title("resnet50-v2") == "ResNet50 v2"
    assert title("resnet20-cifar10") == "ResNet20 CIFAR-10"
    assert sorted(["resnet20-cifar10", "resnet152-v2"], key=order) == ["resnet152-v2", "resnet20-cifar10"]


def test_figure_1_holds_means_over_the_papers_layers(runs):
    table = fig01.tidy(runs)
    assert list(dict.fromkeys(table["network"])) == ["alexnet-v1", "vgg11_bn-v1", "resnet50-v2"]
    assert (table["layers"] == 3).all()
    values = table.pivot_table(index="network", columns="quantity", values="value")
    assert values.loc["resnet50-v2"].to_dict() == pytest.approx(
        {"pearson": 0.8, "initial_pearson": 0.6, "initial_cnfm": 0.3, "rotated_null": 0.4, "random_filters": 0.1,
         "lowest_pearson": 0.8, "gain_over_initial": 0.2, "gain_over_null": 0.4, "gain_over_control": 0.5}
    )  # fmt: skip
    null = table.query("quantity == 'gain_over_null' and network == 'resnet50-v2'").iloc[0]
    assert null["low"] == pytest.approx(0.79 - 0.45)
    assert not table["stand_in"].any()


def test_the_lowest_layer_is_one_of_the_papers_and_a_missing_one_is_not_left_out():
    def lowest(given):
        table = fig01.tidy([("vgg13-v1", "published", given)])
        return table.loc[table["quantity"] == "lowest_pearson", "value"].item()

    given = metrics(0.8)
    layer = (
        (given["layer"] == "conv1") & (given["quantity"] == "pearson") & (given["when"] == "trained") & (given["power"] == 1)
    )
    assert lowest(given.assign(value=given["value"].where(~layer, 0.35))) == pytest.approx(0.35)
    assert np.isnan(lowest(given.assign(value=given["value"].where(~layer, NAN))))


def test_the_caption_of_figure_1_computes_its_numbers(runs):
    caption = fig01.caption(fig01.tidy(runs), {"vgg19-v1": "weights are absent. Do this."})
    assert "| VGG11 BN | 3 | 0.400 [0.390, 0.410] | 0.500 [0.490, 0.510] | -0.100 [-0.110, -0.090]" in caption
    assert "**VGG19**: SKIPPED (weights are absent. Do this.)" in caption
    assert "stand-in" not in caption


def test_stand_ins_are_declared(rng):
    runs = [("alexnet-standin", "corrected", metrics(snapshots=(1, 2)))]
    heats = {"alexnet-standin": {name: rng.standard_normal((27, 27)) for name in ("cnfm", "agop")}}
    table = fig01.tidy(runs)
    assert table["stand_in"].all()
    assert "not comparable with the paper" in fig01.caption(table, {})
    figure = fig01.draw(table, fig01.growth(runs), heats)
    assert STAND_IN_NOTE in texts(figure)
    assert "AGOP, 27x27" in texts(figure)
    followed = fig07.tidy(runs)
    assert STAND_IN_NOTE in texts(fig07.draw(followed))
    assert "protocol: corrected" in fig07.caption(followed, {})


def test_growth_leaves_out_what_the_paper_does(runs):
    grown = fig01.growth(runs)
    assert grown.query("network == 'alexnet-v1' and images == 8")["value"].item() == pytest.approx(0.95 - 1 / 8)
    without = [("alexnet-v1", "published", metrics(growth=False))]
    assert fig01.growth(without).empty
    drawn = texts(fig01.draw(fig01.tidy(without), fig01.growth(without), {}))
    assert "images in the AGOP" not in drawn
    assert "SKIPPED" in drawn


def test_figure_7_before_after_and_between():
    table = fig07.tidy([("vgg11-standin", "published", metrics(0.9, 0.5, snapshots=(1, 4)))])
    panels = table.groupby("panel")
    followed = panels.get_group("B")
    assert list(zip(followed["epoch"], followed["value"].round(6), strict=True)) == [(0, 0.5), (1, 0.7), (4, 0.7), (5, 0.9)]
    powers = panels.get_group("C").query("`when` == 'trained'")
    assert dict(zip(powers["power"], powers["value"].round(6), strict=True)) == {
        0.125: 0.8125, 0.25: 0.825, 0.5: 0.85, 0.75: 0.875, 1.0: 0.9,
    }  # fmt: skip
    first = panels.get_group("A")
    assert "skip" not in set(first["layer"])
    caption = fig07.caption(table, {})
    assert "| VGG11 | 0.500 [0.490, 0.510] | 0.900 [0.890, 0.910] | +0.400 [+0.390, +0.410] | 3 of 3 | 1 (0.900) |" in caption


def test_figure_7_says_when_training_lowers_it(runs):
    table = fig07.tidy(runs)
    assert "B" not in set(table["panel"])  # epochs of pretrained networks are not known
    caption = fig07.caption(table, {"vgg19-v1": "absent"})
    assert "| VGG11 BN | 0.500 [0.490, 0.510] | 0.400 [0.390, 0.410] | -0.100 [-0.110, -0.090] | 0 of 3 |" in caption
    assert "**VGG19**: SKIPPED (absent)" in caption


def test_many_networks_fit():
    runs = [
        (f"{name}-v1", "published", metrics())
        for name in ("alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34")
    ]
    for figure in (fig01.draw(fig01.tidy(runs), fig01.growth(runs), {}), fig07.draw(fig07.tidy(runs))):
        assert all(title(name) in texts(figure) for name, _, _ in runs)


def comparison(excess, sources=2, images=4):
    rows = [
        {"layer": f"features.{3 * index}", "index": index, "source": source, "image": image, "pearson": 0.5 + extra + 0.01 * image, "control": 0.5}
        for index, extra in enumerate(excess) for source in range(sources) for image in range(images)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("sources", [1, 2])
def test_figure_2(rng, sources):
    table = fig02.tidy("vgg11-standin", "published", comparison((0.3, 0.02, -0.2), sources))
    pictures = {f"input/{i}": rng.random((3, 8, 8)) for i in range(2)}
    pictures |= {f"{name}/{i}/{layer}": rng.random((8, 8)) for name in ("cnfm", "agop") for i in range(2) for layer in range(3)}
    drawn = texts(fig02.draw(table, pictures))
    assert "r = 0.80" in drawn
    assert "rand. 0.50" in drawn
    assert ("r = 0.81" in drawn) == (sources == 1)  # the second image of the one source
    assert STAND_IN_NOTE in drawn
    caption = fig02.caption(table)
    assert f"Means over {4 * sources} images" in caption
    assert "| features.6 | 0.315 | 0.500 | -0.185" in caption


def test_pictures_without_a_correlation_are_left_out():
    table = comparison((0.3, 0.3))
    table.loc[table["index"] == 1, ["pearson", "control"]] = np.nan
    means = fig02.summary(fig02.tidy("vgg11-v1", "published", table))
    assert means["excess"].notna().tolist() == [True, False]


BEYOND = [("resnet20-cifar10", "published", metrics(0.9, 0.7)), ("resnet56-cifar10", "published", metrics(0.95, 0.6))]


@pytest.mark.parametrize("figure", [fig01, fig07])
def test_networks_beyond_the_papers_list_have_panels_of_their_own(runs, figure):
    def drawn(given):
        table = figure.tidy(given)
        picture = figure.draw(table, fig01.growth(given), {}) if figure is fig01 else figure.draw(table)
        rows = [[axes for axes in part.axes if axes.get_xticklabels()] for part in picture.subfigs]
        names = [{text.get_text().replace("\n", " ") for axes in row for text in axes.get_xticklabels()} for row in rows]
        return texts(picture), names, figure.caption(table, {})

    shown, names, caption = drawn([*BEYOND, *runs])
    assert BEYOND_NOTE in shown
    assert "A'" in shown
    assert {"AlexNet", "VGG11 BN", "ResNet50 v2"} <= names[0]
    assert {"ResNet20 CIFAR-10", "ResNet56 CIFAR-10"} <= names[1]
    assert not names[0] & names[1] & {"AlexNet", "ResNet20 CIFAR-10"}
    assert "the same for networks beyond the paper's list" in caption
    assert f"ResNet20 CIFAR-10, ResNet56 CIFAR-10: {BEYOND_NOTE}" in caption
    # Alone they have no row of the paper's networks above them.
    shown, names, _ = drawn(BEYOND)
    assert BEYOND_NOTE in shown
    assert {"ResNet20 CIFAR-10", "ResNet56 CIFAR-10"} <= names[0]
    shown, _, caption = drawn(runs)
    assert "beyond the paper" not in shown + caption
    assert "A'" not in shown
