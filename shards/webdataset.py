"""A dataset as tar files that `webdataset` streams: three members a pair, and an index of the files.

    train-00000.tar  train-00001.tar ...  validation-00000.tar  test-00000.tar
        <pair_id>.before.png  <pair_id>.after.png  <pair_id>.json     pictures as they are, all other columns
    index.json                                                        every tar's rows, bytes, sha256; put last

The same dataset gives the same bytes: pairs in the order of the data files, members without times or owners. One
tar and one row group are in memory at a time. An export that was stopped is made again from its beginning; without
an index there is no export.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shards.dataset import LATEST_FILE, MANIFEST_FILE, SPLITS, Dataset
from shards.schema import PUBLISHED
from shards.storage import NotFound, Storage, StorageError
from shards.tables import read_batches

INDEX_FILE = "index.json"
SHARD_BYTES = 256_000_000
_PICTURES = {"original_image": "before", "edited_image": "after"}
_SUFFIXES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"RIFF", "webp"))
_OURS = re.compile(rf"(?:{'|'.join(SPLITS)})-\d{{5,}}\.tar")
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Tar:
    """A file of the export. path: relative to it. rows: pairs. bytes: its size. sha256: of its content."""

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Export:
    """What index.json says. manifest_sha256: of the dataset's version."""

    name: str
    version: str
    manifest_sha256: str
    shard_bytes: int
    tars: tuple[Tar, ...]

    @property
    def counts(self) -> dict[str, int]:
        """{split: pairs}."""
        return {
            split: sum(tar.rows for tar in self.tars if tar.split == split)
            for split in dict.fromkeys(tar.split for tar in self.tars)
        }

    def to_bytes(self) -> bytes:
        values = asdict(self) | {"counts": self.counts}
        return json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n"


def export_webdataset(dataset: Dataset, out: Storage, shard_bytes: int = SHARD_BYTES) -> Export:
    """Writes the tars, then the index. shard_bytes: a tar that has reached it takes no further pair.

    Where `out` has an export of this very version, nothing is written. Raises StorageError("other_content") where it
    has one of another, StorageError("corrupt") for a data file that is damaged, and StorageError for what fails.
    """
    manifest = dataset.manifest
    if (
        f"{out.uri}/".startswith(f"{dataset.storage.uri}/")
        or out.exists(MANIFEST_FILE)
        or out.exists(LATEST_FILE)
    ):
        raise StorageError("other_content", f"{out.uri} is a dataset's own folder: choose another place")
    if (found := _there(out)) is not None:
        if (found.manifest_sha256, found.shard_bytes) == (manifest.sha256, shard_bytes):
            return found
        raise StorageError(
            "other_content",
            f"{out.uri} holds an export of {found.name} {found.version} with tars of {found.shard_bytes} bytes: "
            "choose another place",
        )
    tars = []
    for split in dict.fromkeys((*SPLITS, *sorted(manifest.counts))):
        for number, (rows, data) in enumerate(_packed(dataset, split, shard_bytes)):
            path = f"{split}-{number:05d}.tar"
            out.write(path, data)
            tars.append(Tar(path, split, rows, len(data), hashlib.sha256(data).hexdigest()))
    written = {tar.path for tar in tars}
    for entry in list(out.list()):  # of an export with smaller tars that was stopped
        if _OURS.fullmatch(entry.key) and entry.key not in written:
            out.delete(entry.key)
    export = Export(manifest.name, manifest.version, manifest.sha256, shard_bytes, tuple(tars))
    out.write(INDEX_FILE, export.to_bytes())
    return export


def _there(out: Storage) -> Export | None:
    try:
        values = json.loads(out.read(INDEX_FILE))
        values.pop("counts")
        return Export(**{**values, "tars": tuple(Tar(**tar) for tar in values["tars"])})
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            "other_content", f"{out.uri}/{INDEX_FILE} is not of an export: choose another place"
        ) from error


def _packed(dataset: Dataset, split: str, shard_bytes: int) -> Iterator[tuple[int, bytes]]:
    """(pairs, tar) one after the other; none for a split without pairs."""
    buffer, rows = io.BytesIO(), 0
    tar = _opened(buffer)
    for file in dataset.files("data", split):
        for batch in read_batches(dataset.storage, file.path, PUBLISHED.names, _BATCH):
            for row in batch.to_pylist():
                for name, data in _members(row):
                    _add(tar, name, data)
                rows += 1
                if buffer.tell() >= shard_bytes:
                    tar.close()
                    yield rows, buffer.getvalue()
                    buffer, rows = io.BytesIO(), 0
                    tar = _opened(buffer)
    if rows:
        tar.close()
        yield rows, buffer.getvalue()


def _opened(buffer: io.BytesIO) -> tarfile.TarFile:
    # GNU's form takes names of any length and has no extended headers.
    return tarfile.TarFile(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # time, user and group are 0 there
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))


def _members(row: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    key = _key(row["pair_id"])
    for column, when in _PICTURES.items():
        image = row[column]
        if image is None or not image["bytes"]:
            raise StorageError("corrupt", f"pair {row['pair_id']} has no {column}: publish the dataset again")
        yield f"{key}.{when}.{_suffix(image['bytes'])}", image["bytes"]
    small = {name: _finite(value) for name, value in row.items() if name not in _PICTURES}
    yield f"{key}.json", json.dumps(small, ensure_ascii=False, allow_nan=False).encode()


def _key(pair_id: str) -> str:
    """The id without what has a meaning in a member's name: readers cut it at the first dot, and take "/" for a
    folder. Different ids stay different."""
    return re.sub(r"[%./\\\x00-\x20]", lambda found: f"%{ord(found[0]):02X}", pair_id)


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), "bin")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value
