"""The first look at a run's accepted pairs: small columns alone, what planning needs of each.

A scan is carried out by workers, some units each, and comes back as a table of `SCAN`: a hundred bytes a row, and the
words of its inverse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shards.compact import INVERSE
from shards.run import Run
from shards.splits import is_held_out
from shards.storage import open_storage
from shards.tables import read_table

_READERS = 4
_NAME = pa.dictionary(pa.int32(), pa.string())

SCAN = pa.schema(
    [
        ("unit", _NAME),
        ("row", pa.int32()),
        ("order", pa.uint64()),  # a hash of the pair's name
        ("group", pa.int64()),  # of the scene, caption or photo
        ("source", _NAME),
        ("edit_kind", _NAME),
        ("language", _NAME),
        ("direction", _NAME),
        ("region", _NAME),
        ("value", _NAME),  # the colour or material that is asked for
        ("pixel_before", pa.int64()),
        ("pixel_after", pa.int64()),
        ("perceptual_before", pa.uint64()),
        ("perceptual_after", pa.uint64()),
        ("image_bytes", pa.int64()),  # 0: no picture was kept
        ("held_out", pa.bool_()),
        ("inverse", INVERSE),
    ]
)

_PAIR = (
    "pair_id", "scene_id", "run_id", "source", "edit_kind", "language", "original_prompt", "instructions", "operations",
    "objects_before.list.element.id", "objects_before.list.element.name", "objects_before.list.element.color",
    "objects_before.list.element.material", "objects_after.list.element.id", "objects_after.list.element.name",
    "objects_after.list.element.color", "objects_after.list.element.material", "hashes", "image_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Units of one route of one run. pairs, verdicts: folders. held_out: share of combinations. inverse: look for
    inverses, too. sources: those wanted, or None for all."""

    run_uri: str
    pairs: str
    verdicts: str
    units: tuple[str, ...]
    held_out: float
    inverse: bool
    sources: tuple[str, ...] | None


def scan(task: ScanTask) -> pa.Table:
    """The accepted pairs of these units, by unit and row. Raises StorageError."""
    run = Run.open(open_storage(task.run_uri))
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(lambda unit: _unit(run, task, unit), task.units))
    return pa.concat_tables(found, promote_options="default").cast(SCAN)


def _unit(run: Run, task: ScanTask, unit: str) -> pa.Table:
    verdicts = read_table(run.storage, run.shard_key(task.verdicts, unit), ("pair_id", "verdict"))
    accepted = {row["pair_id"] for row in verdicts.to_pylist() if row["verdict"] == "accepted"}
    rows = [] if not accepted else read_table(run.storage, run.shard_key(task.pairs, unit), _PAIR).to_pylist()
    lines = [
        _line(row, unit, number, task)
        for number, row in enumerate(rows)
        if row["pair_id"] in accepted and (task.sources is None or row["source"] in task.sources)
    ]
    return pa.Table.from_pylist(lines, schema=SCAN)


def _line(row: Mapping[str, Any], unit: str, number: int, task: ScanTask) -> dict[str, Any]:
    hashes = row["hashes"] or {}
    step: Mapping[str, Any] = next(iter(row["operations"] or row["instructions"] or ()), {})
    return {
        "unit": unit,
        "row": number,
        "order": number_of(row["pair_id"], bits=64),
        "group": number_of(group_of(row)),
        "source": row["source"],
        "edit_kind": row["edit_kind"],
        "language": row["language"],
        "direction": step.get("direction"),
        "region": step.get("region"),
        "value": step.get("value"),
        "pixel_before": number_of(hashes.get("pixel_before")),
        "pixel_after": number_of(hashes.get("pixel_after")),
        "perceptual_before": int(hashes.get("perceptual_before") or "0", 16),
        "perceptual_after": int(hashes.get("perceptual_after") or "0", 16),
        "image_bytes": row["image_bytes"] or 0,
        "held_out": _held_out(row, task.held_out),
        "inverse": _inverse(row) if task.inverse else None,
    }


def group_of(row: Mapping[str, Any]) -> str:
    """What a pair shows: all edits of one caption are one group, as all edits of one scene or photo are."""
    if row["source"] == "p2p":
        return f"caption/{' '.join((row['original_prompt'] or '').lower().split())}"
    return f"scene/{row['run_id']}/{row['scene_id']}"


def number_of(text: str | None, bits: int = 63) -> int:
    """A hash; -1 for None."""
    if text is None:
        return -1
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> (64 - bits)


def _held_out(row: Mapping[str, Any], share: float) -> bool:
    things: Sequence[Mapping[str, Any]] = [*(row["objects_before"] or ()), *(row["objects_after"] or ())]
    return any(is_held_out(f"{t['name']}/{t['color']}", share) for t in things if t["color"])


def _inverse(row: Mapping[str, Any]) -> dict[str, Any] | None:
    from filters.inverse import inverse

    found = inverse(row)
    if found is None:
        return None
    return {
        "edit_kind": found.edit_kind,
        "edit_prompt": found.edit_prompt,
        "instructions": found.instructions,
        "operations": found.operations,
    }
