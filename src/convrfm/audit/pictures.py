"""Pictures inside the page: as they are, or made smaller where they are large."""

import base64
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

__all__ = ["Picture", "inline"]

LARGEST_BYTES = 1_000_000
"""A picture file above this is made smaller."""

SMALLER_WIDTH = 1400
"""Pixels; twice the width of the column that the page shows it in."""


@dataclass(frozen=True)
class Picture:
    """A picture that can stand in a page.

    Attributes:
        data: the address with the whole picture in it.
        width: pixels.
        height: pixels.
        reduced: whether it is smaller than the file.
    """

    data: str
    width: int
    height: int
    reduced: bool


def inline(path: Path) -> Picture | None:
    """Read a PNG for the page; None where there is none that can be read.

    Args:
        path: of the file, which somebody may have tampered with.
    """
    try:
        content = path.read_bytes()
        with warnings.catch_warnings():
            # A picture that would fill the memory is none of ours.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(content), formats=["PNG"]) as image:
                image.load()
                width, height = image.size
                if len(content) <= LARGEST_BYTES:
                    return Picture(_address(content), width, height, reduced=False)
                image.thumbnail((SMALLER_WIDTH, 4 * SMALLER_WIDTH))
                smaller = BytesIO()
                image.convert("RGB").quantize(256).save(smaller, "PNG", optimize=True)
                return Picture(_address(smaller.getvalue()), *image.size, reduced=True)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Warning, Image.DecompressionBombError):
        return None


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
