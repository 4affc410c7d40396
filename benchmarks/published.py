"""The published networks that `benchmarks/networks.py` measures."""

from dataclasses import dataclass, field
from typing import Any

import timm
import torch
import torchvision
from measuring import photographs
from torch import nn

__all__ = ["FEW", "FOR_THE_DEFINITION", "IMAGES", "LIMITS", "TIMM", "Case", "cases"]

IMAGES = 2
"""Photographs for each network."""

FEW = {"mode": "probe", "probes": 4, "blocks": 2}
"""Settings of `measure` for most networks: as few backward passes as give a number, since times and matrices matter here."""


@dataclass(frozen=True)
class Case:
    """A network, and how it is made and measured.

    Attributes:
        name: in its library, torchvision or, after "timm/", timm.
        side: of the images, in pixels.
        arguments: of the constructor, beside `num_classes`.
        classes: outputs.
        settings: of `measure`.
        within: modules whose convolutions alone are measured, where all would take too long.
    """

    name: str
    side: int = 64
    arguments: dict[str, Any] = field(default_factory=dict)
    classes: int = 1000
    settings: dict[str, Any] = field(default_factory=lambda: FEW)
    within: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name and arguments, for the page."""
        return self.name + "".join(f", {key}={value}" for key, value in self.arguments.items() if key != "init_weights")

    def network(self) -> nn.Module:
        """Make it, at its initialisation."""
        torch.manual_seed(0)
        if self.name.startswith("timm/"):
            model = timm.create_model(self.name.removeprefix("timm/"), num_classes=self.classes, **self.arguments)
        else:
            model = torchvision.models.get_model(self.name, weights=None, num_classes=self.classes, **self.arguments)
        return model.eval()

    def images(self) -> torch.Tensor:
        """Photographs, about as the networks expect them."""
        return torch.from_numpy((photographs(IMAGES, self.side) - 0.45) / 0.225)


WITHOUT_HEADS = {"aux_logits": False, "init_weights": False}
SPECIAL = {
    "googlenet": [Case("googlenet", arguments={"init_weights": False}), Case("googlenet", arguments=WITHOUT_HEADS)],
    "inception_v3": [Case("inception_v3", 96, {"init_weights": False}), Case("inception_v3", 96, WITHOUT_HEADS)],
    "maxvit_t": [Case("maxvit_t", 224)],  # these three fit no smaller images
    "timm/crossvit_9_240": [Case("timm/crossvit_9_240", 240)],
    "timm/efficientformer_l1": [Case("timm/efficientformer_l1", 224)],
    "regnet_y_128gf": [Case("regnet_y_128gf", within=("stem", "trunk_output.block1", "trunk_output.block2"))],
    "vit_h_14": [Case("vit_h_14", 84, {"image_size": 84})],
}
"""Networks that are made or measured in another way than the rest."""

TIMM = (
    "bat_resnext26ts", "botnet26t_256", "cait_xxs24_224", "coat_tiny", "coatnet_0_rw_224", "convit_tiny",
    "convnextv2_atto", "crossvit_9_240", "cspresnet50", "dla34", "dpn68", "edgenext_xx_small", "efficientformer_l1",
    "efficientnet_cc_b0_4e", "ese_vovnet19b_dw", "fastvit_t8", "ghostnet_100", "halonet26t", "hrnet_w18_small",
    "lambda_resnet26t", "levit_conv_128", "mixer_s16_224", "mixnet_s", "mobilenetv4_conv_small", "mobileone_s0",
    "mobilevit_xxs", "nf_resnet26", "nfnet_l0", "poolformer_s12", "pvt_v2_b0", "repvgg_a0", "res2net50_14w_8s",
    "resnest14d", "resnetblur18", "resnetv2_50x1_bit", "rexnet_100", "skresnet18", "swin_tiny_patch4_window7_224",
    "tf_efficientnet_b0", "xcit_nano_12_p16_224",
)  # fmt: skip
"""Networks of timm, one of each kind."""

FOR_THE_DEFINITION = (
    *(Case(name, 32, classes=3) for name in (
        "vgg11", "resnet50", "densenet121", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x0_5", "regnet_x_400mf",
        "resnext50_32x4d", "convnext_tiny", "swin_t",
    )),
    Case("googlenet", 32, WITHOUT_HEADS, 3),
    *(Case(f"timm/{name}", 32, classes=3) for name in (
        "resnetv2_50x1_bit", "nfnet_l0", "tf_efficientnet_b0", "resnetblur18", "hrnet_w18_small", "mixnet_s",
    )),
)  # fmt: skip
"""Networks whose AGOP is compared with its definition."""

LIMITS = (("efficientnet_b0", "rise", 400), ("resnet152", "peak", 4096), ("efficientnet_v2_s", "peak", 4096))
"""Network, number, and the most that it may be, in MB, with the settings that `measure` has by default in probe mode."""


def cases() -> list[Case]:
    """All networks, in the order of the page."""
    names = [*torchvision.models.list_models(module=torchvision.models), *(f"timm/{name}" for name in TIMM)]
    return [case for name in names for case in SPECIAL.get(name) or [_as_the_rest(name)]]


def _as_the_rest(name: str) -> Case:
    """Images of 64 pixels, where they can be as small."""
    if not name.startswith("timm/"):
        return Case(name, arguments={"image_size": 64} if name.startswith("vit_") else {})
    known = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    if known.fixed_input_size:
        return Case(name, arguments={"img_size": 64})
    return Case(name, max(64, (known.min_input_size or (0, 0))[1]))
