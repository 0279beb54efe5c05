"""Picture files into pixels, whatever cameras and editors have made of them."""

from __future__ import annotations

from generators.photo_sources import MAX_PIXELS, Photo


def decode_photo(data: bytes, max_pixels: int = MAX_PIXELS) -> Photo:
    """Raises PhotoError: `image_empty`, `image_truncated`, `image_broken`, `image_too_large`, `image_not_supported`."""
    raise NotImplementedError
