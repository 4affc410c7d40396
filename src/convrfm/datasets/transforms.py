"""From images on disk to arrays for kernels and networks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from convrfm.errors import InputError, refuse

__all__ = ["SCALINGS", "Appearance", "black", "to_array"]

SCALINGS: dict[str, tuple[tuple[float, ...], tuple[float, ...]] | None] = {
    "unit": None,
    "cifar10": ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)),
    "cifar100": ((129.3 / 255, 124.1 / 255, 112.4 / 255), (68.2 / 255, 65.4 / 255, 70.4 / 255)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation by channel to standardise images in [0, 1]; None leaves them unscaled.

"cifar10" and "cifar100" are SimpleNet's, which the paper uses for all colour data of Figures 8 and 9. Its text has some of
them over 225 or 125; the code of both divides all of them by 255. "imagenet" is torchvision's.
"""

CROP = 256 / 224
"""The shorter side before the crop, relative to the crop of 224 pixels that networks for ImageNet take."""


@dataclass(frozen=True)
class Appearance:
    """The form that images are brought into.

    Attributes:
        size: pixels of each side; None keeps the size, which must then be the same for all.
        fit: "stretch" resizes to a square, as in Figures 3-6, 8 and 9; "crop" resizes the shorter side to 256/224 of the
            size and cuts out the centre, as in Figures 1, 2 and 7.
        colour: "native"; "grey", one channel (ITU-R 601 luma); "rgb", three; "grey-rgb", luma in all three, as the authors'
            code has Caltech101. Grey images become three equal channels.
        scaling: a name in `SCALINGS`.
    """

    size: int | None = None
    fit: Literal["stretch", "crop"] = "stretch"
    colour: Literal["native", "grey", "rgb", "grey-rgb"] = "native"
    scaling: str = "unit"


def to_array(image: Image.Image, appearance: Appearance) -> np.ndarray:
    """Bring one image, in mode L, RGB, or F (grey in [0, 1]), into form.

    Interpolation is bilinear with antialiasing, on 8-bit values, as torchvision does it with PIL images; on float32 in
    mode F.

    Returns:
        `(channels, height, width)` float32, in [0, 1] where the scaling is "unit".

    Raises:
        InputError: three channels of constants for a grey image, or an unknown scaling.
    """
    if image.mode == "RGB" and appearance.colour in ("grey", "grey-rgb"):
        image = image.convert("L")
    if appearance.size is not None and appearance.fit == "stretch":
        # What torchvision calls; to import that takes longer than everything else with small images.
        image = image.resize((appearance.size, appearance.size), Image.Resampling.BILINEAR)
    elif appearance.size is not None:
        from torchvision.transforms.v2 import functional

        image = functional.resize(image, [round(appearance.size * CROP)])
        image = functional.center_crop(image, [appearance.size])
    array = np.asarray(image, np.float32) / np.float32(1 if image.mode == "F" else 255)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    if len(array) == 1 and appearance.colour in ("rgb", "grey-rgb"):
        array = np.repeat(array, 3, axis=0)
    return _scaled(np.ascontiguousarray(array), appearance.scaling)


def black(channels: int, scaling: str) -> np.ndarray:
    """What a black pixel becomes: `(channels,)` float32.

    Raises:
        InputError: see `to_array`.
    """
    return _scaled(np.zeros((channels, 1, 1), np.float32), scaling)[:, 0, 0]


def _scaled(array: np.ndarray, scaling: str) -> np.ndarray:
    refuse(scaling not in SCALINGS, f"scaling must be one of {', '.join(SCALINGS)}, but it is {scaling!r}.", InputError)
    constants = SCALINGS[scaling]
    if constants is None:
        return array
    found = f"scaling {scaling!r} needs three channels, but the image has {len(array)}: use the scaling 'unit'."
    refuse(len(array) != 3, found, InputError)
    mean, deviation = (np.array(values, np.float32)[:, None, None] for values in constants)
    return (array - mean) / deviation
