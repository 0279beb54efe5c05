"""Picture files into pixels, whatever cameras and editors have made of them.

JPEG, PNG, WebP, TIFF, BMP and GIF, of which the first frame counts. All become 8-bit sRGB, upright:

- EXIF's orientation is applied.
- A colour profile that is not sRGB's is applied (Adobe RGB, Display P3, CMYK), one that cannot be is ignored.
- Gray becomes three equal channels, 16 bits lose their lower 8, CMYK without a profile is converted as Pillow does.
- What is transparent lies on white.

Sizes are read from the header, before anything is unpacked.
"""

from __future__ import annotations

import io
import warnings
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from generators.photo_sources import MAX_PIXELS, Mask, Photo, PhotoError, Pixels

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_T = TypeVar("_T", bound=np.generic)
_ORIENTATION = 0x0112
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8")


def decode_photo(data: bytes, max_pixels: int = MAX_PIXELS) -> Photo:
    """Pixels of a picture's file.

    Raises PhotoError: `image_empty`, `image_truncated`, `image_broken`, `image_too_large` (its header says more than
    `max_pixels`), `image_not_supported` (another format, no picture at all, or floating-point pixels).
    """
    with _opened(data, max_pixels) as image:
        orientation, size = _orientation(image), image.size
        try:
            image.load()
            rgb = _rgb(image)
        except PhotoError:
            raise
        except Image.DecompressionBombError as error:
            raise PhotoError("image_too_large", str(error)) from None
        except Exception as error:  # decoders raise whatever they like at broken bytes
            raise _fault(data, error) from None
    if image.format == "TIFF":  # Pillow turns these itself, and says their size as turned
        stored = size[::-1] if orientation > 4 else size
        return Photo(rgb, orientation, stored)
    return Photo(np.ascontiguousarray(oriented(rgb, orientation)), orientation, size)


def decode_mask(data: bytes, max_pixels: int = MAX_PIXELS) -> Mask:
    """(h, w) bool of a mask's file: where its gray (or palette's index) is above zero, and opaque.

    Raises PhotoError: `mask_broken`, `mask_too_large`.
    """
    try:
        with _opened(data, max_pixels) as image:
            image.load()
            bands = image if image.mode in ("1", "L", "P", "I", "I;16") else image.convert("L")
            return np.asarray(bands) > 0
    except PhotoError as error:
        reason = "mask_too_large" if error.reason == "image_too_large" else "mask_broken"
        raise PhotoError(reason, error.message) from None
    except Exception as error:
        raise PhotoError("mask_broken", f"the mask cannot be decoded: {error}") from None


def oriented(array: NDArray[_T], orientation: int) -> NDArray[_T]:
    """(h, w, ...) as stored, turned and mirrored as EXIF's orientation 1..8 says; a view."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def oriented_box(
    box: tuple[float, float, float, float], orientation: int, stored: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The xyxy box of a picture of this size as stored, on the picture as it is looked at."""
    (left, top, right, bottom), (width, height) = box, stored
    if orientation in (5, 6, 7, 8):
        left, top, right, bottom, width, height = top, left, bottom, right, height, width
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise PhotoError("image_empty", "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PhotoError("image_too_large", str(error)) from None
    except UnidentifiedImageError:
        if data.startswith(_SIGNATURES):
            raise _fault(data, None) from None
        raise PhotoError("image_not_supported", f"is none of {', '.join(FORMATS)}") from None
    except Exception as error:
        raise _fault(data, error) from None
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError(
            "image_too_large", f"has {width:,} x {height:,} pixels, more than {max_pixels:,} in all"
        )
    return image


def _fault(data: bytes, error: Exception | None) -> PhotoError:
    """Cut off, or broken otherwise."""
    message = str(error or "").splitlines()
    said = message[0] if message else "its header cannot be read"
    cut = "truncated" in said or _ends_early(data)
    return PhotoError("image_truncated" if cut else "image_broken", f"the picture cannot be decoded: {said}")


def _ends_early(data: bytes) -> bool:
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return False


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF that is broken says nothing
        return 1
    return int(found) if found in range(1, 9) else 1


def _rgb(image: Image.Image) -> Pixels:
    """(h, w, 3) uint8, sRGB, not turned yet."""
    if image.mode in ("I", "I;16", "I;16L", "I;16B"):  # 16 bits of gray
        gray = np.asarray(image).astype(np.int64)
        if gray.min() < 0 or gray.max() > 0xFFFF:
            raise PhotoError("image_not_supported", "has gray of 32 bits")
        return np.repeat((gray >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise PhotoError("image_not_supported", "has floating-point pixels")
    if image.mode in ("P", "PA", "1"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif image.mode in ("L", "RGB") and "transparency" in image.info:  # one colour stands for none
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    if image.mode in ("RGBA", "LA"):
        image = _without_alpha(image)
    rgb = _through_profile(image) or image.convert("RGB")
    if alpha is not None:
        white = Image.new("RGB", rgb.size, (255, 255, 255))
        white.paste(rgb, mask=alpha)
        rgb = white
    return np.array(rgb, dtype=np.uint8)


def _without_alpha(image: Image.Image) -> Image.Image:
    bands = image.split()[:-1]
    return Image.merge("RGB", bands) if len(bands) == 3 else bands[0]


def _through_profile(image: Image.Image) -> Image.Image | None:
    """By its colour profile to sRGB; None where it has none, or sRGB's, or a broken one."""
    data = image.info.get("icc_profile")
    if not data or image.mode not in ("RGB", "CMYK", "L"):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return None
        return ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
