"""Millions of annotations in little memory: numbers in arrays, the rest in one run of bytes."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T", bound=Hashable)


class Pool:
    """Pieces of bytes of any length, in one buffer, by number."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])

    def add(self, piece: bytes) -> None:
        self._bytes += piece
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return bytes(self._bytes[self._ends[number] : self._ends[number + 1]])


class Numbered(Generic[_T]):
    """Values that come again and again, as small numbers in the order of their first coming."""

    def __init__(self) -> None:
        self._numbers: dict[_T, int] = {}

    def number(self, value: _T) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def values(self) -> list[_T]:
        return list(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class Groups:
    """Rows by the photo that they belong to, in their own order within it."""

    def __init__(self, photos: Sequence[int] | NDArray[np.int32], count: int) -> None:
        """photos: of each row its photo's number, below zero for none. count: of photos."""
        numbers = np.asarray(photos, dtype=np.int32)
        order = np.argsort(numbers, kind="stable").astype(np.int32)
        self._order = order[int(np.searchsorted(numbers[order], 0)) :]
        self._starts = np.searchsorted(numbers[self._order], np.arange(count + 1))

    def of(self, photo: int) -> Iterator[int]:
        return map(int, self._order[self._starts[photo] : self._starts[photo + 1]])
