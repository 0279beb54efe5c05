"""The stage that looks at all edits of a run at once: what is said twice is kept once, and genders are exchanged.

One unit over a complete folder, reading words alone. The first of two alike, by their ids, is kept, so the result does
not depend on which worker was faster.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from filters.mending import Exchange, exchanged
from filters.near_duplicates import NearDuplicates
from shards.guard import RowGuard
from shards.run import Run
from shards.schema import EDIT_VERDICTS
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit, UnitReport
from spatial.lexicon import Lexicon
from spatial.rows import said_rows

UNIT = Unit("unique", 0, 1)
TEXTS = ("original_prompt", "edit_prompt", "edited_prompt")
_COLUMNS = ("edit_id", *TEXTS, "language", "verdict", "reason")


class UniqueEdits:
    """Stage "unique". settings: edits (the folder of their stage), units (the ids of its units), mend (whether genders
    are exchanged by chance, `filters.mending`; of edits in English alone), seed."""

    name = "unique"
    version = 2  # to be raised whenever the same edits would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._run = Run.open(open_storage(run_uri))
        self._folder, self._settings = folder, settings

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        seen = NearDuplicates()
        rows = []
        for edit in self._edits():
            verdict, reason = edit["verdict"], edit["reason"]
            if verdict == "accepted" and not seen.is_new(" | ".join(edit[name] for name in TEXTS)):
                verdict, reason = "rejected", "duplicate"
            mended = self._mended(edit) if verdict == "accepted" else {}
            rows.append({"edit_id": edit["edit_id"], "verdict": verdict, "reason": reason} | mended)
        counts = Counter(
            f"{row['verdict']}:{row['reason']}" if row["reason"] else row["verdict"] for row in rows
        )
        won = self._run.commit(self._folder, unit, from_rows(rows, EDIT_VERDICTS), counts)
        seconds = time.monotonic() - began
        return UnitReport(unit.id, self.name, len(rows), dict(counts), seconds, not won)

    def _mended(self, edit: Mapping[str, Any]) -> dict[str, Any]:
        """What is other of an edit whose genders are exchanged; nothing for one that stays as it is."""
        if not self._settings["mend"] or edit["language"] != "en":
            return {}
        texts = tuple(edit[name] for name in TEXTS)
        (mended,) = exchanged([texts], Exchange.default(), self._settings["seed"])
        if mended == texts:
            return {}
        instructions = said_rows(mended[TEXTS.index("edit_prompt")], "en", Lexicon.default())
        return dict(zip(TEXTS, mended)) | {"instructions": instructions}

    def _edits(self) -> Iterator[dict[str, Any]]:
        for unit_id in sorted(self._settings["units"]):
            key = self._run.shard_key(self._settings["edits"], unit_id)
            yield from read_table(self._run.storage, key, _COLUMNS).to_pylist()
