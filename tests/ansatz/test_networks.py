"""The patch-AGOP of published networks, whose convolutions are not always those of `torch.nn.Conv2d`, against its definition."""

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from timm.layers import StdConv2d
from timm.models.resnetv2 import ResNetV2
from tolerance import assert_close
from torch import nn

from ansatz.brute_force import called_agop, patch_agop
from convrfm.ansatz.agop import measure


def standardised() -> nn.Module:
    return ResNetV2([1, 1], channels=[128, 256], num_classes=3, stem_chs=32, conv_layer=StdConv2d)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "torchvision, depthwise and shuffled": (
        lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=3),
        ["conv1.0", "stage2.0.branch1.0", "stage3.1.branch2.3", "conv5.0"],
    ),
    "torchvision, squeeze and excitation": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=3),
        ["features.0.0", "features.1.block.1.fc1", "features.6.block.1.0", "features.12.0"],
    ),
    "timm, standardised weights": (standardised, ["stem.conv", "stages.0.blocks.0.conv2", "stages.1.blocks.0.conv3"]),
    "timm, scaled standardised weights": (
        lambda: timm.create_model("test_nfnet", num_classes=3),
        ["stem.conv1", "stages.1.0.conv2", "final_conv"],
    ),
    "timm, padding as in TensorFlow": (
        lambda: timm.create_model("tf_mobilenetv3_small_minimal_100", num_classes=3),
        ["conv_stem", "blocks.1.0.conv_dw", "blocks.5.0.conv"],
    ),
}


def made(network: Callable[[], nn.Module]) -> nn.Module:
    """In float64; parameters that are zero at the start, such as the last gain of a branch, are drawn."""
    torch.manual_seed(0)
    model = network().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_equal_patch_jacobians(name, images):
    network, layers = NETWORKS[name]
    model = made(network)
    found = measure(model, images)
    assert set(found) == {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    for layer in layers:
        assert_close(found[layer].agop.dense(), called_agop(model, layer, images).numpy(), "ansatz")


@pytest.mark.usefixtures("one_thread")
def test_the_weight_of_the_module_gives_another_matrix(images):
    model, layer = made(standardised), "stages.0.blocks.0.conv2"
    found = measure(model, images, layers=[layer])[layer]
    assert found.computed
    with pytest.raises(AssertionError, match="times the tolerance"):
        assert_close(found.agop.dense(), patch_agop(model, layer, images).numpy(), "ansatz")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "options", [{"padding": "same", "dilation": (1, 2)}, {"padding": (2, 0), "stride": (1, 2)}, {"groups": 2}]
)
def test_the_two_references_agree(options, images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, (3, 2), **options), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()).double().eval()
    images = images[:, :2, :6, :7]
    assert_close(called_agop(model, "0", images).numpy(), patch_agop(model, "0", images).numpy(), "ansatz")
