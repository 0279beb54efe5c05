"""The stage that scores pairs by CLIP: reads pictures and captions, keeps every figure, decides nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from filters.weights import ClipWeights, WeightsError
from shards.guard import RowGuard
from shards.images import Pixels, decode
from shards.run import Run
from shards.schema import SCORES
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit, UnitReport

if TYPE_CHECKING:  # the driver asks this module for the stage's version, and loads no torch for it
    from filters.clip import Pair, Scored

_COLUMNS = ("pair_id", "original_image", "edited_image", "original_prompt", "edited_prompt", "verdict")
Row = dict[str, Any]


class ScoreClip:
    """Stage "scores": a row for each pair that has pictures, failed where it could not be scored.

    settings: {"model", "weights", "identity": of `ClipWeights`, "preprocessing", "batch", "device",
    "precision": of `ClipJudge`}. Raises WeightsError where this worker finds other weights than the driver.
    """

    name = "scores"
    version = 1  # to be raised whenever the same pairs and settings would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        from filters.clip import ClipJudge

        self._run = Run.open(open_storage(run_uri))
        self._folder, self._pairs = folder, inputs["pairs"]
        weights = ClipWeights(settings["model"], settings["weights"])
        self._identity = weights.identity()
        if self._identity != settings["identity"]:
            raise WeightsError(
                f"{weights.model} is {self._identity} here and {settings['identity']} where the job started: "
                "give all nodes the same files"
            )
        self._batch = int(settings["batch"])
        self._judge = ClipJudge(
            weights, settings["preprocessing"], settings["device"], settings["precision"], self._batch
        )

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        key = self._run.shard_key(self._pairs, unit.id)
        table = read_table(self._run.storage, key, _COLUMNS).to_pylist()
        numbered = enumerate(table, unit.rows.start)
        pairs = [(number, pair) for number, pair in numbered if pair["verdict"] is None]
        rows = list(self._rows(pairs, guard))
        counts = Counter(f"failed:{row['reason']}" if row.get("verdict") else "scored" for row in rows)
        won = self._run.commit(self._folder, unit, from_rows(rows, SCORES), counts)
        seconds = time.monotonic() - began
        return UnitReport(unit.id, self.name, len(rows), dict(counts), seconds, not won)

    def _rows(self, pairs: Sequence[tuple[int, Row]], guard: RowGuard) -> Iterator[Row]:
        if guard.row_by_row:
            for row, pair in pairs:
                if guard.may_run(row):
                    yield from self._score(_decoded([pair]))
                else:
                    yield self._failed(pair, guard.refusal)
            return
        batches = [pairs[start : start + self._batch] for start in range(0, len(pairs), self._batch)]
        with ThreadPoolExecutor(1) as reader:  # decodes the next pictures while the model is at these
            waiting = [reader.submit(_decoded, [pair for _, pair in batch]) for batch in batches[:1]]
            for batch in batches[1:]:
                waiting.append(reader.submit(_decoded, [pair for _, pair in batch]))
                yield from self._score(waiting.pop(0).result())
            for last in waiting:
                yield from self._score(last.result())

    def _score(self, pairs: Sequence[tuple[Row, Pair | None]]) -> Iterator[Row]:
        """A row for each pair, in order. Raises BrokenEngine."""
        from filters.clip import Scored

        answers = iter(self._judge.score([pair for _, pair in pairs if pair is not None]))
        for row, pair in pairs:
            if pair is None:
                yield self._failed(row, "bad_picture")
                continue
            answer = next(answers)
            yield (
                self._scored(row, answer) if isinstance(answer, Scored) else self._failed(row, answer.reason)
            )

    def _scored(self, pair: Row, answer: Scored) -> Row:
        return {
            "pair_id": pair["pair_id"],
            **asdict(answer.similarities),
            "clip_embedding": {"before": answer.before, "after": answer.after},
            "model": self._identity,
        }

    def _failed(self, pair: Row, reason: str) -> Row:
        return {
            "pair_id": pair["pair_id"], "model": self._identity, "verdict": "failed", "reason": reason,
        }  # fmt: skip


def _decoded(rows: Sequence[Row]) -> list[tuple[Row, Pair | None]]:
    """The pairs with their pictures; None where one cannot be read."""
    from filters.clip import Pair

    known: dict[bytes, Pixels] = {}

    def picture(image: Mapping[str, Any]) -> Pixels:
        if (pixels := known.get(image["bytes"])) is None:
            pixels = known[image["bytes"]] = decode(image)
        return pixels

    found: list[tuple[Row, Pair | None]] = []
    for row in rows:
        try:
            before, after = picture(row["original_image"]), picture(row["edited_image"])
        except (ValueError, TypeError):  # broken, or none at all
            found.append((row, None))
            continue
        captions = (row["original_prompt"] or "", row["edited_prompt"] or "")
        found.append((row, Pair(before, after, *captions)))
    return found
