"""Pictures and masks to and from what the tables hold, and the hashes that tell pictures apart."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Format = Literal["png", "webp", "jpeg"]


class EncodedImage(TypedDict):
    """The `IMAGE` struct of the tables. path: the name that the picture might have."""

    bytes: bytes
    path: str | None


class Rle(TypedDict):
    """A mask as COCO writes it. size: [height, width]. counts: compressed run lengths."""

    size: list[int]
    counts: str


_OPTIONS: dict[Format, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 6},
    # Method 0: a tenth of the default's time, files a few percent larger.
    "webp": {"format": "WEBP", "lossless": True, "method": 0, "exact": True},
    # No chroma subsampling: thin coloured edges are what an edit changes.
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


def encode(rgb: Pixels, format: Format = "png", name: str | None = None) -> EncodedImage:
    """(h, w, 3) uint8 as a picture file: PNG and WebP lossless, JPEG of quality 95.

    name: without suffix. Raises ValueError for another shape, dtype or format.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ValueError(f"a picture is (h, w, 3) uint8, not {rgb.shape} {rgb.dtype}")
    if format not in _OPTIONS:
        raise ValueError(f"format {format!r} is not one of {', '.join(_OPTIONS)}")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, **_OPTIONS[format])
    return {"bytes": buffer.getvalue(), "path": f"{name}.{format}" if name else None}


def decode(image: bytes | Mapping[str, Any]) -> Pixels:
    """(h, w, 3) uint8 of a picture file, or of its struct. Raises ValueError if it is broken."""
    data = image if isinstance(image, bytes) else image["bytes"]
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return np.asarray(opened.convert("RGB"))
    except UnidentifiedImageError as error:  # its own words hold an address in memory
        raise ValueError("not a whole picture file: of no kind that is known") from error
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a whole picture file: {error}") from error


def pixel_sha256(rgb: Pixels) -> str:
    """sha256 of size and pixels: equal for equal pictures, however they are encoded."""
    digest = hashlib.sha256(f"{rgb.shape}{rgb.dtype}".encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def perceptual_hash(rgb: Pixels) -> str:
    """pHash, 16 hexadecimal digits: pictures that look alike differ in few of its 64 bits."""
    return str(imagehash.phash(Image.fromarray(np.ascontiguousarray(rgb))))


def mask_to_rle(mask: Mask) -> Rle:
    """(h, w) bool to COCO's compressed run lengths."""
    if mask.ndim != 2 or mask.dtype != np.bool_ or mask.size == 0:
        raise ValueError(f"a mask is (h, w) bool, not {mask.shape} {mask.dtype}")
    encoded = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    return {"size": [int(n) for n in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def rle_to_mask(rle: Mapping[str, Any]) -> Mask:
    """(h, w) bool, the inverse of `mask_to_rle`."""
    decoded = coco.decode({"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")})
    return np.ascontiguousarray(decoded).astype(np.bool_)
