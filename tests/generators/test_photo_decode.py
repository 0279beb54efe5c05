"""Pictures of every make become upright 8-bit sRGB, and files that are none are told apart by a word."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from generators.photo_decode import decode_mask, decode_photo, oriented, oriented_box
from generators.photo_sources import PhotoError
from tests.generators.photo_sets import HEIGHT, WIDTH, encoded, picture, rectangle


def reason(data: bytes, **more) -> str:
    with pytest.raises(PhotoError) as caught:
        decode_photo(data, **more)
    assert "\n" not in str(caught.value) and str(caught.value)
    return caught.value.reason


def png_header(width: int, height: int) -> bytes:
    """A PNG of this size that holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# --- what comes out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_out_upright_as_pillow_turns_them(format, orientation):
    data = encoded(picture(), format, orientation, **({"lossless": True} if format == "WEBP" else {}))
    photo = decode_photo(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(photo.rgb, expected) and photo.rgb.flags.c_contiguous
    assert (photo.orientation, photo.stored) == (orientation, (WIDTH, HEIGHT))
    if format != "JPEG":
        assert np.array_equal(photo.rgb, oriented(picture(), orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_their_picture(orientation):
    turned = oriented(rectangle(3, 5, 11, 9), orientation)
    rows, columns = np.nonzero(turned)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert oriented_box((3, 5, 11, 9), orientation, (WIDTH, HEIGHT)) == box


@pytest.mark.parametrize("said", [0, 9, 65000])
def test_an_orientation_that_is_none_is_ignored(said):
    photo = decode_photo(encoded(picture(), "PNG", said))
    assert photo.orientation == 1 and np.array_equal(photo.rgb, picture())


def palette_image() -> Image.Image:
    image = Image.new("P", (4, 4))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((0, 0), 1)
    return image


@pytest.mark.parametrize(
    ("image", "format", "more", "first", "last"),
    [
        (np.full((4, 4), 90, np.uint8), "PNG", {}, (90, 90, 90), (90, 90, 90)),
        (np.full((4, 4), 0x80FF, np.uint16), "PNG", {}, (128,) * 3, (128,) * 3),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", {}, (255, 0, 0), (255, 0, 0)),
        (Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "TIFF", {}, (0, 0, 0), (0, 0, 0)),
        (palette_image(), "PNG", {}, (200, 0, 0), (10, 20, 30)),
        (palette_image(), "PNG", {"transparency": 0}, (200, 0, 0), (255, 255, 255)),
        (palette_image(), "GIF", {}, (200, 0, 0), (10, 20, 30)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 128)), "PNG", {}, (255, 127, 127), (255, 127, 127)),
        (Image.new("LA", (4, 4), (100, 0)), "PNG", {}, (255, 255, 255), (255, 255, 255)),
        (Image.new("1", (4, 4), 1), "PNG", {}, (255, 255, 255), (255, 255, 255)),
        (Image.new("RGB", (4, 4), (7, 8, 9)), "PNG", {"transparency": (7, 8, 9)}, (255,) * 3, (255,) * 3),
        (Image.new("RGB", (4, 4), (7, 8, 9)), "BMP", {}, (7, 8, 9), (7, 8, 9)),
    ],
    ids=[
        "gray", "16 bits", "CMYK JPEG", "CMYK TIFF", "palette", "transparent palette", "GIF", "alpha", "gray and alpha",
        "one bit", "transparent colour", "BMP",
    ],
)  # fmt: skip
def test_every_kind_of_pixels_becomes_rgb(image, format, more, first, last):
    rgb = decode_photo(encoded(image, format, **more)).rgb
    assert rgb.dtype == np.uint8 and rgb.shape[2] == 3
    assert (
        np.abs(rgb[0, 0].astype(int) - first).max() <= 1 and np.abs(rgb[-1, -1].astype(int) - last).max() <= 1
    )


def swapped_profile() -> bytes:
    """A profile by which red is what others call green: hard to miss whether it is applied."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    table = data[132 : 132 + 12 * 11]
    table = b"".join(
        names.get(table[at : at + 4], table[at : at + 4]) + table[at + 4 : at + 12]
        for at in range(0, 132, 12)
    )
    return (data[:132] + table + data[264:]).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def test_a_colour_profile_is_applied_and_that_of_srgb_changes_nothing():
    red = np.full((4, 4, 3), (200, 30, 30), np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode_photo(encoded(red, "PNG", icc_profile=srgb)).rgb, red)
    turned = decode_photo(encoded(red, "PNG", icc_profile=swapped_profile())).rgb
    assert turned[0, 0, 1] > 150 > turned[0, 0, 0]  # what it calls red is green
    assert np.array_equal(decode_photo(encoded(red, "PNG", icc_profile=b"no profile")).rgb, red)


# --- what does not -------------------------------------------------------------------------------------------------


def test_an_empty_file_and_what_is_no_picture_are_told():
    assert reason(b"") == "image_empty"
    for data in (b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", bytes(100)):
        assert reason(data) == "image_not_supported"
    assert reason(encoded(Image.new("F", (4, 4), 0.5), "TIFF")) == "image_not_supported"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_told(format, share):
    rng = np.random.default_rng(0)
    data = encoded(rng.integers(0, 255, (64, 64, 3), np.uint8), format)
    assert reason(data[: max(int(len(data) * share), 12)]) == "image_truncated"


def test_a_file_with_broken_bytes_is_told():
    data = bytearray(encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
    data[40:60] = bytes(20)  # of the compressed stream's head
    assert reason(bytes(data)) == "image_broken"
    assert reason(png_header(0, 0)) == "image_broken"


def test_a_bomb_is_refused_by_its_header():
    assert reason(png_header(50_000, 50_000)) == "image_too_large"
    assert reason(png_header(10_001, 10_000)) == "image_too_large"
    assert reason(encoded(picture()), max_pixels=WIDTH * HEIGHT - 1) == "image_too_large"
    assert decode_photo(encoded(picture()), max_pixels=WIDTH * HEIGHT).rgb.shape == (HEIGHT, WIDTH, 3)


# --- masks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(rectangle(1, 2, 9, 9)),
        Image.fromarray(rectangle(1, 2, 9, 9).astype(np.uint8)),
        Image.fromarray(rectangle(1, 2, 9, 9).astype(np.uint8) * 255),
        Image.fromarray(rectangle(1, 2, 9, 9).astype(np.uint8) * 255).convert("RGB"),
        Image.fromarray(rectangle(1, 2, 9, 9).astype(np.uint16) * 7),
    ],
    ids=["one bit", "0 and 1", "0 and 255", "colour", "16 bits"],
)
def test_masks_are_what_is_above_zero(image):
    assert np.array_equal(decode_mask(encoded(image)), rectangle(1, 2, 9, 9))


def test_masks_that_are_none_are_told():
    for data, expected in (
        (b"", "mask_broken"),
        (b"no", "mask_broken"),
        (png_header(50_000, 50_000), "mask_too_large"),
    ):
        with pytest.raises(PhotoError) as caught:
            decode_mask(data)
        assert caught.value.reason == expected
