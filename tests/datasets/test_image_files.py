"""Image files of every kind: their pixels as they were written, or a sentence that says why not."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from tolerance import assert_close

from convrfm.datasets.images import read_image
from convrfm.datasets.transforms import Appearance, to_array
from convrfm.errors import CorruptDataError
from datasets.packing import noise

GREY = np.linspace(0, 1, 35).reshape(5, 7)
"""Grey values of the images here."""
COLOURS = noise(1, 5, 7, 3)[0]


def read(path, colour="native", **options):
    """What arrives at a kernel, `(channels, height, width)` in [0, 1]."""
    array = to_array(read_image(path, **options), Appearance(colour=colour))
    assert array.dtype == np.float32
    return array


def of_bits(bits, dtype):
    return np.round(GREY * (2**bits - 1)).astype(dtype)


def png(path, rows, depth, kind, chunks=b""):
    """Write a PNG of rows of bytes: of what Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunks + pixels + chunk(b"IEND", b""))


def tiff(path, array, bits, photometric=1, sample=1):
    """Write a TIFF of one strip."""
    tags = {256: 7, 257: 5, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 5, 279: array.nbytes, 339: sample}
    content = array.tobytes()
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory)


WRITERS = {
    "16-bit.png": lambda path: Image.fromarray(of_bits(16, np.uint16)).save(path),
    "16-bit.tif": lambda path: Image.fromarray(of_bits(16, np.uint16)).save(path),
    "16-bit-compressed.tif": lambda path: Image.fromarray(of_bits(16, np.uint16)).save(path, compression="tiff_lzw"),
    "16-bit-big-endian.tif": lambda path: Image.fromarray(of_bits(16, ">u2")).save(path),
    "16-bit.pgm": lambda path: path.write_bytes(b"P5 7 5 65535\n" + of_bits(16, ">u2").tobytes()),
    "12-bit.pgm": lambda path: path.write_bytes(b"P5 7 5 4095\n" + of_bits(12, ">u2").tobytes()),
    "white-is-zero.tif": lambda path: tiff(path, 65535 - of_bits(16, "<u2"), 16, photometric=0),
    "float.tif": lambda path: Image.fromarray(GREY.astype(np.float32)).save(path),
    "8-bit.png": lambda path: Image.fromarray(of_bits(8, np.uint8)).save(path),
    "8-bit.bmp": lambda path: Image.fromarray(of_bits(8, np.uint8)).save(path),
    "8-bit.gif": lambda path: Image.fromarray(of_bits(8, np.uint8)).save(path),
    "8-bit.webp": lambda path: Image.fromarray(of_bits(8, np.uint8)).save(path, lossless=True),
    "white-is-zero-8-bit.tif": lambda path: tiff(path, 255 - of_bits(8, np.uint8), 8, photometric=0),
    "opaque.png": lambda path: Image.merge("LA", [Image.fromarray(of_bits(8, np.uint8)), Image.new("L", (7, 5), 255)]).save(
        path
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_grey_is_what_was_written(tmp_path, name):
    WRITERS[name](tmp_path / name)
    # Exactly, up to the step in which it was written.
    steps = 65535 if "16" in name else 4095 if "12" in name else 255
    written = GREY if name == "float.tif" else np.round(GREY * (65535 if name == "white-is-zero.tif" else steps))
    expected = written / written.max()
    found = read(tmp_path / name, "grey")
    assert_close(found[0], expected, "smooth", "float32")
    assert_close(read(tmp_path / name, "rgb"), np.stack([expected] * 3), "smooth", "float32")


def test_twelve_bits_of_a_tiff_end_at_4095(tmp_path):
    first, second = of_bits(12, np.uint16).reshape(-1)[:34].reshape(17, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)
    # 7 pixels of 12 bits fill no whole bytes: each row ends with half of one, so that 17 pairs become 34 x 1 pixels.
    path = tmp_path / "12-bit.tif"
    tiff(path, packed, 12)
    content = path.read_bytes().replace(struct.pack("<HHII", 256, 4, 1, 7), struct.pack("<HHII", 256, 4, 1, 34))
    path.write_bytes(content.replace(struct.pack("<HHII", 257, 4, 1, 5), struct.pack("<HHII", 257, 4, 1, 1)))
    assert_close(read(path)[0, 0], np.round(GREY * 4095).reshape(-1)[:34] / 4095, "smooth", "float32")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_grey(tmp_path, bits):
    levels = np.arange(35).reshape(5, 7) * 3 % 2**bits
    digits = (levels[:, :, None] >> np.arange(bits)[::-1]) & 1
    png(tmp_path / "a.png", np.packbits(digits.reshape(5, -1), axis=1), bits, 0)
    assert_close(read(tmp_path / "a.png"), levels[None] / (2**bits - 1), "smooth", "float32")


def test_colours_are_what_was_written(tmp_path):
    image, expected = Image.fromarray(COLOURS), COLOURS.transpose(2, 0, 1) / 255
    few = Image.fromarray(COLOURS // 128 * 255)
    files = {
        "a.png": image, "a.bmp": image, "a.ppm": image, "a.tif": image, "opaque.png": image.convert("RGBA"),
        "opaque.tif": image.convert("RGBA"), "cmyk.tif": image.convert("CMYK"),
    }  # fmt: skip
    for name, written in files.items():
        written.save(tmp_path / name)
        assert_close(read(tmp_path / name), expected, "smooth", "float32")
    for name, options in {"palette.png": {}, "palette.gif": {}, "opaque-palette.png": {"transparency": b"\xff" * 8}}.items():
        few.quantize(8).save(tmp_path / name, **options)
        assert_close(read(tmp_path / name), np.asarray(few).transpose(2, 0, 1) / 255, "smooth", "float32")


def test_sixteen_bits_of_colour_are_right_to_one_part_in_255(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3))
    png(tmp_path / "a.png", values.astype(">u2"), 16, 2)
    assert np.abs(read(tmp_path / "a.png") - values.transpose(2, 0, 1) / 65535).max() < 1 / 255


def see_through(mode, size=(7, 5)):
    image = Image.new(mode, size)
    image.putalpha(Image.fromarray(np.full(size[::-1], 254, np.uint8)))
    return image


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("a.png", lambda p: see_through("RGB").save(p), "transparent pixels: put it on a background"),
        ("a.png", lambda p: see_through("L").save(p), "transparent pixels"),
        ("a.tif", lambda p: see_through("RGB").save(p), "transparent pixels"),
        ("a.webp", lambda p: see_through("RGB").save(p), "transparent pixels"),
        ("a.png", lambda p: Image.new("P", (7, 5)).save(p, transparency=0), "transparent pixels"),
        ("a.gif", lambda p: Image.new("P", (7, 5)).save(p, transparency=0), "transparent pixels"),
        ("a.png", lambda p: Image.new("RGB", (7, 5)).save(p, transparency=(0, 0, 0)), "transparent pixels"),
        ("a.png", lambda p: Image.new("L", (7, 5)).save(p, transparency=0), "transparent pixels"),
        ("a.png", lambda p: Image.new("I;16", (7, 5)).save(p, transparency=0), "transparent pixels"),
        (
            "a.tif",
            lambda p: Image.fromarray(GREY.astype(np.float32) * 255).save(p),
            r"numbers from 0 to 255: scale them to \[0, 1\]",
        ),
        ("a.tif", lambda p: Image.fromarray(GREY.astype(np.float32) - 0.1).save(p), "from -0.1 to 0.9"),
        ("a.tif", lambda p: Image.fromarray(np.full((5, 7), np.nan, np.float32)).save(p), "from nan to nan"),
        (
            "a.tif",
            lambda p: Image.fromarray(of_bits(17, np.int32)).save(p),
            "integers from 0 to 131071, signed or of 32 bits, whose black and white are unknown",
        ),
        ("a.tif", lambda p: Image.new("LAB", (7, 5)).save(p), "mode LAB, .*neither grey nor RGB"),
        (
            "a.gif",
            lambda p: Image.new("L", (7, 5)).save(p, save_all=True, append_images=[Image.new("L", (7, 5), 9)]),
            "2 images: save the one you want by itself",
        ),
        (
            "a.tif",
            lambda p: Image.new("L", (7, 5)).save(p, save_all=True, append_images=[Image.new("L", (7, 5))] * 2),
            "3 images",
        ),
        ("a.png", lambda p: p.write_bytes(b""), "empty: replace or remove it"),
        ("a.png", lambda p: p.write_text("no image"), "is no image in one.*: replace or remove it"),
        ("a.jpg", lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n"), "no image"),
        ("a.png", lambda p: p.mkdir(), "is not read: It is a folder"),
        ("a.png", lambda p: None, "be opened: No such file"),
    ],
)  # fmt: skip
def test_what_is_not_faithful_is_refused_by_name(tmp_path, name, write, sentence):
    path = tmp_path / name
    write(path)
    with pytest.raises(CorruptDataError, match=rf"{path} .*{sentence}"):
        read_image(path)


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "tif", "webp", "ppm"])
def test_files_that_end_early(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(noise(1, 40, 40, 3)[0]).save(path)
    whole = path.read_bytes()
    for share in (0.05, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CorruptDataError, match=r"is damaged|is no image in one"):
            read_image(path)


@pytest.mark.parametrize("factor", [0.6, 0.3])
def test_too_many_pixels(tmp_path, factor, monkeypatch):
    """Pillow warns of the first and refuses the second."""
    Image.new("L", (7, 5)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(35 * factor))
    with pytest.raises(CorruptDataError, match=r"a.png has too many pixels .*: scale it down"):
        read_image(tmp_path / "a.png")


def test_sideways(tmp_path):
    """Orientation 6: the camera was held upright, and the image lies on its left side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, pixels in {"a.png": COLOURS, "16-bit.png": of_bits(16, np.uint16)}.items():
        Image.fromarray(pixels).save(tmp_path / name, exif=exif)
        stored = read(tmp_path / name)
        assert stored.shape[1:] == (5, 7)
        upright = read(tmp_path / name, upright=True)
        assert (upright == np.rot90(stored, -1, axes=(1, 2))).all()
    assert (stored == of_bits(16, np.uint16) / np.float32(65535)).all()


def test_previews_of_a_camera_are_passed_over(tmp_path):
    images = [Image.fromarray(pixels) for pixels in noise(2, 16, 16, 3)]
    images[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "b.jpg")
    assert (np.asarray(read_image(tmp_path / "a.jpg")) == np.asarray(read_image(tmp_path / "b.jpg"))).all()


def test_official_formats_keep_their_bits(tmp_path):
    """What the registry's data sets consist of, as Pillow and torchvision read it, orientation included."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = Image.fromarray(noise(1, 16, 24, 3)[0])
    for mode in ("L", "RGB", "CMYK"):
        pixels.convert(mode).save(tmp_path / "a.jpg", exif=exif)
        with Image.open(tmp_path / "a.jpg") as opened:
            expected = opened.convert("L" if mode == "L" else "RGB")
        found = read_image(tmp_path / "a.jpg")
        assert found.mode == expected.mode
        assert found.tobytes() == expected.tobytes()


def test_resizing_keeps_more_than_eight_bits(tmp_path, rng):
    """A dark image of 16 bits, which 8 bits would leave nothing of."""
    values = rng.integers(0, 200, (16, 16)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    small = to_array(image, Appearance(size=8, colour="rgb"))
    double = torch.from_numpy(values[None, None] / 65535)
    expected = torch.nn.functional.interpolate(double, size=(8, 8), mode="bilinear", antialias=True)[0]
    assert_close(small, np.repeat(expected.numpy(), 3, axis=0), "smooth", "float32")
    cut = to_array(image, Appearance(size=8, fit="crop"))
    assert cut.shape == (1, 8, 8)
    assert len(np.unique(cut)) > 40
