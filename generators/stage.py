"""The stage that writes edits: captions of a run, each with a few instructions and the captions after them.

A row is one attempt at one edit: its caption, its kind and its language follow from its number, its sampling from its
seed. What the model writes is judged at once, by words alone; what fails stays in the shard with its reason.

The instruction in Vietnamese is the English one said again by `spatial`, where that understands it: a small model's own
Vietnamese is another matter, and is asked for only where there is no other way.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from filters.edits import EditChecks, TextEdit
from generators.llm import (
    EndpointSettings,
    EndpointWriter,
    EngineGone,
    Sampling,
    VllmSettings,
    VllmWriter,
    Writer,
)
from generators.prepare import UNIT as CAPTIONS_UNIT
from generators.seeds import KINDS
from generators.writing import Answer, Request, drawn_kind, read_answer
from shards.guard import BrokenEngine, RowGuard
from shards.run import Run
from shards.schema import EDITS
from shards.storage import open_storage
from shards.tables import from_rows, read_rows
from shards.units import Unit, UnitReport, seed_for
from spatial.instruction import Instruction
from spatial.language import parse, say
from spatial.lexicon import Lexicon
from spatial.rows import said_row
from spatial.scene import SpatialError

Row = dict[str, Any]


def writer_of(settings: Mapping[str, Any]) -> Writer:
    """The language model that the configuration names. Raises EngineGone, EndpointRefused."""
    sampling = Sampling(**settings["sampling"])
    if settings.get("endpoint") is not None:
        return EndpointWriter(EndpointSettings(**settings["endpoint"], sampling=sampling))
    return VllmWriter(VllmSettings(**settings["vllm"], sampling=sampling))


class WriteEdits:
    """Stage "edits". settings: captions (the folder of their stage), per_caption, kinds and languages (weights), llm
    (as `writer_of` takes it), seed."""

    name = "edits"
    version = 3  # to be raised whenever the same settings would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._run = Run.open(open_storage(run_uri))
        self._folder, self._settings = folder, settings
        self._captions = self._run.shard_key(settings["captions"], CAPTIONS_UNIT.id)
        self._checks = EditChecks()
        self._lexicon = Lexicon.default()
        self.writer = writer_of(settings["llm"])  # a machine without an engine is told now, not unit by unit

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        rows, tokens = [], 0
        for batch in self._batches(unit, guard):
            try:
                answers = self.writer.write([request for _, request, _ in batch])
            except EngineGone as error:
                raise BrokenEngine(str(error)) from error
            for (row, request, _), answer in zip(batch, answers, strict=True):
                rows.append(self._judged(row, request, answer))
                tokens += answer.tokens
        rows = sorted([*rows, *self._refused], key=lambda row: str(row["edit_id"]))
        counts = Counter(
            f"{row['verdict']}:{row['reason']}" if row["reason"] else row["verdict"] for row in rows
        )
        won = self._run.commit(self._folder, unit, from_rows(rows, EDITS), counts)
        seconds = time.monotonic() - began
        details = {"output_tokens": float(tokens)}
        return UnitReport(unit.id, self.name, len(rows), dict(counts), seconds, not won, details)

    def requests(self, unit: Unit) -> list[Request]:
        """What the language model is asked for a unit, in its order."""
        each = int(self._settings["per_caption"])
        numbers = range(unit.rows.start * each, unit.rows.stop * each)
        captions = self._captions_of(unit)
        return [self._asked(unit, n, captions[n // each - unit.rows.start])[1] for n in numbers]

    def _captions_of(self, unit: Unit) -> list[Row]:
        columns = ("text", "license", "provenance")
        rows: list[Row] = read_rows(self._run.storage, self._captions, list(unit.rows), columns).to_pylist()
        return rows

    def _batches(self, unit: Unit, guard: RowGuard) -> Iterator[list[tuple[Row, Request, int]]]:
        """All rows at once; where a row is to be found that kills the engine, one at a time."""
        self._refused: list[Row] = []
        each = int(self._settings["per_caption"])
        numbers = range(unit.rows.start * each, unit.rows.stop * each)
        captions = self._captions_of(unit)
        batch = []
        for number in numbers:
            caption = captions[number // each - unit.rows.start]
            row, request = self._asked(unit, number, caption)
            if not guard.may_run(number):
                self._refused.append(row | {"verdict": "failed", "reason": guard.refusal})
                continue
            batch.append((row, request, number))
            if guard.row_by_row:
                yield batch
                batch = []
        if batch:
            yield batch

    def _asked(self, unit: Unit, number: int, caption: Row) -> tuple[Row, Request]:
        seed = seed_for(self._settings["seed"], unit.id, number, "edit")
        rng = np.random.default_rng(seed_for(self._settings["seed"], unit.id, number, "kind"))
        kind = drawn_kind(self._settings["kinds"], caption["text"], rng)
        language = _drawn(self._settings["languages"], rng)
        row = {
            "edit_id": f"{unit.id}-{number:09d}",
            "unit_id": unit.id,
            "original_prompt": caption["text"],
            "edit_kind": KINDS[kind],
            "language": language,
            "seed": seed,
            "license": caption["license"],
            "provenance": {
                "kind": "text",
                "config": self._run.id,
                "details": json.dumps(
                    {"asked": kind, "caption": json.loads(caption["provenance"]["details"] or "{}")},
                    ensure_ascii=False,
                ),
            },
        }
        return row, Request(caption["text"], kind, "en" if self._translatable(kind) else language, seed)

    def _translatable(self, kind: str) -> bool:
        """Whether `spatial` can say edits of this kind in every language, if it understands the English one."""
        return KINDS[kind] not in ("style", "replace", "resize", "zoom")

    def _judged(self, row: Row, request: Request, answer: Answer) -> Row:
        if answer.text is None:
            verdict = "rejected" if answer.error == "cut_off" else "failed"
            return row | {"verdict": verdict, "reason": answer.error or "no_answer"}
        found = read_answer(answer.text)
        if found is None:
            return row | {"verdict": "rejected", "reason": "no_json"}
        edit, after = found
        reason = self._checks.reason(TextEdit(request.caption, edit, after, request.language))
        said = _parsed(edit, request.language)
        if reason is None and row["language"] != request.language:
            rng = np.random.default_rng(seed_for(row["seed"], row["edit_id"], 0, "words"))
            if said is None:
                reason = "not_translatable"
            else:
                edit = say(said, row["language"], rng, lexicon=self._lexicon)
        return row | {
            "edit_prompt": edit,
            "edited_prompt": after,
            "instructions": self._rows_of(said, row["language"]),
            "verdict": "accepted" if reason is None else "rejected",
            "reason": reason,
        }

    def _rows_of(self, said: Instruction | None, language: str) -> list[Row]:
        """The instruction field by field; none where it is beyond the vocabulary of space."""
        return [] if said is None else [said_row(step, language, self._lexicon) for step in said.parts()]


def _parsed(edit: str, language: str) -> Instruction | None:
    try:
        return parse(edit, language)
    except SpatialError:
        return None


def _drawn(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    names: Sequence[str] = sorted(weights)
    shares = np.array([weights[name] for name in names], float)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]
