"""Pictures by their names: from a folder, a zip, an installed package, on a path or on S3.

A zip is read in place: its directory once, then the bytes of each picture that is asked for.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Protocol, cast

import pyarrow as pa
import pyarrow.fs as fs

from generators.files import filesystem
from generators.photo_sources import PhotoError

MAX_BYTES = 200_000_000  # of a picture's file
_BUFFER = 1 << 18  # read ahead in a zip: one request for most pictures


class Files(Protocol):
    """Files by their relative names, with "/" between the parts."""

    def read(self, name: str) -> bytes | None:
        """None where there is no such file. Raises PhotoError: `image_too_large`, `image_broken`, `bad_name`."""
        ...

    def signature(self) -> list[tuple[str, int, int]]:
        """Name, size and checksum (0 where none is known) of every file, sorted: what it all hangs on."""
        ...


def open_files(uris: str | Sequence[str]) -> Files:
    """One place, or several of which the first that has a file gives it.

    uris: folders, zip files, or "package:skimage/data": a folder within an installed package, which is not imported.
    Raises PhotoError("images_missing").
    """
    places = [_open(uri) for uri in ([uris] if isinstance(uris, str) else uris)]
    if not places:
        raise PhotoError("images_missing", "no place for pictures is named: give a folder or a zip")
    return places[0] if len(places) == 1 else _Several(places)


def read_annotated(images: Files, name: str) -> bytes:
    """The bytes of a picture that annotations speak of. Raises PhotoError: `image_missing`, and as `Files.read`."""
    data = images.read(name)
    if data is None:
        raise PhotoError("image_missing", f"{name} is annotated, but not among the pictures")
    return data


def identity_of(parts: Sequence[Any]) -> str:
    """A short hash of what repr says of the parts."""
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()[:32]


def file_signature(uri: str) -> tuple[str, int]:
    """Name and size of a file."""
    system, path = filesystem(uri)
    info = system.get_file_info(path)
    return info.base_name, int(info.size or 0)


def _open(uri: str) -> Files:
    try:
        system, path = filesystem(uri)
        kind = system.get_file_info(path).type
    except (pa.ArrowInvalid, ValueError, FileNotFoundError) as error:
        said = str(error).splitlines()[0]
        raise PhotoError("images_missing", said if said.startswith(uri) else f"{uri}: {said}") from None
    if kind == fs.FileType.Directory:
        return _Folder(system, path, uri)
    if kind == fs.FileType.File:
        return _Zip(system, path, uri)
    raise PhotoError("images_missing", f"{uri}: there is no such folder or zip")


def _checked(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
        raise PhotoError("bad_name", f"{name!r} is no name of a file below the pictures' folder")
    return name


class _Folder:
    def __init__(self, system: fs.FileSystem, path: str, uri: str) -> None:
        self._system, self._path, self._uri = system, path.rstrip("/"), uri

    def read(self, name: str) -> bytes | None:
        path = f"{self._path}/{_checked(name)}"
        info = self._system.get_file_info(path)
        if info.type != fs.FileType.File:
            return None
        _check_size(f"{self._uri}/{name}", int(info.size or 0))
        try:
            with self._system.open_input_stream(path) as file:
                return cast(bytes, file.read())
        except FileNotFoundError:
            return None

    def signature(self) -> list[tuple[str, int, int]]:
        inside = self._system.get_file_info(fs.FileSelector(self._path, recursive=True))
        length = len(self._path) + 1
        return sorted((info.path[length:], int(info.size or 0), 0) for info in inside if info.is_file)


class _Zip:
    def __init__(self, system: fs.FileSystem, path: str, uri: str) -> None:
        self._uri = uri
        # A NativeFile is close enough to a raw file; read ahead, a picture on S3 is one request.
        file = io.BufferedReader(cast(Any, system.open_input_file(path)), _BUFFER)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise PhotoError(
                "images_missing", f"{uri}: is neither a folder nor a whole zip: {error}"
            ) from None
        roots = {name.partition("/")[0] for name in self._zip.NameToInfo}
        self._root = f"{roots.pop()}/" if len(roots) == 1 else ""

    def read(self, name: str) -> bytes | None:
        names = self._zip.NameToInfo
        info = names.get(_checked(name)) or names.get(self._root + name)
        if info is None or info.is_dir():
            return None
        _check_size(f"{self._uri}: {name}", info.file_size)
        try:
            with self._zip.open(info) as file:
                return file.read(MAX_BYTES)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise PhotoError("image_broken", f"{self._uri}: {name}: {error}") from None

    def signature(self) -> list[tuple[str, int, int]]:
        return sorted((i.filename, i.file_size, i.CRC) for i in self._zip.infolist() if not i.is_dir())


class _Several:
    def __init__(self, places: Sequence[Files]) -> None:
        self._places = places

    def read(self, name: str) -> bytes | None:
        return next((data for place in self._places if (data := place.read(name)) is not None), None)

    def signature(self) -> list[tuple[str, int, int]]:
        return [entry for place in self._places for entry in place.signature()]


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise PhotoError("image_too_large", f"{name} has {size:,} bytes, more than {MAX_BYTES:,}")
