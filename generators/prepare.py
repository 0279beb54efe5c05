"""The stage that takes captions from a source: cleaned, each once, a fixed number, in one shard.

One unit, `captions-0000000`: what is said twice cannot be told from a part. Units of edits then take their captions by
number. A run with more of them asks for more captions, which is another folder.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import Any

import numpy as np

from generators.captions import Caption, read_captions
from generators.cleaning import cleaned, sampled
from shards.guard import RowGuard
from shards.run import Run
from shards.schema import CAPTIONS
from shards.storage import StorageError, open_storage
from shards.tables import from_rows
from shards.units import Unit, UnitReport, seed_for
from spatial.captioning import imagined, say_caption

UNIT = Unit("captions", 0, 1)
_TRIES = 20  # captions composed for each that is wanted


class PrepareCaptions:
    """Stage "captions". settings: source, uri, column, license, share, stock as in the configuration; limit: how
    many; seed."""

    name = "captions"
    version = 1  # to be raised whenever the same settings would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._run = Run.open(open_storage(run_uri))
        self._folder, self._settings = folder, settings

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        """Raises StorageError("few_captions") where the source has fewer than are asked for."""
        began = time.monotonic()
        limit = int(self._settings["limit"])
        reasons: Counter[str] = Counter()
        rows = [
            _row(number, caption)
            for number, caption in enumerate(islice(cleaned(self._source(), reasons), limit))
        ]
        if len(rows) < limit:
            left_out = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common() if reason != "kept")
            raise StorageError(
                "few_captions",
                f"{self._settings['source']} gives {len(rows)} captions, not {limit} (left out: "
                f"{left_out or 'none'}): ask for fewer units of edits, or give a larger file",
            )
        counts = {
            f"rejected:{reason}" if reason != "kept" else "accepted": n for reason, n in reasons.items()
        }
        won = self._run.commit(self._folder, unit, from_rows(rows, CAPTIONS), counts)
        seconds = time.monotonic() - began
        return UnitReport(unit.id, self.name, len(rows), counts, seconds, not won)

    def _source(self) -> Iterator[Caption]:
        settings = self._settings
        if settings["source"] == "starter":
            # A small stock runs out of different captions: looked for so long, and no longer.
            tries = _TRIES * int(settings["limit"]) + 1000
            return islice(composed_captions(settings["stock"], int(settings["seed"])), tries)
        found = read_captions(
            settings["source"], settings["uri"], column=settings["column"], license=settings["license"]
        )
        return sampled(found, float(settings["share"]), int(settings["seed"]))


def composed_captions(stock: Mapping[str, Any], seed: int) -> Iterator[Caption]:
    """Captions of a world of few things, without end: one or two of them, perhaps a place.

    stock: nouns, colors, materials, floors, never ("mug red"), as in the configuration. Composed from words alone; no
    scene is laid out.
    """
    words = {key: tuple(stock[key]) for key in ("nouns", "colors", "materials", "floors")}
    pairs = [pair.split(" ") for pair in stock.get("never") or ()]
    never = frozenset((noun, color) for noun, color in pairs)
    for number in count():
        rng = np.random.default_rng(seed_for(seed, UNIT.id, number, "caption"))
        text = say_caption(imagined(rng, **words, never=never), "en", rng)
        yield Caption(text, "CC0-1.0", {"source": "starter", "row": number})


def _row(number: int, caption: Caption) -> dict[str, Any]:
    return {
        "caption_id": f"captions-{number:09d}",
        "text": caption.text,
        "license": caption.license,
        "provenance": {
            "kind": "caption",
            "config": None,
            "details": json.dumps(dict(caption.provenance), ensure_ascii=False, default=str),
        },
    }
