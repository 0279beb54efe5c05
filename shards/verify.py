"""Whether a dataset is what its manifest says: every byte of every file, and nothing else beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shards.dataset import MANIFEST_FILE, Dataset, DatasetFile
from shards.storage import NotFound, Storage

_BLOCK = 8 << 20
_READERS = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """path: within the version. problem: "missing", "wrong_size", "wrong_content", "not_in_manifest"."""

    path: str
    problem: str
    details: str = ""


def faults(dataset: Dataset) -> Iterator[Fault]:
    """What is wrong, file by file, in the manifest's order; strangers last. Reads all of it. Raises StorageError."""
    sizes = {entry.key: entry.size for entry in dataset.storage.list()}

    def look(file: DatasetFile) -> Fault | None:
        if file.path not in sizes:
            return Fault(file.path, "missing")
        if sizes[file.path] != file.bytes:
            return Fault(file.path, "wrong_size", f"{sizes[file.path]} bytes, not {file.bytes}")
        return (
            None
            if sha256_of(dataset.storage, file.path) == file.sha256
            else Fault(file.path, "wrong_content")
        )

    with ThreadPoolExecutor(_READERS) as pool:
        yield from filter(None, pool.map(look, dataset.manifest.files))
    for key in sorted(sizes.keys() - {file.path for file in dataset.manifest.files} - {MANIFEST_FILE}):
        yield Fault(key, "not_in_manifest")


def sha256_of(storage: Storage, key: str) -> str | None:
    """Of an object, block by block; None where there is none."""
    digest = hashlib.sha256()
    try:
        with storage.open(key) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except NotFound:
        return None
    return digest.hexdigest()
