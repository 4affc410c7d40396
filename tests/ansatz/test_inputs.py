"""What `measure` takes: precisions, data as people have them, outputs of every kind, modes of autograd; what it refuses."""

import warnings
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tolerance import assert_close
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from convrfm import AgopAccumulator, correlations, measure, summarise
from convrfm.errors import ConvRFMWarning, InputError, NonFiniteError

pytestmark = pytest.mark.usefixtures("one_thread")


def small(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, outputs)
    ).eval()  # fmt: skip


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 2, 8, 8)


def same(found, expected, kind="ansatz", dtype="float64") -> None:
    assert list(found) == list(expected)
    for name, layer in expected.items():
        assert_close(found[name].agop.dense(), layer.agop.dense(), kind, dtype)


# Precision


def relative(found, expected) -> float:
    return max(
        float(np.abs(found[name].agop.dense() - layer.agop.dense()).max() / np.abs(layer.agop.dense()).max())
        for name, layer in expected.items()
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_sums_are_float32_in_networks_of_half_precision(dtype, tolerance, images):
    # Many outputs, over which a sum in half precision stops growing.
    half = small(1000).to(dtype)
    truth = measure(small(1000).to(dtype).double(), images.to(dtype).double())
    found = measure(half, images.to(dtype))
    assert relative(found, truth) < tolerance
    for name, layer in truth.items():
        assert np.trace(found[name].core[0]) == pytest.approx(np.trace(layer.core[0]), rel=tolerance)
        assert found[name].weight.dtype == np.float32


def test_gradients_that_underflow_in_half_precision(images):
    # Squares of these gradients, and some of the gradients, are below what float16 holds.
    model = small().half()
    with torch.no_grad():
        model[-1].weight.mul_(1e-3)
    truth = measure(small().half().double(), images.half().double())  # before the factor
    found = measure(model, images.half())
    for name, layer in truth.items():
        assert np.trace(found[name].core[0]) == pytest.approx(1e-6 * np.trace(layer.core[0]), rel=0.05)
    with torch.no_grad():
        model[-1].weight.mul_(1e-3)
    with pytest.raises(NonFiniteError, match=r"too small or too large for float16.*network\.float\(\)"):
        measure(model, images.half())


class Autocast(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(images)


def test_a_layer_whose_gradients_vanish_in_half_precision(images):
    with pytest.warns(ConvRFMWarning, match="'branch'"):
        found = measure(ZeroGamma().eval().half(), images.half())
    assert np.isfinite(found["stem"].correlation().value)


def test_autocast_around_and_inside(images):
    truth = measure(small(200), images)
    with torch.autocast("cpu", torch.bfloat16):
        around = measure(small(200), images)
    inside = measure(Autocast(small(200)).eval(), images)
    assert relative(around, truth) < 0.05
    same({name.removeprefix("model."): layer for name, layer in inside.items()}, around)


def test_products_are_not_rounded_to_bfloat16(images):
    truth = measure(small(), images)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        same(measure(small(), images), truth)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)


# Images


class Endless(Dataset):
    """One that does not end by itself, as many do not."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        torch.manual_seed(1)
        return torch.randn(3, 2, 8, 8)[index % 3], 0


class Stream(IterableDataset):
    """Data without a length."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __iter__(self):
        return iter(self.images)


def test_images_come_in_many_forms(images):
    expected, model = measure(small(), images, batch_size=2), small()
    labels = torch.arange(3)
    data = TensorDataset(images, labels)
    array = images.numpy()
    read_only = array.copy()
    read_only.flags.writeable = False
    forms = {
        "array": array,
        "read-only array": read_only,
        "another byte order": array.astype(">f4"),
        "negative strides": array[::-1][::-1],
        "loader": DataLoader(data, batch_size=2),
        "loader of images": DataLoader(images, batch_size=2),
        "data set": data,
        "endless data set": Endless(),
        "stream": DataLoader(Stream(images), batch_size=2),
        "list of batches": list(images.split(2)),
        "list of images": list(images),
        "list of arrays": list(array),
        "generator": (batch for batch in images.split(2)),
        "pairs": [(images[:2], labels[:2]), (images[2:], labels[2:])],
    }
    for form in forms.values():
        same(measure(model, form, batch_size=2), expected)


def test_a_tolerance_goes_through_loaders_again_but_not_through_generators(images):
    loader = DataLoader(TensorDataset(images, torch.arange(3)), batch_size=2)
    found = measure(small(40), loader, "probe", probes=8, tolerance=1e-9, most_probes=24)
    assert found["0"].images == 9
    with pytest.raises(InputError, match="a generator gives them once"):
        measure(small(), iter(loader), "probe", tolerance=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x * 99).to(torch.uint8), r"uint8: scale them .*/ 255"),
        (lambda x: x.double(), "float64 and the weights float32: convert one"),
        (lambda x: x.half(), "float16 and the weights float32"),
        (lambda x: torch.randn(2, 8, 8, 4), "channels last.*permute"),
        (lambda x: x[0], r"\(n, channels, height, width\)"),
        (lambda x: [x[0, 0]], r"\(n, channels, height, width\)"),
        (lambda x: "folder/of/images", "of type str"),
        (lambda x: 3, "of type int"),
        (lambda x: [{"pixel_values": x}], "one is a dict"),
        (lambda x: [[x[0], x[1]]], "one is several arrays of images"),
        (lambda x: [(x, x)], "one is several arrays of images"),
        (lambda x: [], "No images"),
        (lambda x: [x[0], x[0, :, 1:]], "must have one shape and dtype"),
        (lambda x: x[:, :1], "does not run on images of shape.*: RuntimeError"),
        (lambda x: np.array([["a"]]), r"\(n, channels, height, width\)"),
        (lambda x: np.full((1, 2, 8, 8), "a"), "which PyTorch does not support"),
    ],
)
def test_images_that_are_refused(change, message, images):
    model = nn.Sequential(nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(128, 3)).eval() if "last" in message else small()
    with pytest.raises(InputError, match=message):
        measure(model, change(images))


# Outputs


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor


class Giving(nn.Module):
    def __init__(self, form) -> None:
        super().__init__()
        self.body, self.form = small(), form

    def forward(self, images: torch.Tensor):
        return self.form(self.body(images))


FORMS = {
    "tuple": (lambda y: (y.mean(), y), 1),
    "list": (lambda y: [y], 0),
    "dict": (lambda y: {"logits": y, "loss": y.mean()}, "logits"),
    "dataclass": (lambda y: Answer(y, y), "logits"),
    "namespace": (lambda y: SimpleNamespace(out=y), "out"),
    "maps": (lambda y: y[:, :, None, None], lambda given: given.flatten(1)),
}


@pytest.mark.parametrize("name", FORMS)
def test_outputs_are_chosen(name, images):
    form, output = FORMS[name]
    model, expected = Giving(form).eval(), measure(small(), images)
    found = measure(model, images, output=output)
    same({layer.removeprefix("body."): value for layer, value in found.items()}, expected)
    with pytest.raises(InputError, match="`output`"):
        measure(model, images)
    if not callable(output):
        with pytest.raises(InputError, match="picks nothing"):
            measure(model, images, output="nonsense" if isinstance(output, str) else 7)


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = small()

    def forward(self, images: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.body(images) * scale


def test_several_inputs_are_refused(images):
    with pytest.raises(InputError, match=r"missing 1 required positional argument: 'scale'.*wrap it in a module"):
        measure(Several().eval(), images)


@pytest.mark.parametrize("form", [lambda y: torch.complex(y, y), lambda y: y[:, :0], lambda y: y.argmax(1, True)])
def test_outputs_that_are_no_real_numbers(form, images):
    with pytest.raises(InputError, match="must be real numbers of at least one class"):
        measure(Giving(form).eval(), images)


def test_layers_are_any_iterable_of_names(images):
    expected = measure(small(), images, layers=["0", "2"])
    for names in (np.array(["0", "2"]), (name for name in "02"), {"0": 1, "2": 2}):
        same(measure(small(), images, layers=names), expected)


# Networks that mix images, or are random


class Mixing(nn.Module):
    def __init__(self, how) -> None:
        super().__init__()
        self.body, self.how = small(), how

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(self.how(images))


@pytest.mark.parametrize(
    "how",
    [
        lambda x: x - x.mean(0),
        lambda x: nn.functional.batch_norm(x, None, None, training=True),
        lambda x: x / x.abs().amax(),
        lambda x: nn.functional.dropout(x),
    ],
)
def test_networks_that_mix_images_are_refused(how, images):
    with pytest.raises(InputError, match="mixes the images of a batch, or draws random numbers"):
        measure(Mixing(how).eval(), images)
    for first in (images[:1], images[[0, 0]]):  # nothing shows yet, unless numbers are random
        with pytest.raises(InputError, match="mixes the images"):
            measure(Mixing(how).eval(), [first, images])


@pytest.mark.parametrize("form", [lambda y: y[:, :1].expand(-1, len(y)), lambda y: y.repeat(1, len(y))])
def test_as_many_outputs_as_there_are_images_are_refused(form, images):
    with pytest.raises(InputError, match="mixes the images"):
        measure(Giving(form).eval(), images)


def test_random_networks_are_refused_with_single_images(images):
    with pytest.raises(InputError, match="draws random numbers"):
        measure(Mixing(nn.functional.dropout).eval(), images, batch_size=1)


@pytest.mark.parametrize("form", [torch.clone, lambda x: x.numpy().copy()])
def test_networks_may_change_images_in_place(form, images):
    given = form(images)
    found = measure(Mixing(lambda x: x.mul_(2)).eval(), given)
    same(found, measure(Mixing(lambda x: 2 * x).eval(), images))
    assert np.array_equal(given, images)


# Gradients that vanish


def zero_head() -> nn.Module:
    model = small()
    nn.init.zeros_(model[-1].weight)
    return model


class ZeroGamma(nn.Module):
    """A residual branch that is switched off before training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.readout = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.tanh(self.stem(images))
        return self.readout((maps + self.gamma * self.branch(maps)).mean((2, 3)))


@pytest.mark.parametrize("mode", ["exact", "probe"])
def test_a_layer_whose_gradients_vanish_does_not_lose_the_others(mode, images):
    with pytest.warns(ConvRFMWarning, match="vanish at 'branch': .*A later layer"):
        layers = measure(ZeroGamma().eval(), images, mode)
    table = summarise(layers, seed=0).set_index(["layer", "quantity", "power"])["value"]
    assert table["branch"].isna().all()
    assert table["stem"].notna().all()
    assert correlations(layers).set_index("layer")["value"].isna().tolist() == [False, True]
    with pytest.warns(ConvRFMWarning, match="'0', '2'"):
        assert correlations(measure(zero_head(), images, mode))["value"].isna().all()


def test_a_vanishing_layer_does_not_ask_for_probes_for_ever(images):
    with pytest.warns(ConvRFMWarning, match="'branch'"):
        found = measure(ZeroGamma().eval(), images, "probe", probes=16, tolerance=0.5)
    assert found["stem"].counts.sum() == 3 * 16


def test_too_much_noise_is_one_row(images):
    found = measure(small(200), images, "probe", probes=4)
    noisy = found["0"].sums.copy()
    noisy[0], noisy[1:] = noisy.sum(axis=0), -noisy.sum(axis=0) / 7
    with pytest.warns(ConvRFMWarning, match="^0: The noise of the probes exceeds"):
        table = correlations({"0": replace(found["0"], sums=noisy), "2": found["2"]})
    assert table["value"].isna().tolist() == [True, False]


@pytest.mark.parametrize(("dtype", "factor"), [(torch.float32, 1e-20), (torch.float64, 1e-80), (torch.float64, 1e80)])
def test_gradients_whose_squares_are_out_of_range(dtype, factor, images):
    model = small().to(dtype)
    expected = correlations(measure(model, images.to(dtype)))["value"]
    for scale, refused in ((factor**0.5, False), (factor, True)):
        scaled = Giving(lambda y, scale=scale: y * scale)
        scaled.body = model
        accumulator = AgopAccumulator(scaled.eval())
        accumulator.update(images.to(dtype))
        if refused:
            with pytest.raises(NonFiniteError, match=r"gradients at 'body\.0' are too small or too large to be squared"):
                accumulator.finalize()
        else:
            assert correlations(accumulator.finalize())["value"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


# Modes of autograd, and where networks are


def test_inference_mode_and_no_grad_around(images):
    expected = measure(small(), images)
    with torch.no_grad():
        same(measure(small(), images), expected)
    with torch.inference_mode():
        same(measure(small(), images), expected)
        made = small()
        same(measure(made, images.clone()), expected)
    same(measure(made, images), expected)


class Within(nn.Module):
    def __init__(self, mode) -> None:
        super().__init__()
        self.body, self.mode = small(), mode

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self.mode():
            return self.body(images)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_networks_that_are_refused_in_a_sentence(images):
    for wrong in (None, {}, small, "resnet18"):
        with pytest.raises(InputError, match="must be a torch.nn.Module".replace(".", r"\.")):
            measure(wrong, images)
    for mode in (torch.no_grad, torch.inference_mode):
        with pytest.raises(InputError, match=r"'body\.0' runs where nothing is differentiated \(no_grad, inference mode"):
            measure(Within(mode).eval(), images)
    with pytest.raises(InputError, match="outputs do not depend on any of the measured layers"):
        measure(Giving(torch.Tensor.detach).eval(), images)
    with pytest.raises(InputError, match="no real-valued parameter or buffer"):
        measure(nn.Sequential(nn.Conv2d(2, 3, 3, dtype=torch.complex64)).eval(), images)
    with pytest.raises(InputError, match="attribute `module`"):
        measure(nn.DataParallel(small()).eval(), images)
    with pytest.raises(InputError, match=r"before torch\.compile"):
        measure(torch.compile(small()).eval(), images)
    with torch.device("meta"):
        away = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 3)).eval()
    with pytest.raises(InputError, match=r"'0\.weight' is on the meta device"):
        measure(away, images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        lazy = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.LazyLinear(3)).eval()
    with pytest.raises(InputError, match=r"'2\.weight' is lazy"):
        measure(lazy, images)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_networks_are_refused(images):
    with pytest.raises(InputError, match="TorchScript modules are not supported"):
        measure(torch.jit.script(small()), images)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.aux1, self.aux2 = small(), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


def test_all_layers_that_are_never_called_are_named_with_the_way_out(images):
    network = TwoHeads().eval()
    with pytest.raises(InputError, match="'aux1', 'aux2' were never called") as caught:
        measure(network, images)
    way_out = str(caught.value).split("layers=")[1].rstrip(".")
    assert set(measure(network, images, layers=eval(way_out))) == {"body.0", "body.2"}


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"probes": 2.5}, "probes"),
        ({"probes": True}, "probes"),
        ({"blocks": 0}, "blocks"),
        ({"seed": -1}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"tolerance": 0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"most_probes": "9"}, "most_probes"),
        ({"tolerance": "x"}, "tolerance"),
        ({"layers": []}, "layers"),
        ({"layers": 23}, "layers"),
        ({"layers": [True]}, "layers"),
    ],
)
def test_settings_out_of_range(arguments, name, images):
    with pytest.raises(InputError, match=name):
        measure(small(), images, "probe", **arguments)


# Memory


def test_cores_are_as_small_as_they_can_be(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 24, 1), nn.ReLU(), nn.Conv2d(24, 3, 3), nn.Flatten(), nn.Linear(108, 2)).eval()
    accumulator = AgopAccumulator(model)
    accumulator.update(images)
    found = accumulator.finalize()
    assert found["0"].sums.shape == (8, 1, 2, 2)  # 24 filters of 2 numbers
    assert found["2"].sums.shape == (8, 1, 3, 3)  # 3 filters of 216
    assert accumulator.finalize()["0"].sums is found["0"].sums  # no copy
    before = found["0"].sums.copy()
    accumulator.update(images)
    assert np.array_equal(found["0"].sums, before)  # what was given does not change
