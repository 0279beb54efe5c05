"""What a storage is: the eleven calls that the rest of the project needs, and the errors that they raise.

All guarantees of a run rest on one of them: `create` puts an object only where there is none, whole or not at
all, and tells exactly one of many callers that it was the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self


class StorageError(Exception):
    """Storage cannot do what was asked; the message is one line that says what to do.

    reason: a short stable word ("no_such_bucket", "disk_full", ...) for reports and tests.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that the error survives pickling between processes
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class NotFound(StorageError):
    """There is no object of this key."""

    def __init__(self, reason: str, message: str | None = None) -> None:
        super().__init__(*(("not_found", reason) if message is None else (reason, message)))


@dataclass(frozen=True, slots=True)
class Entry:
    """One object. key: relative to the storage that listed it. size: bytes."""

    key: str
    size: int


class Storage(Protocol):
    """Objects under one URI. Keys are relative, parted by "/". Every call may raise `StorageError`.

    Instances may be pickled and shared by threads.
    """

    @property
    def uri(self) -> str: ...

    @property
    def listings(self) -> int:
        """How many listings at once are worth it."""

    def read(self, key: str) -> bytes:
        """The whole object. Raises `NotFound`."""

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """The object and the etag that `replace` wants. Raises `NotFound`."""

    def write(self, key: str, data: bytes) -> None:
        """Puts the object, over an older one if there is one; readers see the old or the new, whole."""

    def create(self, key: str, data: bytes) -> bool:
        """Puts the object if there is none. False: somebody was first, and theirs stays untouched."""

    def create_file(self, key: str, path: Path) -> bool:
        """`create` with the content of a file of this machine, which need not fit into memory."""

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """Overwrites the version that `etag` names. The new etag; None if another version is there by now."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Objects whose key starts with `prefix`, page by page; those of one folder in their names' order."""

    def delete(self, key: str) -> None:
        """Removes the object; no error where there is none."""

    def exists(self, key: str) -> bool: ...

    def open(self, key: str) -> BinaryIO:
        """A seekable reader that fetches only the ranges read. Raises `NotFound`."""

    def sub(self, prefix: str) -> Self:
        """The storage of everything under `prefix`."""


def check_key(key: str) -> str:
    """The key itself. Raises ValueError for one that would leave its storage or name nothing."""
    if not key or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"{key!r} is not a key: relative, parted by single '/', without '.' and '..'")
    return key
