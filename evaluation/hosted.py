"""An editor behind the hosted images-edit API: OpenAI's, and whatever speaks its protocol.

The key comes from the environment and goes nowhere else. What an evaluation will cost is said before it starts
(`ray_jobs.evaluate`), and nothing is asked before somebody has allowed that much.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.asked import Asked, EditorMissing
from shards.images import Pixels, decode

_TIMEOUT_S, _RETRIES = 120.0, 3


class HostedFailed(Exception):
    """The API did not give a picture."""


class Hosted:
    """settings: as `ray_jobs.config_evaluate.Hosted`: model, url, key (the name of an environment variable), size
    (pixels of a side that is sent, or None), masked, price (of an edit)."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Raises EditorMissing where there is no key."""
        import openai

        key = os.environ.get(settings["key"])
        if not key:
            raise EditorMissing(f"the environment has no {settings['key']}, the key of the API")
        self.price = float(settings["price"])
        self._key, self._failed = key, openai.OpenAIError
        self._client = openai.OpenAI(
            api_key=key, base_url=settings["url"], timeout=_TIMEOUT_S, max_retries=_RETRIES
        )
        self._model, self._size, self._masked = settings["model"], settings["size"], settings["masked"]

    def expresses(self, asked: Asked) -> bool:
        """With masks only what is known to be somewhere."""
        return not self._masked or asked.mask is not None

    def __call__(self, asked: Sequence[Asked]) -> list[NDArray[Any]]:
        if len(asked) > 1:  # an error is one edit's: the others are not to be paid for twice
            raise ValueError("the API takes one edit at a time")
        try:
            return [self._edited(one) for one in asked]
        except self._failed as error:  # some answers repeat the key
            raise HostedFailed(f"{type(error).__name__}: {error}".replace(self._key, "***")) from None

    def _edited(self, one: Asked) -> Pixels:
        height, width = one.image.shape[:2]
        size = (self._size, self._size) if self._size else (width, height)
        more: dict[str, Any] = {"size": f"{size[0]}x{size[1]}"} if self._size else {}
        if self._masked and one.mask is not None:
            more["mask"] = ("mask.png", _png(_see_through(one.image, one.mask), size), "image/png")
        answer = self._client.images.edit(
            model=self._model,
            prompt=one.text,
            image=("image.png", _png(one.image, size), "image/png"),
            n=1,
            **more,
        )
        found = answer.data[0].b64_json if answer.data else None
        if not found:
            raise ValueError("the API answered without a picture")
        picture = Image.fromarray(decode(base64.b64decode(found)))
        return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def _see_through(image: Pixels, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(h, w, 4): clear where the API may paint."""
    return np.dstack([image, np.where(mask, 0, 255).astype(np.uint8)])


def _png(pixels: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)).save(buffer, "PNG")
    return buffer.getvalue()
