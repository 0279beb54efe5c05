"""Storage in a local or shared folder.

An object is written to a hidden temporary file beside its place, synced, and then put there in one step of
the kernel's: `link`, which fails where a file is, or `rename`, which replaces it. A process killed at any
moment leaves at most a hidden file that no listing shows.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shards.objects import Entry, NotFound, StorageError, check_key

_HIDDEN = ".~"  # temporary files and locks; listings leave them out
_COPY_BYTES = 1 << 20
_LOCK = f"{_HIDDEN}lock"

_REASONS = {
    errno.ENOSPC: ("disk_full", "no space left: free some, or choose another place"),
    errno.EDQUOT: ("disk_full", "the disk quota is used up: free some, or choose another place"),
    errno.EFBIG: ("disk_full", "the file is larger than this process or file system may write"),
    errno.EROFS: ("read_only", "the file system is read-only: choose another place"),
    errno.EACCES: ("access_denied", "access denied: check who owns the folder, or choose another place"),
    errno.EPERM: ("access_denied", "not permitted here: check the folder's owner and that links are allowed"),
    errno.ENOTSUP: ("no_hard_links", "this file system has no hard links: choose another place"),
    errno.ENOTDIR: ("bad_path", "a part of the path is a file, not a folder"),
    errno.EISDIR: ("bad_path", "is a folder, not a file"),
    errno.ENAMETOOLONG: ("bad_path", "the name is too long for this file system"),
}


class LocalStorage:
    """Objects are files under `root`; see `shards.objects.Storage`. Folders appear as they are needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def uri(self) -> str:
        return str(self.root)

    @property
    def listings(self) -> int:
        return 1

    def __repr__(self) -> str:
        return f"LocalStorage({self.uri!r})"

    def read(self, key: str) -> bytes:
        path = self.path(key)
        with _clear_errors(path):
            return path.read_bytes()

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        data = self.read(key)
        return data, _etag(data)

    def write(self, key: str, data: bytes) -> None:
        path = self.path(key)
        with _clear_errors(path), _written_beside(path, data) as temporary, _locked(path.parent):
            temporary.replace(path)

    def create(self, key: str, data: bytes) -> bool:
        return self._create(key, data)

    def create_file(self, key: str, path: Path) -> bool:
        return self._create(key, path)

    def _create(self, key: str, data: bytes | Path) -> bool:
        path = self.path(key)
        with _clear_errors(path):
            if path.exists():  # the common case of a lost race, without writing the data first
                return False
            with _written_beside(path, data) as temporary:
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    # A network file system may link, lose its answer, try again and find our own file.
                    return temporary.stat().st_nlink == 2
                return True

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        path = self.path(key)
        with _clear_errors(path), _written_beside(path, data) as temporary, _locked(path.parent):
            try:
                current = _etag(path.read_bytes())
            except FileNotFoundError:
                return None
            if current != etag:
                return None
            temporary.replace(path)
            return _etag(data)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        folder, _, _ = prefix.rpartition("/")
        base = self.path(folder) if folder else self.root
        with _clear_errors(base):
            yield from _walk(base, f"{folder}/" if folder else "", prefix)

    def delete(self, key: str) -> None:
        path = self.path(key)
        with _clear_errors(path):
            path.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        path = self.path(key)
        with _clear_errors(path):
            return path.is_file()

    def open(self, key: str) -> BinaryIO:
        path = self.path(key)
        with _clear_errors(path):
            return path.open("rb")

    def sub(self, prefix: str) -> LocalStorage:
        return LocalStorage(self.path(prefix.strip("/")))

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.root / check_key(key)

    def try_lock(self, key: str) -> BinaryIO | None:
        """An exclusive lock held until the returned file is closed or this process ends; None if taken."""
        path = self.path(key)
        path = path.with_name(f"{_HIDDEN}{path.name}")
        with _clear_errors(path):
            _make_folder(path.parent)
            file = path.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
            return file


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _walk(folder: Path, key: str, prefix: str) -> Iterator[Entry]:
    """Files under `folder`, whose key is `key`, that start with `prefix`, sorted as S3 sorts."""
    try:
        # A folder sorts as its contents do: with the "/" that follows its name.
        entries = sorted((f"{e.name}/" if e.is_dir() else e.name, e) for e in os.scandir(folder))
    except FileNotFoundError:
        return
    for name, entry in entries:
        full = key + name
        if entry.name.startswith(_HIDDEN) or not (full.startswith(prefix) or prefix.startswith(full)):
            continue
        if name.endswith("/"):
            yield from _walk(folder / entry.name, full, prefix)
        elif full.startswith(prefix):
            with suppress(FileNotFoundError):  # deleted since the folder was read
                yield Entry(full, entry.stat().st_size)


@contextmanager
def _written_beside(path: Path, data: bytes | Path) -> Iterator[Path]:
    """A synced temporary file with `data`, or with what a file holds, beside `path`; afterwards it is gone."""
    _make_folder(path.parent)
    temporary = path.with_name(f"{_HIDDEN}{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            if isinstance(data, Path):
                with data.open("rb") as source:
                    shutil.copyfileobj(source, file, _COPY_BYTES)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time in this folder; the kernel gives the lock back when its holder dies."""
    with (folder / _LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Makes names in the folder survive a power cut, not only the bytes of its files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync names by themselves, and refuse this
            raise
    finally:
        os.close(descriptor)


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder of this machine, gone afterwards. Raises StorageError("disk_full")."""
    with tempfile.TemporaryDirectory(prefix=f"spatialpix-{prefix}-") as folder:
        try:
            yield Path(folder)
        except OSError as error:
            reason, advice = _REASONS.get(error.errno or 0, ("", ""))
            if reason != "disk_full":
                raise
            raise StorageError(reason, f"{folder}: {advice}; TMPDIR says where") from error


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turns the kernel's error numbers into a reason and an advice."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except OSError as error:
        reason, advice = _REASONS.get(error.errno or 0, ("io_error", error.strerror or str(error)))
        raise StorageError(reason, f"{path}: {advice}") from error
