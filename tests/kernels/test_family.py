"""Padding, strides, activations and pooling against Neural Tangents and against numerical integration; what is refused."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from convrfm.errors import ConfigError, ImageSizeError, InputError
from convrfm.kernels import CNNGP, CNTK, PatchLaplace
from convrfm.kernels.neural_tangents import expand_patches
from convrfm.kernels.pytorch import ACTIVATIONS
from convrfm.numerics.patches import power
from convrfm.rfm.deep import DeepSettings, fit_stages
from convrfm.rfm.rounds import RFMSettings, StageData, fit_rounds
from kernels.cases import random_images, random_metric

# With an odd number of pixels, padding is on both sides in Neural Tangents as well, whatever the stride.
OPTIONS = [
    {"padding": "zeros"}, {"padding": "circular"}, {"stride": 2}, {"stride": (2, 1), "padding": "zeros"},
    {"stride": (1, 2), "padding": "circular"}, {"activation": "erf"}, {"activation": "gelu"}, {"pooling": "global"},
    {"pooling": 2}, {"pooling": 2, "padding": "zeros", "stride": (1, 2)}, {"activation": "erf", "padding": "zeros"},
    {"pooling": "global", "padding": "circular", "activation": "gelu"}, {"pooling": 1}, {"patch_size": 5, "padding": "zeros"},
]  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised inside JAX


def neural_tangents(kernel):
    """The kernel of patch-expanded images, as built by Neural Tangents."""
    from neural_tangents import stax

    spec, layers = kernel.spec, []
    q, pooled = spec.patch_size, spec.pooling
    activation = {"relu": stax.ABRelu(0.0, 2.0**0.5), "erf": stax.Erf(), "gelu": stax.Gelu()}[spec.activation]
    padding = {"valid": "VALID", "zeros": "SAME", "circular": "CIRCULAR"}[spec.padding]
    for layer in range(spec.depth):
        strides = (q, q) if layer == 0 else (spec.stride(layer),) * 2
        std = float(q) if spec.activation == "relu" else 1.0
        layers += [stax.Conv(1, (q, q), strides, "VALID" if layer == 0 else padding, W_std=std, b_std=None), activation]
    if isinstance(pooled, int):
        layers += [stax.AvgPool((pooled, pooled), (pooled, pooled))]
    layers += [stax.GlobalAvgPool() if pooled == "global" else stax.Flatten(), stax.Dense(1, W_std=1.0, b_std=None)]
    entries = stax.serial(*layers)[2]
    return lambda x, z: entries(x, z, "ntk" if spec.tangent else "nngp")


@pytest.mark.parametrize(("kind", "with_metric"), [(CNTK, True), (CNNGP, False)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_agrees_with_neural_tangents(kind, with_metric, options, rng):
    import jax
    from jax.experimental import enable_x64

    kernel = kind(**{"depth": 2, **options})
    q, channels = kernel.patch_size, 2
    x, z = random_images(rng, 3, channels, 7, 9), random_images(rng, 3, channels, 7, 9)
    z[0] = x[1]
    metric = random_metric(rng, channels * q * q) if with_metric else None
    root = np.eye(channels * q * q) if metric is None else power(metric, 0.5)
    alpha = rng.standard_normal((3, 2))
    with enable_x64():
        entries = neural_tangents(kernel)
        # Where padding and the stride of the first layer put patches is the subject of the next test.
        rows, columns = (kernel.prepare(images).form.values for images in (x, z))

        def expand(patches):
            return expand_patches(patches @ root, channels, q)

        gram = np.asarray(entries(expand(rows), expand(columns)))
        jacobian = jax.jit(jax.jacrev(lambda point: entries(expand(point[None]), expand(rows))[0] @ alpha))
        # Its gradients at equal images depend on rounding; ours are compared for the paper's network, in test_oracles.
        gradients = [np.asarray(jacobian(point)).reshape(-1, len(root)) for point in columns[1:]]
    agop = sum(gradient.T @ gradient for gradient in gradients) / len(gradients)
    assert_close(kernel.gram(x, z, metric), gram, "gram")
    assert_close(kernel.patch_agop(x, z[1:], alpha, metric), agop, "agop")


@pytest.mark.parametrize(("padding", "mode"), [("valid", None), ("zeros", "constant"), ("circular", "circular")])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_patches_are_those_of_a_convolution_of_pytorch(padding, mode, stride, rng):
    images = random_images(rng, 2, 3, 8, 7)
    patches = CNTK(depth=1, padding=padding, stride=stride, backend="torch").prepare(images).form.values
    filters = torch.from_numpy(rng.standard_normal((5, 3, 3, 3)))
    given = torch.from_numpy(images)
    given = given if mode is None else torch.nn.functional.pad(given, (1, 1, 1, 1), mode=mode)
    expected = torch.nn.functional.conv2d(given, filters, stride=stride)
    assert_close(patches @ filters.flatten(1).numpy().T, expected.permute(0, 2, 3, 1).numpy(), "exact")


def test_strides_and_padding_of_later_layers_are_those_of_pytorch(rng):
    """Even sizes, where Neural Tangents pads one side alone: the covariance of a wide random network."""
    x = random_images(rng, 2, 1, 6, 8)
    x[:, :, 1:] *= 0.1  # it matters which rows of positions there are
    kernel = CNNGP(depth=2, padding="zeros", stride=(1, 2))
    draw = torch.Generator().manual_seed(0)
    total, width, draws = np.zeros((2, 2)), 512, 40
    for _ in range(draws):
        hidden = torch.from_numpy(x)
        for layer, channels in enumerate((1, width)):
            weights = torch.randn((width, channels, 3, 3), generator=draw, dtype=torch.float64) / channels**0.5
            hidden = torch.nn.functional.conv2d(hidden, weights, stride=layer + 1, padding=1).relu() * 2**0.5
        flat = hidden.flatten(1)
        total += (flat @ flat.T / flat.shape[1]).numpy()
    found = kernel.gram(x)
    assert np.abs(total / draws - found).max() < 0.03 * found.max()
    other = CNNGP(depth=2, padding="zeros").gram(x)  # negative control
    assert np.abs(total / draws - other).max() > 0.06 * found.max()


@pytest.mark.parametrize(("name", "function"), [("erf", torch.erf), ("gelu", torch.nn.functional.gelu)])
def test_activations_against_numerical_integration(name, function):
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    grid = torch.from_numpy(np.stack(np.meshgrid(nodes, nodes)).reshape(2, -1))
    measure = torch.from_numpy(np.outer(weights, weights).reshape(-1) / (2 * np.pi))
    for a, b, s in ((1.3, 0.7, 0.5), (0.4, 2.0, -0.6), (3.0, 3.0, 2.9)):
        root = torch.linalg.cholesky(torch.tensor([[a, s], [s, b]], dtype=torch.float64))
        inputs = (root @ grid).requires_grad_(True)
        u, v = function(inputs)
        (slopes,) = torch.autograd.grad(u.sum() + v.sum(), inputs)
        expected = (measure * u * v).sum().item(), (measure * slopes[0] * slopes[1]).sum().item()
        found = [value.item() for value in ACTIVATIONS[name](*torch.tensor([s, a, b], dtype=torch.float64))]
        assert found == pytest.approx(expected, rel=1e-6)


def test_rounds_with_another_architecture_and_stages_without(rng):
    labels = np.arange(20) % 2
    images = random_images(rng, 20, 1, 6, 6) + labels[:, None, None, None] * rng.standard_normal((1, 1, 6, 6))
    data = StageData(images, labels, 2, np.arange(20), images, labels)
    settings = RFMSettings(rounds=2, ridges=(1e-3,), selection="test")
    kernel = CNTK(depth=2, padding="zeros", stride=(1, 2), activation="gelu")
    result = fit_rounds(kernel, data, settings, rng)
    assert result.metrics[1].shape == (9, 9)
    assert result.history["test_accuracy"].iloc[1] > 0.9
    assert len(fit_stages(kernel, data, settings, DeepSettings(stages=1), rng)) == 1
    with pytest.raises(InputError, match=r"padding='zeros'.* is for one stage"):
        fit_stages(kernel, data, settings, DeepSettings(stages=2), rng)
    assert kernel.shallower(1).spec.strides == (2,)


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_pixels_of_any_size(backend, rng):
    """The kernel of a ReLU network is homogeneous: products of variances need not fit into float64."""
    x = random_images(rng, 3, 1, 6, 6)
    kernel = CNTK(depth=2, backend=backend)
    # Near r = 1 rounding counts as its square root.
    assert np.allclose(kernel.gram(1e-85 * x) / 1e-170, kernel.gram(x), rtol=1e-7)


@pytest.mark.parametrize("options", [{"padding": "zeros"}, {"pooling": "global", "activation": "gelu"}], ids=str)
def test_little_memory_changes_nothing(options, rng):
    x, z, alpha = random_images(rng, 5, 2, 6, 6), random_images(rng, 4, 2, 6, 6), rng.standard_normal((5, 3))
    much, little = (CNTK(depth=2, memory=memory, **options) for memory in (10**9, 1))
    assert_close(little.gram(x, z), much.gram(x, z), "exact")
    assert_close(little.patch_agop(x, z, alpha), much.patch_agop(x, z, alpha), "exact")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"padding": "same"}, "padding must be 'valid', 'zeros' or 'circular', but it is 'same'"),
        ({"padding": "zeros", "patch_size": 2}, "padding must be 'valid' where patch_size is even, but it is 'zeros'"),
        ({"activation": "tanh"}, "activation must be 'relu', 'erf' or 'gelu'"),
        ({"stride": 0}, "stride must be"),
        ({"stride": (1, 2)}, "one for each convolution"),
        ({"stride": "2"}, "stride must be"),
        ({"stride": 1.0}, "stride must be"),
        ({"pooling": 0}, "pooling must be None, 'global' or an integer of at least 1"),
        ({"pooling": "max"}, "pooling must be"),
    ],
)
def test_options_out_of_range(options, match):
    with pytest.raises(InputError, match=match):
        CNTK(depth=3, **options)


def test_other_backends_refuse_what_they_do_not_compute():
    assert CNTK(padding="zeros").backend == "torch"
    for backend in ("cpu", "reference", "neural-tangents"):
        with pytest.raises(ConfigError, match=f"padding='zeros', pooling=2: only .* torch .* but backend is '{backend}'"):
            CNTK(padding="zeros", pooling=2, backend=backend)
    with pytest.raises(ConfigError, match="The backend torch has no Laplace kernel"):
        PatchLaplace(backend="torch")


@pytest.mark.parametrize(
    ("options", "shape"),
    [({"stride": 2}, (8, 9)), ({"pooling": 3}, (8, 9)), ({"padding": "circular", "patch_size": 7}, (2, 9))],
)
def test_images_too_small(options, shape):
    kernel = CNTK(depth=3, **options)
    with pytest.raises(ImageSizeError, match=r"too small for CNTK\(depth=3"):
        kernel.gram(np.ones((2, 1, *shape)))


def test_small_images_suffice_with_padding():
    assert CNTK(depth=5, padding="zeros").gram(np.ones((1, 1, 2, 2))).shape == (1, 1)


def test_a_huge_depth_is_answered_at_once():
    CNTK(depth=10**30, padding="zeros").check_size(9, 9)
    with pytest.raises(ImageSizeError):
        CNTK(depth=10**30, stride=2).check_size(9, 9)


def test_repr_names_the_options():
    kernel = CNTK(depth=2, padding="zeros", stride=(2, 1), pooling="global")
    assert eval(repr(kernel), {"CNTK": CNTK}).spec == kernel.spec
    assert repr(CNTK(depth=2, backend="cpu")) == "CNTK(depth=2, patch_size=3, backend='cpu')"
