"""The patch-AGOP of networks: against its definition, over batches, probes, resuming, refusals."""

import numpy as np
import pytest
import torch
from tolerance import assert_close
from torch import nn

from ansatz.brute_force import called_agop, patch_agop
from convrfm.ansatz.accumulator import AgopAccumulator
from convrfm.ansatz.agop import measure
from convrfm.ansatz.filter_forms import FilterForm
from convrfm.errors import InputError, NonFiniteError


class Twice(nn.Module):
    """One convolution that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.readout = nn.Linear(3 * 36, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.tanh(self.first(images))
        return self.readout(torch.tanh(self.again(torch.tanh(self.again(maps)))).flatten(1))


class Branches(nn.Module):
    """Two convolutions see the images, one of them in a residual block that is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 1)
        self.norm, self.inside = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm.running_mean.normal_()
        self.readout = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.right(images).mul_(2)
        maps += self.left(images).relu_()
        inside = self.norm(self.inside(maps))
        inside += maps
        return self.readout(inside.relu_().mean((2, 3)))


def sequence(*layers: nn.Module, readout: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(readout, 3))


NETWORKS = {
    "bias and in-place activation": lambda: sequence(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), readout=64),
    "groups": lambda: sequence(nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(True), nn.Conv2d(6, 6, 1, groups=3), readout=96),
    "depthwise": lambda: sequence(nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.SiLU(True), readout=144),
    "stride and dilation": lambda: sequence(nn.Conv2d(2, 4, 2, stride=2, dilation=3, padding=2), nn.Tanh(), readout=64),
    "uneven": lambda: sequence(nn.Conv2d(2, 4, (1, 3), stride=(2, 1), padding=(0, 1)), nn.Tanh(), readout=72),
    "same padding": lambda: sequence(nn.Conv2d(2, 4, (4, 3), padding="same"), nn.Tanh(), readout=144),
    "circular": lambda: sequence(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Tanh(), readout=144),
    "reflect": lambda: sequence(nn.Conv2d(2, 4, 3, padding=2, padding_mode="reflect"), nn.Tanh(), readout=256),
    "replicate": lambda: sequence(nn.Conv2d(2, 4, 3, padding=1, padding_mode="replicate"), nn.Tanh(), readout=144),
    "used twice": Twice,
    "branches": Branches,
}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().double().eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_exact_mode_equals_patch_jacobians(name, images):
    model = made(name)
    for layer, found in measure(model, images, batch_size=2).items():
        expected = patch_agop(model, layer, images).numpy()
        assert_close(found.agop.dense(), expected, "ansatz")
        assert_close(FilterForm(found.weight, found.core).dense(), expected, "ansatz")


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_networks_of_torchvision_equal_patch_jacobians(name):
    from torchvision.models import get_model

    torch.manual_seed(0)
    model = get_model(name, num_classes=2)
    if name == "vgg11":  # the paper's convolutions, with a smaller head
        model.classifier = nn.Linear(512 * 49, 2)
    model.eval()
    images = torch.rand(1, 3, 32, 32)
    found = measure(model, images)
    assert len(found) == {"resnet18": 20, "vgg11": 8}[name]
    for layer in list(found)[::3]:  # of all kinds; a Jacobian takes seconds
        expected = patch_agop(model, layer, images).numpy()
        assert_close(found[layer].agop.dense(), expected, "ansatz", "float32")


def test_the_comparison_can_fail(images):
    model = made("groups")
    found, expected = measure(model, images)["0"].agop.dense(), patch_agop(model, "0", images).numpy()
    q = 3
    order = np.arange(q * q).reshape(1, q, q).transpose(0, 2, 1).reshape(-1)
    with pytest.raises(AssertionError):
        assert_close(found[:, order][:, :, order], expected, "ansatz")  # rows and columns of the patch exchanged


def test_batches_do_not_matter(images):
    model = made("branches")
    whole, single = measure(model, images, batch_size=3), measure(model, images, batch_size=1)
    for layer, found in whole.items():
        assert_close(single[layer].sums, found.sums, "ansatz")
        assert (single[layer].counts == found.counts).all()
        assert single[layer].images == 3
    probes = [measure(model, images, "probe", batch_size=size, probes=5, seed=3) for size in (1, 2)]
    for layer, found in probes[0].items():
        assert_close(probes[1][layer].sums, found.sums, "ansatz")


def test_the_network_is_left_as_it_is(images):
    model = made("branches")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure(model, images)
    assert all((before[name] == value).all() for name, value in model.state_dict().items())
    assert all(value.grad is None and value.requires_grad for value in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_probes_are_unbiased(images):
    model = made("branches")
    exact, probed = measure(model, images), measure(model, images, "probe", probes=4000, blocks=20)
    for layer, found in probed.items():
        assert found.counts.sum() == 3 * 4000
        cores = found.sums / found.counts[:, None, None, None]
        error = cores.std(axis=0, ddof=1) / np.sqrt(20)
        # Few of the many entries are more than four standard errors away.
        assert (np.abs(cores.mean(axis=0) - exact[layer].core) < 4 * error + 1e-12).mean() > 0.98


def test_corrected_correlations_are_right_where_plain_ones_are_too_low(images):
    model = sequence(nn.Conv2d(2, 12, 3), nn.Tanh(), readout=192).double().eval()
    truth = measure(model, images[:1])["0"].correlation().value
    corrected, plain = [], []
    for seed in range(40):
        found = measure(model, images[:1], "probe", probes=2, blocks=2, seed=seed)["0"]
        corrected.append(found.correlation().value)
        total = found.counts.sum()
        plain.append(measure_without_correction(found, total))
    error = np.std(corrected, ddof=1) / np.sqrt(40)
    assert abs(np.mean(corrected) - truth) < 4 * error
    assert truth - np.mean(plain) > 10 * np.std(plain, ddof=1) / np.sqrt(40)


def measure_without_correction(found, total):
    from convrfm.ansatz.filter_forms import pearson

    return pearson(found.cnfm, found.cnfm.with_core(found.sums.sum(axis=0) / total))


def test_more_probes_until_the_tolerance(images):
    model = made("used twice")
    loose = measure(model, images, "probe", probes=8, tolerance=1.0)
    tight = measure(model, images, "probe", probes=8, tolerance=0.01)
    given_up = measure(model, images, "probe", probes=8, tolerance=1e-9, most_probes=32)
    assert loose["first"].counts.sum() == 8 * 3
    assert max(layer.correlation().standard_error for layer in tight.values()) <= 0.01
    assert given_up["first"].counts.sum() == 32 * 3


@pytest.mark.parametrize("mode", ["exact", "probe"])
def test_going_on_from_a_state_gives_the_same(mode, images):
    model = made("groups")
    whole, first = (AgopAccumulator(model, mode, probes=3, seed=1) for _ in range(2))
    for image in images:
        whole.update(image[None])
    first.update(images[:1])
    later = AgopAccumulator(model, mode, probes=3, seed=1)
    later.load_state(first.state())
    for image in images[1:]:
        later.update(image[None])
    for layer, found in whole.finalize().items():
        assert np.array_equal(later.finalize()[layer].sums, found.sums)
        assert np.array_equal(later.finalize()[layer].counts, found.counts)
    with pytest.raises(InputError, match="another network"):
        AgopAccumulator(model, mode, blocks=3).load_state(first.state())


class Unused(nn.Module):
    """A convolution that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.spare = sequence(nn.Conv2d(2, 4, 3), readout=64), nn.Conv2d(1, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


class Detached(Unused):
    """A convolution whose output is cut off."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images) + self.spare(images[:, :1]).detach().sum((1, 2, 3))[:, None]


class Folded(nn.Module):
    """The channels become images of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images.flatten(0, 1)[:, None]).mean((1, 2, 3)).reshape(len(images), -1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (sequence(nn.Conv2d(2, 4, 3), readout=64), "train mode: call eval"),
        (sequence(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), readout=64).eval(), "running statistics"),
        (nn.Conv2d(2, 4, 3).eval(), "logits only"),
        (nn.Sequential(nn.Flatten(), nn.Linear(72, 2)).eval(), "No convolution to measure"),
        (Unused().eval(), "'spare' was never called"),
        (Detached().eval(), "'spare' does not reach the outputs"),
        (Folded().eval(), r"'conv' got a batch .* by batch_size=1, or leave out"),
        (nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten()).eval(), "lazy"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_what_cannot_be_measured_is_refused(model, message, images):
    model = model if "Lazy" in repr(model) else model.double()
    with pytest.raises(InputError, match=message):
        measure(model, images)


def test_single_images_of_a_network_that_folds_its_batch(images):
    model = Folded().double().eval()
    found = measure(model, images, batch_size=1)["conv"]
    assert_close(found.agop.dense(), called_agop(model, "conv", images).numpy(), "ansatz")


def test_memory_that_does_not_suffice(images, monkeypatch):
    def full(*_args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    model = made("groups")
    monkeypatch.setattr(model[-1], "forward", full)
    with pytest.raises(InputError, match="Out of memory with 3 images at a time: lower batch_size"):
        measure(model, images)


def test_an_unused_layer_can_be_left_out(images):
    found = measure(Unused().double().eval(), images, layers=["body.0"])
    assert list(found) == ["body.0"]


def test_bad_arguments(images):
    model = made("groups")
    with pytest.raises(InputError, match="'exact' or 'probe'"):
        AgopAccumulator(model, "both")
    with pytest.raises(InputError, match="at least 1"):
        AgopAccumulator(model, probes=0)
    with pytest.raises(InputError, match="Unknown layer 'nine'; the names are 0, 2"):
        AgopAccumulator(model, layers=["nine"])
    with pytest.raises(InputError, match="Nothing has been measured yet"):
        AgopAccumulator(model).finalize()
    with pytest.raises(InputError, match=r"without empty axes, but it is \(0, 2, 6, 6\)"):
        AgopAccumulator(model).update(images[:0])
    with pytest.raises(NonFiniteError, match="The images hold NaN"):
        AgopAccumulator(model).update(images * float("nan"))
    broken = made("groups")
    with torch.no_grad():
        broken[0].weight.fill_(float("inf"))
    with pytest.raises(NonFiniteError, match="outputs of the network"):
        AgopAccumulator(broken).update(images)


def test_an_update_that_fails_leaves_nothing(images):
    model = made("branches")
    accumulator, expected = AgopAccumulator(model), measure(model, images)
    with torch.no_grad():
        weight = model.readout.weight.clone()
        model.readout.weight.fill_(float("nan"))
        with pytest.raises(NonFiniteError):
            accumulator.update(images[:2])
        model.readout.weight.copy_(weight)
    accumulator.update(images)
    for layer, found in accumulator.finalize().items():
        assert_close(found.sums, expected[layer].sums, "ansatz")
        assert found.images == 3


@pytest.mark.gpu
def test_on_a_gpu(images):
    model = made("branches")
    expected = measure(model, images)
    found = measure(model.cuda(), images)
    for layer in expected:
        assert_close(found[layer].sums, expected[layer].sums, "smooth")
