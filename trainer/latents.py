"""Latents of a dataset's pictures, kept on this machine's disk: the autoencoder sees each picture once.

One file of records of equal size, the modes of both pictures' posteriors in float32, and one of their checksums. Every
row has two records: as it is, and seen in a mirror. Values are those that the autoencoder gave, not rounded, so a
training with kept latents is the training without.

A record that does not fit its checksum, as after a machine went down, is not there. Room is taken when the files
are made: a full disk is said then, while a mapped file of holes would end the process in mid-training.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Latents = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Place:
    """A row as a training sees it. row: its number in the split, kinds left out included. mirrored: as in a mirror."""

    row: int
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class LatentStore:
    """Where the latents of a split are. Small enough to be sent to other processes; files are opened when needed.

    folder: on a disk of this machine. name: of what the latents are made from, see `name_of`. rows: of the split.
    shape: (c, h, w) of one picture's latents.
    """

    folder: str
    name: str
    rows: int
    shape: tuple[int, int, int]

    def opened(self) -> OpenLatents:
        """Files that are not there are made. Raises OSError where the disk refuses, or has no room for all."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        records = (self.rows, 2)
        values, sums = folder / f"{self.name}.f32", folder / f"{self.name}.crc32"
        _sized(values, int(np.prod(records)) * 2 * int(np.prod(self.shape)) * 4)
        _sized(sums, int(np.prod(records)) * 4)
        return OpenLatents(
            np.memmap(values, np.float32, "r+", shape=(*records, 2, *self.shape)),
            np.memmap(sums, np.uint32, "r+", shape=records),
        )


@dataclass(frozen=True, slots=True, eq=False)
class OpenLatents:
    """values: (rows, 2, 2, c, h, w). sums: (rows, 2), a checksum of each record, 0 where there is none. Several
    processes may read and write: whoever writes a record writes the same."""

    values: NDArray[np.float32]
    sums: NDArray[np.uint32]

    def get(self, place: Place) -> Latents | None:
        """(2, c, h, w), both without the scaling factor; None where they are not there yet."""
        at = place.row, int(place.mirrored)
        if not self.sums[at]:
            return None
        found = np.array(self.values[at])
        return found if _checksum(found) == self.sums[at] else None

    def put(self, place: Place, latents: Latents) -> None:
        at = place.row, int(place.mirrored)
        self.values[at] = latents
        self.sums[at] = _checksum(self.values[at])


def name_of(*parts: str) -> str:
    """A file's name for latents of this dataset, split, side and autoencoder: other latents have another name."""
    return "latents-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _sized(path: Path, size: int) -> None:
    with path.open("ab") as file:
        if file.tell() != size:
            os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)


def _checksum(latents: Latents) -> int:
    """Never 0."""
    return zlib.crc32(np.ascontiguousarray(latents).data) or 1
