"""What editors made, kept apart from what was thought of it: another judge, CLIP or LPIPS looks at the same pictures,
and nobody is asked, tuned or paid again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from shards.features import IMAGE, with_features
from shards.images import Pixels, decode, encode
from shards.run import Run
from shards.storage import NotFound
from shards.tables import from_rows, read_table
from shards.units import Unit

STAGE = "made"  # of its folders
_SCHEMA = with_features(
    pa.schema(
        [
            ("pair_id", pa.string()),
            (
                "expressible",
                pa.bool_(),
            ),  # false: it cannot be said to this editor, and nothing below is known
            ("edited", IMAGE),  # null where there is none
            ("reason", pa.string()),
            ("message", pa.string()),
            ("seconds", pa.float32()),
            ("memory_mb", pa.float32()),
            ("price", pa.float32()),
            ("tuned_for", pa.string()),
            ("tuned_seconds", pa.float32()),
        ]
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What came of an edit. picture: None where there is none, and then reason says why. memory_mb: the most that the
    device, or the process, held while its batch was made. price: what it cost. tuned_for, tuned_seconds: of
    `evaluation.asked.Edited`; None where nothing was tuned."""

    picture: Pixels | None
    seconds: float
    reason: str | None = None
    message: str | None = None
    memory_mb: float = 0.0
    price: float = 0.0
    tuned_for: str | None = None
    tuned_seconds: float | None = None


def keep(run: Run, folder: str, unit: Unit, names: Sequence[str], made: Sequence[Made | None]) -> bool:
    """Puts what was made of a unit's edits; False where another worker was first, whose pictures then count. None:
    cannot be said."""
    rows = [
        {"pair_id": name, "expressible": one is not None} if one is None else
        {
            "pair_id": name, "expressible": True, "edited": None if one.picture is None else encode(one.picture),
            "reason": one.reason, "message": one.message, "seconds": one.seconds, "memory_mb": one.memory_mb,
            "price": one.price, "tuned_for": one.tuned_for, "tuned_seconds": one.tuned_seconds,
        }
        for name, one in zip(names, made, strict=True)
    ]  # fmt: skip
    return run.commit(folder, unit, from_rows(rows, _SCHEMA), {"made": sum(one is not None for one in made)})


def kept(run: Run, folder: str, unit: Unit, names: Sequence[str]) -> list[Made | None] | None:
    """What was made of the unit's edits before; None where nobody has made any. Raises StorageError."""
    try:
        rows = read_table(run.storage, run.shard_key(folder, unit.id)).to_pylist()
    except NotFound:
        return None
    if [row["pair_id"] for row in rows] != list(names):
        return None
    return [
        Made(
            None if row["edited"] is None else decode(row["edited"]),
            row["seconds"], row["reason"], row["message"], row["memory_mb"], row["price"], row["tuned_for"],
            row["tuned_seconds"],
        ) if row["expressible"] else None
        for row in rows
    ]  # fmt: skip
