"""The zoo: torchvision's networks whole and narrow, the layers that the paper measures, weights from official files."""

import numpy as np
import pytest
import torch
from datasets.official import weights
from tolerance import assert_close
from torch import nn
from torch.nn import functional

from convrfm.datasets.registry import REGISTRY
from convrfm.datasets.restricted_pickle import read_weights
from convrfm.errors import ImageSizeError, InputError
from convrfm.networks.zoo import CIFAR_NETWORKS, NETWORKS, CifarResNet, fresh, in_paper, narrowed, with_weights

# Convolutions that the paper measures: all of AlexNet and VGG, one for each block of a ResNet.
COUNTS = {
    "alexnet": 5,
    **{f"vgg{depth}{suffix}": depth - 3 for depth in (11, 13, 16, 19) for suffix in ("", "_bn")},
    "resnet18": 8,
    "resnet34": 16,
    "resnet50": 16,
    "resnet101": 33,
    "resnet152": 50,
}


def on_meta(network):
    from torchvision.models import get_model

    with torch.device("meta"):
        return get_model(network, weights=None)


def convolutions(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_networks_are_those_of_the_paper():
    assert set(NETWORKS) == set(COUNTS)


@pytest.mark.parametrize("network", COUNTS)
def test_layers_of_the_paper(network):
    found = [name for name in convolutions(on_meta(network)) if in_paper(network, name)]
    assert len(found) == COUNTS[network]
    if network.startswith("resnet"):
        assert all(name.endswith(".conv1") for name in found)
        assert "conv1" not in found


@pytest.mark.parametrize("network", ["alexnet", "vgg11_bn", "resnet18", "resnet50"])
def test_narrow_networks_keep_names_and_architecture(network):
    whole = on_meta(network)
    small = fresh(network, generator=seeded(), classes=10, divisor=8)
    assert list(small.state_dict()) == list(whole.state_dict())
    first, *rest = convolutions(whole)
    assert small.get_submodule(first).in_channels == 3
    for name in (first, *rest):
        wide, narrow = whole.get_submodule(name), small.get_submodule(name)
        assert narrow.out_channels * 8 == wide.out_channels
        for key in ("kernel_size", "stride", "padding", "dilation", "groups"):
            assert getattr(narrow, key) == getattr(wide, key)
    assert small.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 10)


def test_narrowing_by_one_is_torchvisions_own_network():
    """Same seed, same architecture: the initialisation has the same spread in every layer."""
    whole = fresh("vgg11", generator=seeded(), classes=10)
    torch.manual_seed(0)
    own = narrowed(whole, 1)
    for name, value in whole.state_dict().items():
        other = own.state_dict()[name]
        assert other.shape == value.shape
        assert other.std(correction=0).item() == pytest.approx(value.std(correction=0).item(), rel=0.05, abs=1e-12)


def test_the_signal_keeps_its_scale_in_narrow_vggs(rng):
    images = torch.from_numpy(rng.standard_normal((4, 3, 64, 64)).astype(np.float32))
    with torch.no_grad():
        scales = [
            fresh("vgg11", generator=seeded(), classes=10, divisor=divisor).eval()(images).std().item() for divisor in (1, 4)
        ]
    assert 0.3 < scales[0] / scales[1] < 3


def test_fresh_networks_come_from_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (fresh("resnet18", generator=seeded(seed), classes=7, divisor=16) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    # A generator moves on, as generators do.
    generator = seeded()
    drawn = [fresh("alexnet", generator=generator, classes=2, divisor=16).features[0].weight for _ in range(2)]
    assert not torch.equal(*drawn)


def test_weights_from_an_official_file(tmp_path):
    entry = REGISTRY["resnet18-v1"]
    (tmp_path / entry.required[0]).write_bytes(weights("resnet18"))
    model = with_weights("resnet18", read_weights(entry, tmp_path))
    assert not model.training
    assert all(value.device.type == "cpu" for value in model.state_dict().values())
    assert (model.layer4[1].conv2.weight == 0.5).all()


def test_old_weights_without_counters_are_taken():
    small = fresh("resnet18", generator=seeded(), classes=3, divisor=16)
    old = {name: value for name, value in small.state_dict().items() if not name.endswith("num_batches_tracked")}
    model = with_weights("resnet18", old, classes=3, divisor=16)
    images = torch.ones(1, 3, 32, 32)
    assert torch.equal(model(images), small.eval()(images))


def test_what_cannot_be_built_is_said():
    with pytest.raises(InputError, match="must be one of alexnet"):
        fresh("lenet", generator=seeded())
    with pytest.raises(InputError, match="cannot be divided by 7"):
        fresh("alexnet", generator=seeded(), divisor=7)
    small = fresh("resnet18", generator=seeded(), classes=3, divisor=16).state_dict()
    with pytest.raises(InputError, match="not the weights of resnet18"):
        with_weights("resnet18", small, classes=4, divisor=16)
    with pytest.raises(InputError, match=r"fc\.bias is missing"):
        with_weights("resnet18", {k: v for k, v in small.items() if k != "fc.bias"}, classes=3, divisor=16)


def as_in_the_publication(state, images, *, before=0.5):
    """Section 4.2 of He et al. 2016, written down layer by layer from the weights alone, in eval mode."""

    def convolved(features, convolution, norm, stride=1):
        found = functional.conv2d(features, state[f"{convolution}.weight"], stride=stride, padding=1)
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
        shift = state[f"{norm}.bias"] - scale * state[f"{norm}.running_mean"]
        return found * scale[:, None, None] + shift[:, None, None]

    features = convolved(images, "conv1", "bn1").clamp(min=0)
    blocks = dict.fromkeys(name.rpartition(".conv1")[0] for name in state if name.endswith(".conv1.weight"))
    for block in blocks:
        stride = 2 if block in ("layer2.0", "layer3.0") else 1
        shortcut = features[:, :, ::stride, ::stride]
        if stride == 2:
            nothing = torch.zeros_like(shortcut)
            first = round(before * nothing.shape[1])
            shortcut = torch.cat([nothing[:, :first], shortcut, nothing[:, first:]], dim=1)
        inside = convolved(features, f"{block}.conv1", f"{block}.bn1", stride).clamp(min=0)
        features = (convolved(inside, f"{block}.conv2", f"{block}.bn2") + shortcut).clamp(min=0)
    return features.mean(dim=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def stirred(model, seed):
    """A network in float64 whose weights, shifts and statistics are all random."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.double().state_dict().items():
        if value.is_floating_point():
            drawn = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(0.5 + drawn if name.endswith(("running_var", "bn1.weight", "bn2.weight")) else 0.3 * (drawn - 0.5))
    return model.eval()


@pytest.mark.parametrize("size", [32, 13])
def test_residual_networks_for_cifar10_are_those_of_the_publication(rng, size):
    model = stirred(CifarResNet(14, 7, generator=None), 0)
    images = torch.from_numpy(rng.standard_normal((3, 3, size, size)))
    with torch.no_grad():
        expected = as_in_the_publication(model.state_dict(), images)
        assert_close(model(images).numpy(), expected.numpy(), "exact")
        # The control: with all zeros behind the kept channels it would be another network.
        others = as_in_the_publication(model.state_dict(), images, before=0)
        with pytest.raises(AssertionError, match="times the tolerance"):
            assert_close(others.numpy(), expected.numpy(), "exact")


@pytest.mark.parametrize(("network", "millions"), list(zip(CIFAR_NETWORKS, (0.27, 0.46, 0.66, 0.85), strict=True)))
def test_depth_size_and_layers_of_residual_networks_for_cifar10(network, millions):
    model = fresh(network, generator=seeded(), classes=10)
    weighted = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert f"resnet{len(weighted)}" == network
    assert sum(value.numel() for value in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    chosen = [name for name in convolutions(model) if in_paper(network, name)]
    assert chosen == [f"layer{i}.{j}.conv1" for i in (1, 2, 3) for j in range((len(weighted) - 2) // 6)]
    # He et al. 2015: variance 2 / fan-in.
    for name in chosen:
        weight = model.get_submodule(name).weight
        assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.05)
    again = fresh(network, generator=seeded(), classes=10)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_what_residual_networks_for_cifar10_refuse():
    for depth, classes in ((18, 10), (2, 10), (20, 0)):
        with pytest.raises(InputError, match=r"depth must be 6n\+2"):
            CifarResNet(depth, classes, generator=None)
    with pytest.raises(InputError, match="no narrow form"):
        fresh("resnet20", generator=seeded(), classes=10, divisor=2)
    with pytest.raises(ImageSizeError, match="Images of 3x8 pixels are too small"):
        CifarResNet(8, generator=seeded())(torch.ones(1, 3, 3, 8))
    weights = fresh("resnet20", generator=seeded(), classes=10).state_dict()
    with pytest.raises(InputError, match="not the weights of resnet32"):
        with_weights("resnet32", weights, classes=10)
