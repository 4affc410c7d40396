"""The shallow networks of Figure 9: shapes, initialisation, pooling."""

import numpy as np
import pytest
import torch
from torch import nn

from convrfm.ansatz.agop import measure
from convrfm.errors import ImageSizeError, InputError
from convrfm.networks.shallow import ARCHITECTURES, ShallowCNN


def network(architecture, shape=(3, 32, 32), outputs=10, seed=0, **changes):
    return ShallowCNN(architecture, shape, outputs, generator=torch.Generator().manual_seed(seed), **changes)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("patch_size", [3, 5, 7])
def test_sizes_are_the_papers(architecture, patch_size):
    model = network(architecture, patch_size=patch_size)
    shapes = [tuple(weight.shape) for weight in model.parameters()]
    q = patch_size
    readout = 64 * 32 * 32 if architecture == "vanilla" else 64
    assert shapes == [(64, 3, q, q), *[(64, 64, q, q)] * 3, (10, readout)]
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.bias is None and layer.padding == (q // 2, q // 2) for layer in convolutions)
    assert model.readout.bias is None
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_initial_weights(architecture):
    first, *later = network(architecture).parameters()
    for weight, std in [(first, 5e-3), *((weight, 1e-2) for weight in later)]:
        values = weight.detach().numpy().ravel()
        assert values.std() == pytest.approx(std, rel=5 / np.sqrt(2 * values.size))
        assert abs(values.mean()) < 5 * std / np.sqrt(values.size)
        # Normal, not uniform: the fourth moment is 3.
        assert (values**4).mean() / std**4 == pytest.approx(3, abs=5 * np.sqrt(96 / values.size))
    code = network("vanilla", later_std=5e-3)
    assert all(weight.std().item() == pytest.approx(5e-3, rel=0.15) for weight in code.parameters())


@pytest.mark.parametrize(
    ("architecture", "pool", "reduce"),
    [
        ("vanilla", None, None),
        ("Myrtle5", nn.functional.avg_pool2d, lambda maps: maps.mean(dim=(2, 3))),
        ("MyrtleMax", nn.functional.max_pool2d, lambda maps: maps.amax(dim=(2, 3))),
    ],
)
def test_agrees_with_a_network_written_down(architecture, pool, reduce):
    model = network(architecture, (2, 9, 10), 3, width=5, patch_size=3, first_std=0.5, later_std=0.3)
    images = torch.randn(4, 2, 9, 10, generator=torch.Generator().manual_seed(1))
    *filters, readout = model.parameters()
    maps = images
    for number, weight in enumerate(filters, start=1):
        maps = torch.relu(nn.functional.conv2d(maps, weight, padding=1))
        if number in (2, 3) and pool is not None:
            maps = pool(maps, 2)
    expected = (maps.flatten(1) if reduce is None else reduce(maps)) @ readout.T
    assert torch.allclose(model(images), expected, rtol=1e-5, atol=1e-6)
    assert expected.std() > 0.01


def test_seeds_decide_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    one, again, other = (network("Myrtle5", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.features[0].weight, again.features[0].weight)
    assert not torch.equal(one.features[0].weight, other.features[0].weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_maximum_is_pytorchs():
    """Equal pixels share no gradient, as with the layer of the authors' code."""
    model = network("MyrtleMax", (1, 8, 8), 3, width=4, first_std=0.5, later_std=0.5)
    maps = torch.randint(0, 3, (5, 4, 6, 6), generator=torch.Generator().manual_seed(0)).float()
    gradients = []
    for pooled in (lambda x: x.flatten(2).max(dim=2).values, lambda x: nn.functional.adaptive_max_pool2d(x, 1)):
        leaf = maps.clone().requires_grad_()
        pooled(leaf).square().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)
    model.features = nn.Identity()
    assert torch.equal(model(maps), nn.functional.adaptive_max_pool2d(maps, 1).flatten(1) @ model.readout.weight.T)


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_on_a_gpu_are_reproducible(architecture):
    """Layers without a reproducible gradient would raise."""
    torch.use_deterministic_algorithms(mode=True)
    try:
        model = network(architecture, (1, 8, 8), 3, width=4).cuda()
        model(torch.randn(5, 1, 8, 8).cuda()).square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(mode=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ansatz_can_be_measured(architecture):
    model = network(architecture, (1, 8, 8), 3, width=4, first_std=0.3, later_std=0.3).eval()
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = measure(model, images)
    assert len(found) == 4
    assert all(layer.images == 5 for layer in found.values())


@pytest.mark.parametrize(
    ("architecture", "changes", "error", "words"),
    [
        ("Myrtle6", {}, InputError, "must be one of vanilla, Myrtle5, MyrtleMax"),
        ("vanilla", {"patch_size": 4}, InputError, "odd"),
        ("vanilla", {"patch_size": -1}, InputError, "odd"),
        ("MyrtleMax", {"shape": (1, 3, 8)}, ImageSizeError, "needs 4x4 pixels"),
    ],
)
def test_bad_input(architecture, changes, error, words):
    with pytest.raises(error, match=words):
        network(architecture, **changes)
