"""Units: the pieces of work that a run is made of, and the small reports that they leave.

A unit's id is made from its route and index alone, and its rows are `index * size ...`: unit 7 is the same
work whether a run has ten units or a million, so a run can be extended, and repeated, without a plan on disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_ID = re.compile(r"(?P<route>[a-z][a-z0-9_]*)-(?P<index>\d{7,})")


@dataclass(frozen=True, slots=True)
class Unit:
    """`size` rows of one route. index >= 0, size >= 1."""

    route: str
    index: int
    size: int

    def __post_init__(self) -> None:
        if self.index < 0 or self.size < 1:
            raise ValueError(f"a unit needs index >= 0 and size >= 1, not {self.index} and {self.size}")
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"route {self.route!r} must be lower-case letters, digits and _, for example 'open_images'"
            )

    @property
    def id(self) -> str:
        """For example "blender-0000007": sorts by index up to ten million units."""
        return f"{self.route}-{self.index:07d}"

    @property
    def rows(self) -> range:
        """The rows' global numbers: no two units of one route and size share one."""
        return range(self.index * self.size, (self.index + 1) * self.size)

    @classmethod
    def parse(cls, id: str, size: int) -> Unit:
        """The inverse of `id`. Raises ValueError on anything else."""
        match = _ID.fullmatch(id)
        if match is None:
            raise ValueError(f"{id!r} is not the id of a unit, for example 'blender-0000007'")
        unit = cls(match["route"], int(match["index"]), size)
        if unit.id != id:
            raise ValueError(f"{id!r} is not how a unit is written; did you mean {unit.id!r}?")
        return unit


def seed_for(run_seed: int, unit_id: str, row: int, purpose: str) -> int:
    """A seed in [0, 2**63) for one purpose in one row.

    Purposes do not share a stream: a draw more for "camera" leaves "objects" as it was. Never `hash()`, which
    differs from process to process.
    """
    name = f"{run_seed}/{unit_id}/{row}/{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What a stage says about a unit that it finished.

    rows: rows in the unit's shard. counts: rows by outcome, "accepted", or "rejected:<reason>" and
    "failed:<reason>". seconds: wall time. skipped: the shard was there already, or another's commit won.
    details: further figures by name (for example seconds inside the renderer).
    """

    unit_id: str
    stage: str
    rows: int
    counts: dict[str, int]
    seconds: float
    skipped: bool = False
    details: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UnitReport:
        return cls(**values)
