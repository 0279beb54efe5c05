"""The folder of a catalogue, here or on other storage. Each version of a remote file is copied once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

import pyarrow.fs

CHUNK = 8 << 20  # bytes of one request


class Folder(Protocol):
    """Files by their names relative to it ("models/oak_stool.glb")."""

    @property
    def where(self) -> str:
        """The folder as people know it, for messages."""

    def find(self, name: str) -> Path | None:
        """A local file with the bytes that the file has now; None where there is none. Raises OSError."""

    def local(self) -> Path:
        """A local folder in which all files found so far lie under their names. Raises OSError."""


class LocalFolder:
    """A folder of this machine, read where it lies."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def where(self) -> str:
        return str(self._path)

    def find(self, name: str) -> Path | None:
        path = self._path / name
        return path if path.is_file() else None

    def local(self) -> Path:
        return self._path


class RemoteFolder:
    """A folder that pyarrow reaches, with copies in a cache that several processes may share.

    A copy is named by the version of its file (size, time and ETag), and the folder of `local` by the
    versions in it: a file replaced on the server is fetched anew and lands in another folder, so nothing
    changes under a process that still reads the old one.
    """

    def __init__(
        self, files: pyarrow.fs.FileSystem, path: PurePosixPath, uri: str, cache: Path | None = None
    ) -> None:
        """uri: of the catalogue; it tells apart storages with like paths. cache: in place of the usual one."""
        self._files = files
        self._path = path
        self._uri = uri
        self._cache = cache or Path(tempfile.gettempdir()) / f"spatialpix-assets-{os.getuid()}"
        self._copies: dict[str, Path] = {}

    @property
    def where(self) -> str:
        return self._uri.partition("?")[0].rpartition("/")[0]

    def find(self, name: str) -> Path | None:
        if name not in self._copies:
            source = str(self._path / name)
            info = self._files.get_file_info(source)
            if not info.is_file:
                return None
            self._copies[name] = self._copy(source, info)
        return self._copies[name]

    def local(self) -> Path:
        versions = sorted((name, copy.name) for name, copy in self._copies.items())
        folder = self._cache / f"folder-{_digest(versions)}"
        for name, copy in self._copies.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # the same bytes, from an earlier process or one beside this
                os.link(copy, target)
        return folder

    def _copy(self, source: str, info: pyarrow.fs.FileInfo) -> Path:
        """The copy of this version; it appears under its name when it is whole."""
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._files.open_input_stream(source) as stream:
            # Object stores keep time in seconds: two versions of one second differ in the ETag alone.
            about = {key.lower(): value for key, value in stream.metadata().items()}
            version = [self._uri, source, info.size, info.mtime_ns, str(about.get("etag"))]
            target = self._cache / f"file-{_digest(version)}"
            if target.exists() and info.mtime_ns is not None:
                return target
            handle, name = tempfile.mkstemp(dir=self._cache, suffix=".part")
            part = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    shutil.copyfileobj(stream, file, CHUNK)
                    if file.tell() != info.size:
                        raise OSError(f"{source} changed while it was copied; start again")
                if info.mtime_ns is None:  # storage that tells no time: only the bytes tell versions apart
                    target = self._cache / f"file-{_digest(_sha256(part))}"
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        return target


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
