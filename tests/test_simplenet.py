"""SimpleNet: its size, its shapes, its initial weights, and what it refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from convrfm.errors import ImageSizeError, InputError
from convrfm.networks.simplenet import SimpleNet


def simplenet(channels=3, outputs=10, seed=0, **changes):
    return SimpleNet(channels, outputs, generator=torch.Generator().manual_seed(seed), **changes)


@pytest.fixture(scope="module")
def whole():
    return simplenet()


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def sides(model, size):
    """The side of the map that each convolution sees."""
    seen = []
    hooks = [c.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].shape[2])) for c in convolutions(model)]
    with torch.no_grad():
        assert model.eval()(torch.zeros(2, convolutions(model)[0].in_channels, size, size)).shape == (2, 10)
    for hook in hooks:
        hook.remove()
    return seen


def test_the_network_has_the_published_size(whole):
    assert sum(parameter.numel() for parameter in whole.parameters()) == 5_498_378
    # The authors' own count holds for both versions: a pooling has no parameters.
    assert sum(parameter.numel() for parameter in simplenet(extra_pool=False).parameters()) == 5_498_378
    shapes = [tuple(layer.weight.shape) for layer in convolutions(whole)]
    widths = [64, 128, 128, 128, 128, 128, 256, 256, 256, 512, 2048, 256, 256]
    sizes = [3] * 10 + [1, 1] + [3]
    assert len(shapes) == 13
    assert shapes == [(k, c, q, q) for k, c, q in zip(widths, [3, *widths], sizes, strict=False)]
    assert {module.momentum for module in whole.modules() if isinstance(module, nn.BatchNorm2d)} == {0.05}
    assert {module.p for module in whole.modules() if isinstance(module, nn.Dropout | nn.Dropout2d)} == {0.1}


def test_both_versions_see_the_right_maps(whole):
    assert sides(whole, 32) == [32] * 4 + [16] * 3 + [8] * 2 + [4] + [2] * 2 + [1]
    assert sides(simplenet(extra_pool=False, width_divisor=16), 32) == [32] * 4 + [16] * 3 + [8] * 2 + [4] * 3 + [2]


def test_in_the_version_with_the_extra_pooling_the_last_filters_see_one_pixel(whole):
    """Eight of nine taps see padding alone, so that they change nothing; without that pooling they do."""
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for model, blind in ((simplenet(width_divisor=4), True), (simplenet(width_divisor=4, extra_pool=False), False)):
        model.eval()
        with torch.no_grad():
            before = model(images)
            convolutions(model)[-1].weight[:, :, 0] += 1.0
            assert torch.equal(model(images), before) == blind


def test_initial_weights(whole):
    for layer in convolutions(whole):
        values = layer.weight.detach().numpy()
        assert values.std() == pytest.approx(1e-2, rel=0.05)
        assert abs(values.mean()) < 4e-2 / np.sqrt(values.size)
        assert layer.bias.abs().max() <= values[0].size ** -0.5
    wide = simplenet(init_std=0.05, width_divisor=4)
    assert convolutions(wide)[8].weight.std().item() == pytest.approx(0.05, rel=0.03)
    assert whole.readout.weight.std().item() == pytest.approx(256**-0.5 / 3**0.5, rel=0.05)


def test_initial_weights_follow_the_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = simplenet(width_divisor=16), simplenet(width_divisor=16), simplenet(width_divisor=16, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(one.state_dict()["features.0.weight"], other.state_dict()["features.0.weight"])
    assert not torch.equal(one.state_dict()["readout.bias"], other.state_dict()["readout.bias"])


def test_narrow_stand_in_and_grey_images():
    narrow = simplenet(channels=1, width_divisor=16)
    assert [layer.out_channels for layer in convolutions(narrow)] == [4, 8, 8, 8, 8, 8, 16, 16, 16, 32, 128, 16, 16]
    assert convolutions(narrow)[0].in_channels == 1
    assert sides(narrow, 40)[-1] == 1  # 40, 20, 10, 5, 2, 1


@pytest.mark.parametrize(
    "changes", [{"width_divisor": 0}, {"width_divisor": 65}, {"init_std": 0.0}, {"dropout": 1.0}, {"outputs": 0}]
)
def test_what_is_out_of_range_is_refused(changes):
    with pytest.raises(InputError, match="must be"):
        simplenet(**changes)


def test_images_that_the_poolings_leave_nothing_of():
    with pytest.raises(ImageSizeError, match=r"28x28 pixels are too small.*at least 32"):
        simplenet(width_divisor=32)(torch.zeros(1, 3, 28, 28))
    assert simplenet(width_divisor=32, extra_pool=False).eval()(torch.zeros(1, 3, 28, 28)).shape == (1, 10)
