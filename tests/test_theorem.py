"""Theorem 1: exact where it has to be, false where its assumptions fail, and the figure that shows both."""

import dataclasses

import numpy as np
import pytest
import torch
from tolerance import assert_close

from convrfm.ansatz.theorem import CASES, check_theorem, correlation_gap
from convrfm.errors import ImageSizeError, InputError, NonFiniteError
from convrfm.numerics.patches import unfold
from convrfm.replication.figures import theorem1
from convrfm.replication.figures.theorem1 import tidy

SIZES = [  # images, channels, height, width, patch size, filters: awkward ones on purpose
    (16, 3, 8, 8, 3, 16),
    (7, 2, 6, 9, 3, 5),
    (12, 3, 9, 7, 5, 24),
    (5, 1, 5, 5, 2, 3),
]
EXACT = [case for case in CASES if case.kind in ("theorem", "weaker")]


pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(size, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(size[:4]), rng.standard_normal(size[0])


def check(case, size, seed):
    return check_theorem(
        case, *drawn(size, seed), patch_size=size[4], filters=size[5], learning_rate=0.5, seed=seed
    )  # fmt: skip


def case(name):
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", EXACT, ids=lambda case: case.name)
def test_the_theorem_holds(kind, size):
    for seed in range(6):
        found = check(kind, size, seed)
        assert set(found.gap) == {"zero", "image", "mean"}
        assert max(found.gap.values()) < 1e-9
        # Everything else stands still: what is behind W sees zeros, what is in front of it gets no gradient.
        assert found.others_moved == 0


@pytest.mark.parametrize("name", ["random-start", "random-readout"])
def test_controls_are_seen_to_fail(name):
    for size in SIZES[:3]:
        for seed in range(6):
            assert min(check(case(name), size, seed).gap.values()) > 1e-2


def test_the_border_counts():
    """Random filters behind W: exact with circular padding, not with zeros, where b points elsewhere near the border."""
    for seed in range(6):
        assert max(check(case("random-behind"), SIZES[0], seed).gap.values()) < 1e-9
        assert min(check(case("random-zero-padding"), SIZES[0], seed).gap.values()) > 1e-5


def test_the_step_is_that_of_the_proof():
    """An oracle without autograd: W = (eta / n) b a^T, and the right side is a multiple of a a^T."""
    size = SIZES[2]
    n, _, height, width, q, k = size
    images, targets = drawn(size, 3)
    found = check(case("first"), size, 3)
    a = np.einsum("p,pijd->d", targets, unfold(images, q))
    positions = (height - q + 1) * (width - q + 1)
    assert_close(found.cnfm, (0.5 / n) ** 2 / positions * np.outer(a, a), "exact")  # ||b||^2 = k / (k positions)
    # At u = 0 every patch has the gradient W^T b.
    gradient = 0.5 / n / positions * a
    assert_close(found.agop["zero"], positions * np.outer(gradient, gradient), "exact")
    assert np.linalg.matrix_rank(found.cnfm) == 1 < k


def test_the_right_side_agrees_with_finite_differences():
    """Patches as independent variables, differentiated by hand, behind a random start."""
    from convrfm.ansatz.theorem import _Network

    network = _Network(case("random-start"), (2, 4, 5), 3, 3, 0)
    patches = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 18, 6)))
    gradients, step = np.empty((18, 6)), 1e-6
    with torch.no_grad():
        for place in np.ndindex(18, 6):
            ends = []
            for sign in (1, -1):
                moved = patches.clone()
                moved[(0, *place)] += sign * step
                ends.append(network.of_patches(moved).item())
            gradients[place] = (ends[0] - ends[1]) / (2 * step)
    error = np.abs(network.patch_agop(patches) - gradients @ gradients.T).max()
    assert error < 1e-7 * np.abs(gradients @ gradients.T).max()


def test_the_network_is_a_convolutional_one():
    """Against PyTorch's own layers, so that the patch order is that of `Conv2d.weight`."""
    from convrfm.ansatz.theorem import _Network

    kind = dataclasses.replace(case("third-of-five"), start="random", filters="random", readout="random")
    network = _Network(kind, (3, 6, 7), 4, 3, 1)
    images = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps = images
    for filters in network.in_front:
        maps = torch.tanh(circular(filters)(maps))
    looked_at = torch.nn.Conv2d(4, 4, 3, bias=False, dtype=torch.float64)
    looked_at.weight.data = network.weight.data.reshape(4, 4, 3, 3)
    maps = torch.tanh(looked_at(maps))
    for filters in network.behind:
        maps = torch.tanh(circular(filters)(maps))
    expected = (maps * network.readout).sum(dim=(1, 2, 3))
    assert_close(network(images).detach().numpy(), expected.detach().numpy(), "exact")


def circular(filters):
    layer = torch.nn.Conv2d(
        filters.shape[1], filters.shape[0], 3, padding=1, padding_mode="circular", bias=False, dtype=torch.float64
    )
    layer.weight.data = filters.data
    return layer


def test_a_wrong_patch_order_is_seen():
    found = check(case("first"), SIZES[0], 0)
    turned = found.agop["mean"].reshape(3, 3, 3, 3, 3, 3).transpose(0, 2, 1, 3, 5, 4).reshape(27, 27)
    assert correlation_gap(found.cnfm, turned) > 1e-3


def test_seeds_decide_and_nothing_global_is_touched():
    state = torch.get_rng_state()
    first, again, other = (check(case("random-start"), SIZES[1], seed) for seed in (0, 0, 1))
    assert (torch.get_rng_state() == state).all()
    assert np.array_equal(first.cnfm, again.cnfm)
    assert first.gap == again.gap != other.gap


def test_the_gap_is_one_minus_the_correlation(rng):
    a, b = rng.standard_normal((2, 5, 5))
    gap = correlation_gap(a, b)
    assert gap == pytest.approx(1 - np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-14)
    assert correlation_gap(3 * a + 1, b) == pytest.approx(gap, abs=1e-14)
    assert correlation_gap(a, -a) == pytest.approx(2)
    # It keeps digits that 1 - correlation loses.
    assert 1e-21 < correlation_gap(a, a + 1e-10 * b) < 1e-19
    for other in (np.ones((5, 5)), np.zeros((5, 5)), np.full((5, 5), np.nan)):
        with pytest.raises(NonFiniteError, match="no Pearson correlation"):
            correlation_gap(a, other)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"images": np.zeros((4, 8, 8))}, InputError, "shapes are"),
        ({"targets": np.zeros(3)}, InputError, "shapes are"),
        ({"images": np.full((4, 1, 6, 6), np.nan)}, NonFiniteError, "NaN"),
        ({"targets": np.array([0, 1, 2, np.inf])}, NonFiniteError, "infinity"),
        ({"patch_size": 7}, ImageSizeError, "too small"),
        ({"filters": 0}, InputError, "filters"),
        ({"learning_rate": 0.0}, InputError, "learning_rate"),
        ({"targets": np.zeros(4)}, NonFiniteError, "step was zero"),
        ({"images": np.zeros((4, 1, 6, 6))}, NonFiniteError, "step was zero"),
    ],
)
def test_bad_input(changes, error, words, rng):
    given = {
        "images": rng.standard_normal((4, 1, 6, 6)), "targets": rng.standard_normal(4), "filters": 3, "patch_size": 3,
        "learning_rate": 0.5, "seed": 0, **changes,
    }  # fmt: skip
    with pytest.raises(error, match=words):
        check_theorem(case("first"), **given)


@pytest.fixture(scope="module")
def table_and_checks():
    size = dict(zip(theorem1.SIZE, SIZES[0], strict=True))
    checks = [(size, seed, check(kind, SIZES[0], seed)) for seed in range(2) for kind in CASES]
    return tidy(checks, "published"), [found for _, _, found in checks]


def test_the_figure(table_and_checks, tmp_path):
    table, checks = table_and_checks
    assert len(table) == 2 * len(CASES) * 3
    assert not table["stand_in"].any()
    shown = [next(found for found in checks if found.case == name) for name in theorem1.SHOWN]
    theorem1.draw(table, shown).savefig(tmp_path / "figure.png")
    worst = table.loc[table["kind"] == "theorem", "one_minus_rho"].max()
    assert f"1 - rho is at most {worst:.1e}, for the first convolution" in theorem1.caption(table)


def test_the_caption_gives_the_worst_of_either_kind(table_and_checks):
    table = table_and_checks[0].copy()
    table.loc[table["case"] == "third-of-five", "one_minus_rho"] = 1e-3
    table.loc[table["case"] == "random-start", "one_minus_rho"] = 1e-4
    text = theorem1.caption(table)
    assert "1 - rho is at most 1.0e-03" in text
    assert "1 - rho is at least 0.0001" in text
