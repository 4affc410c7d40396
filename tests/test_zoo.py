"""The zoo: torchvision's networks whole and narrow, the layers that the paper measures, weights from official files."""

import numpy as np
import pytest
import torch
from datasets.official import weights
from torch import nn

from convrfm.datasets.registry import REGISTRY
from convrfm.datasets.restricted_pickle import read_weights
from convrfm.errors import InputError
from convrfm.networks.zoo import NETWORKS, fresh, in_paper, narrowed, with_weights

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
