"""A published dataset: immutable versions side by side, and a pointer to the newest.

    <dataset>/LATEST                                {"version", "manifest_sha256"}
    <dataset>/v<version>/data/<source>/<split>-00000-of-000NN.parquet
                         index/<split>.parquet      every column but pictures and masks, and where the row lies
                         assets/*                   plots and samples of the card
                         README.md  croissant.json  CHANGELOG.md
                         MANIFEST.json              every other file with its sha256; put last

A version without MANIFEST.json does not exist. All of this is read with nothing but a storage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from shards.storage import NotFound, Storage, StorageError, open_storage

MANIFEST_FILE = "MANIFEST.json"
LATEST_FILE = "LATEST"
SCHEMA_VERSION = 1
TOOL = {"name": "spatialpix", "version": "0.1.0"}  # as in pyproject.toml
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """One file of a version. path: relative to the version. split, source: of data files; split of indices too.
    rows: of Parquet files, else 0. bytes: its size. sha256: of its content."""

    path: str
    bytes: int
    sha256: str
    rows: int = 0
    split: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version is.

    files: all but the manifest, by path. counts: {split: {source: rows}}. survival: the report's table, a list of
    {step, rows}. config: how it was published, every URI redacted. models: {name: identity} of what made and judged
    the pairs. parents: ids of the runs, in the order in which their rows stand.
    """

    name: str
    version: str
    files: tuple[DatasetFile, ...]
    counts: Mapping[str, Mapping[str, int]]
    survival: tuple[Mapping[str, Any], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    tool: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_bytes(self) -> bytes:
        """JSON for people, with the sha256 of its own canonical form as the last key."""
        values = {**asdict(self), "sha256": self.sha256}
        return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @property
    def sha256(self) -> str:
        """Of the canonical form: keys sorted, no white space, UTF-8, without the key "sha256"."""
        return _canonical(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Raises StorageError("corrupt") for anything that is not a whole manifest, or not what it was."""
        try:
            values = json.loads(data)
            told = values.pop("sha256")
            if told != _canonical(values):
                raise ValueError("its sha256 is not that of its content")
            values["files"] = tuple(DatasetFile(**file) for file in values["files"])
            found = cls(**{**values, **{name: tuple(values[name]) for name in ("survival", "parents")}})
            if found.to_bytes() != data:  # white space, or the same text in other letters
                raise ValueError("it was written by another hand")
            return found
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError("corrupt", f"{where} is no whole manifest: {error}") from error


@dataclass(frozen=True, slots=True)
class Dataset:
    """A version that exists. storage: of the version's folder."""

    storage: Storage
    manifest: Manifest

    def files(self, folder: str, split: str | None = None) -> list[DatasetFile]:
        """Files under "data" or "index", of one split or all, by path."""
        return [
            file
            for file in self.manifest.files
            if file.path.startswith(f"{folder}/") and split in (None, file.split)
        ]


def open_dataset(uri: str) -> Dataset:
    """The dataset at a version's folder, or the newest version at a dataset's.

    Raises NotFound where there is neither, and StorageError("corrupt") for a damaged manifest.
    """
    storage = open_storage(uri)
    if (found := read_version(storage)) is not None:
        return found
    latest = read_latest(storage)
    if latest is None:
        raise NotFound(f"{storage.uri} holds no dataset (neither {MANIFEST_FILE} nor {LATEST_FILE})")
    found = read_version(storage.sub(version_folder(latest["version"])))
    if found is None:
        raise NotFound(f"{storage.uri}: {LATEST_FILE} names version {latest['version']}, which is not there")
    if found.manifest.sha256 != latest["manifest_sha256"]:
        raise StorageError(
            "corrupt", f"{storage.uri}: {LATEST_FILE} names another manifest than {latest['version']}'s"
        )
    return found


def read_version(storage: Storage) -> Dataset | None:
    """The version in this folder; None where there is none, or none yet."""
    try:
        data = storage.read(MANIFEST_FILE)
    except NotFound:
        return None
    return Dataset(storage, Manifest.from_bytes(data, f"{storage.uri}/{MANIFEST_FILE}"))


def read_latest(storage: Storage) -> dict[str, str] | None:
    """{"version", "manifest_sha256"} of the newest version; None where nothing was published."""
    try:
        data = storage.read(LATEST_FILE)
    except NotFound:
        return None
    return parse_latest(data, storage.uri)


def parse_latest(data: bytes, where: str) -> dict[str, str]:
    """Raises StorageError("corrupt")."""
    try:
        values = json.loads(data)
        return {name: str(values[name]) for name in ("version", "manifest_sha256")}
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError("corrupt", f"{where}/{LATEST_FILE} is damaged: publish again") from error


def version_folder(version: str) -> str:
    return f"v{version}"


def _canonical(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
