"""How long units take in a job, where its workers find it: one that starts late knows at once what is too long."""

from __future__ import annotations

import json
from collections.abc import Mapping

from shards.storage import NotFound, Storage, StorageError

PACE_FILE = "pace.json"


def note_pace(storage: Storage, job: str, medians: Mapping[str, float]) -> None:
    """medians: seconds that a unit takes, by the stage's folder. job: Ray's, of whose workers they are; other jobs' may
    have slower devices. Raises StorageError."""
    storage.write(PACE_FILE, json.dumps({"job": job, "seconds": dict(medians)}).encode())


def pace(storage: Storage, job: str, folder: str) -> float | None:
    """None for what is not known, or not by this job. It is a help only: a storage that fails is no error here."""
    try:
        noted = json.loads(storage.read(PACE_FILE))
    except (NotFound, StorageError):
        return None
    found = noted["seconds"].get(folder) if noted["job"] == job else None
    return None if found is None else float(found)
