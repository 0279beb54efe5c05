"""Files that people have, from a path or from whatever pyarrow opens: as streams, and text of them line by line."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pyarrow.fs as fs

PACKAGE = "package:"
MAX_LINE = 1_000_000  # characters of a text line; longer ones are no captions


class SourceError(ValueError):
    """The file is not what the source reads; the message says what it needs."""


def filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """Of a path, of what pyarrow knows ("s3://..."), or of "package:skimage/data": what lies within an installed
    package, which is not imported. Raises FileNotFoundError for a package that is not there."""
    if uri.startswith(PACKAGE):
        return fs.LocalFileSystem(), _in_package(uri)
    if "://" in uri:
        return cast(tuple[fs.FileSystem, str], fs.FileSystem.from_uri(uri))
    return fs.LocalFileSystem(), uri


def _in_package(uri: str) -> str:
    package, _, below = uri.removeprefix(PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"{uri}: the package {package} is not installed")
    if ".." in PurePosixPath(below).parts:
        raise FileNotFoundError(f"{uri}: does not lie in the package")
    return str(Path(next(iter(found.submodule_search_locations))) / below)


def opened(uri: str) -> io.BufferedIOBase:
    system, path = filesystem(uri)
    if system.get_file_info(path).type == fs.FileType.NotFound:
        raise FileNotFoundError(f"{uri}: there is no such file")
    return cast(io.BufferedIOBase, system.open_input_stream(path))


def json_lines(uri: str) -> Iterator[dict[str, Any]]:
    """Objects, line by line; lines that are none are left out, a file without any is an error."""
    found = bad = 0
    with opened(uri) as file:
        for line in lines(file):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                values = None
            if isinstance(values, dict):
                found += 1
                yield values
            else:
                bad += 1
    if bad and not found:
        raise SourceError(f"{uri}: has no line that is a JSON object; JSON lines have one in each")


def lines(file: io.BufferedIOBase) -> Iterator[str]:
    """UTF-8 with whatever is not replaced; a line beyond MAX_LINE is cut."""
    text = io.TextIOWrapper(cast(Any, file), encoding="utf-8-sig", errors="replace", newline=None)
    while line := text.readline(MAX_LINE):
        rest = line
        while len(rest) == MAX_LINE and not rest.endswith("\n"):
            rest = text.readline(MAX_LINE)
        yield line.replace("\0", "")
