"""A dataset version, from looking at runs to the pointer that names it.

Everything is written under names that follow from the plan, each file whole or not at all, and the manifest last.
Killed at any moment, the version does not exist; done again, files that bear the plan's id are kept, and the same
bytes come out. Nothing here depends on how many workers there are or when it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from packaging.version import InvalidVersion, Version

from ray_jobs.config_publish import ConfigError, Publish
from ray_jobs.parallel import Workers
from ray_jobs.publish_alike import semantic_duplicates
from ray_jobs.publish_beside import CHANGELOG_FILE, changelog, described
from ray_jobs.publish_plan import File, Origin, Part, Plan, plan
from ray_jobs.publish_scan import SCAN, ScanTask, scan
from shards.compact import Piece, write_file, write_index
from shards.dataset import (
    LATEST_FILE,
    MANIFEST_FILE,
    SPLITS,
    TOOL,
    Dataset,
    DatasetFile,
    Manifest,
    parse_latest,
    read_latest,
    read_version,
    version_folder,
)
from shards.local import scratch
from shards.redact import redacted
from shards.run import Run, update
from shards.storage import NotFound, Storage, StorageError, open_storage
from shards.tables import opened, read_footer, read_table

_PLAN = "spatialpix.plan"
_UNITS_A_TASK = 16
_INDEX_GROUP = 16_000_000
_NOT_SHAPING = ("out", "pools", "limits")
_DETAILS = ("model", "clip", "llm")


@dataclass(frozen=True, slots=True)
class Source:
    """A run to publish from. routes: {route: {stage: folder}}, those with pairs and verdicts."""

    uri: str
    run: Run
    routes: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Published:
    """dataset: the version. dropped: rows by reason. again: it was there already."""

    dataset: Dataset
    dropped: Mapping[str, int]
    inverses: int
    again: bool


def check_version(text: str) -> str:
    """The version as given. Raises ConfigError for one that does not order, or would not be a folder's name."""
    try:
        if str(Version(text)) != text or "/" in text:
            raise InvalidVersion(text)
    except InvalidVersion:
        raise ConfigError(f"--version {text}: must look like 1.0.0") from None
    return text


def next_version(target: Storage) -> str:
    """The version after the newest: 1.0.0, 1.1.0, ..."""
    latest = read_latest(target)
    if latest is None:
        return "1.0.0"
    newest = Version(latest["version"])
    return f"{newest.major}.{newest.minor + 1}.0"


def open_source(uri: str) -> Source:
    """Raises NotFound where there is no run, ConfigError for one that has nothing to publish."""
    run = Run.open(open_storage(uri))
    routes = {
        name: folders
        for name, folders in sorted(run.current().items())
        if {"pairs", "verdicts"} <= set(folders)
    }
    if not routes:
        raise ConfigError(
            f"--run {uri}: no route of it is complete; finish it by `generate`, see `status --run`"
        )
    return Source(uri, run, routes)


def publish(
    sources: Sequence[Source],
    target: Storage,
    version: str,
    settings: Publish,
    workers: Workers,
    say: Callable[[str], None],
    held: Callable[[], bool] = lambda: True,
    unless_same: bool = False,
) -> Published:
    """Publishes the runs as this version of the dataset at `target`.

    say: takes lines of progress. held: whether the lease is still ours. unless_same: where the newest version has this
    very content, leave it at that.
    Raises ConfigError where nothing is left to publish or the version is there with other content, and StorageError.
    """
    place = target.sub(version_folder(version))
    with scratch("publish") as folder:
        planned = plan(list(_scans(sources, settings, workers, folder, say)), settings, semantic_duplicates)
        if not planned.files:
            raise ConfigError("--run: no accepted pair is left to publish")
        total = sum(file.rows for file in planned.files)
        say(f"planned {total} rows in {len(planned.files)} files; dropped {sum(planned.dropped.values())}")
        if (
            unless_same
            and (newest := _newest(target)) is not None
            and newest.manifest.config["plan"] == planned.id
        ):
            return Published(newest, planned.dropped, planned.inverses, again=True)
        there = read_version(place)
        if there is not None and there.manifest.config.get("plan") != planned.id:
            raise ConfigError(
                f"--version {version}: is published with other content, which never changes; take another"
            )
        if there is None:
            manifest = _written(sources, target, place, version, settings, planned, workers, say)
            if not held():
                raise StorageError("lease_lost", "another job has taken over this version; let it finish")
            _sweep(place, manifest)
            if not place.create(MANIFEST_FILE, manifest.to_bytes()) and _differs(place, manifest):
                raise StorageError(
                    "changed", f"{place.uri}: another job published this version at the same time"
                )
        else:
            manifest = there.manifest
    _point(target, manifest)
    return Published(Dataset(place, manifest), planned.dropped, planned.inverses, there is not None)


def _newest(target: Storage) -> Dataset | None:
    latest = read_latest(target)
    return read_version(target.sub(version_folder(latest["version"]))) if latest is not None else None


def _differs(place: Storage, manifest: Manifest) -> bool:
    there = read_version(place)
    return there is None or there.manifest.sha256 != manifest.sha256


def _scans(
    sources: Sequence[Source], settings: Publish, workers: Workers, folder: Path, say: Callable[[str], None]
) -> Iterator[tuple[Origin, pa.Table]]:
    """What planning needs of every route, mapped from files: their size does not count as memory."""
    for number, source in enumerate(sources):
        for route, folders in source.routes.items():
            units = sorted(source.run.done(folders["pairs"]) & source.run.done(folders["verdicts"]))
            say(f"looking at {len(units)} units of {route} in run {source.run.id}")
            tasks = (
                ScanTask(
                    source.uri, folders["pairs"], folders["verdicts"], tuple(units[start : start + _UNITS_A_TASK]),
                    settings.splits.held_out, settings.inverse, tuple(settings.sources) if settings.sources else None,
                )
                for start in range(0, len(units), _UNITS_A_TASK)
            )  # fmt: skip
            path = folder / f"{number}-{route}.arrow"
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, _flat(SCAN)) as writer:
                for table in workers.map(scan, tasks):
                    writer.write_table(table.cast(_flat(SCAN)))
            origin = Origin(
                source.uri, source.run.id, folders["pairs"], folders["verdicts"], folders.get("scores")
            )
            yield origin, pa.ipc.open_stream(pa.memory_map(str(path))).read_all().cast(SCAN)


def _flat(schema: pa.Schema) -> pa.Schema:
    """Dictionaries as their values: those of later batches of a stream may hold more."""
    return pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in schema
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """A data file for a worker to write."""

    target: str
    path: str
    split: str
    source: str
    parts: Sequence[Part]
    plan: str
    row_group: int


@dataclass(frozen=True, slots=True)
class _Index:
    target: str
    path: str
    split: str
    files: tuple[str, ...]
    plan: str


def _written(
    sources: Sequence[Source],
    target: Storage,
    place: Storage,
    version: str,
    settings: Publish,
    planned: Plan,
    workers: Workers,
    say: Callable[[str], None],
) -> Manifest:
    """Writes all but the manifest."""
    group = int(settings.row_group_mb * 1e6)
    writes = (
        _Write(place.uri, file.path, file.split, file.source, planned.parts(file), planned.id, group)
        for file in planned.files
    )
    files = list[DatasetFile]()
    for done in workers.map(_write, writes):
        files.append(done)
        say(f"{len(files)}/{len(planned.files)} files  {sum(f.bytes for f in files) / 1e6:.0f} MB")
    indices = [
        _Index(place.uri, f"index/{split}.parquet", split, _paths(planned.files, split), planned.id)
        for split in SPLITS
        if _paths(planned.files, split)
    ]
    files += workers.map(_write_index, indices)
    manifest = Manifest(
        name=settings.card.name,
        version=version,
        files=tuple(files),
        counts=planned.counts,
        survival=tuple(_survival(sources, planned)),
        config={
            "plan": planned.id,
            "publish": settings.model_dump(mode="json"),
            "runs": {source.run.id: _shaping(source.run.config) for source in sources},
        },
        models=_models(sources),
        parents=tuple(source.run.id for source in sources),
        tool=TOOL,
    )
    say("describing them")
    beside = {
        **described(Dataset(place, manifest), settings),
        CHANGELOG_FILE: changelog(target, manifest, settings),
    }
    for path, data in beside.items():
        place.delete(path)  # of an attempt before; a lock of `write` would stay beside what is published
        place.create(path, data)
        files.append(DatasetFile(path, len(data), hashlib.sha256(data).hexdigest()))
    return replace(manifest, files=tuple(files))


def _shaping(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's configuration as far as it shapes pairs, without places."""
    return {name: redacted(value) for name, value in config.items() if name not in _NOT_SHAPING}


def _paths(files: Sequence[File], split: str) -> tuple[str, ...]:
    return tuple(file.path for file in files if file.split == split)


def _write(task: _Write) -> DatasetFile:
    """By a worker: the file, unless it is there from an attempt before."""
    place = open_storage(task.target)
    if (there := _kept(place, task.path, task.plan)) is not None:
        return replace(there, split=task.split, source=task.source)
    runs = {uri: Run.open(open_storage(uri)) for uri in {part.origin.run_uri for part in task.parts}}
    pieces = (_piece(runs[part.origin.run_uri], part) for part in task.parts)
    with scratch("file") as folder:
        path = folder / "file.parquet"
        rows = write_file(path, pieces, task.row_group, {_PLAN: task.plan})
        return replace(_put(place, task.path, path, rows), split=task.split, source=task.source)


def _piece(run: Run, part: Part) -> Piece:
    scores = run.shard_key(part.origin.scores, part.unit) if part.origin.scores is not None else None
    return Piece(run.storage, run.shard_key(part.origin.pairs, part.unit), scores, part.rows)


def _write_index(task: _Index) -> DatasetFile:
    place = open_storage(task.target)
    if (there := _kept(place, task.path, task.plan)) is not None:
        return replace(there, split=task.split)
    with scratch("file") as folder:
        path = folder / "index.parquet"
        rows = write_index(path, ((key, place) for key in task.files), _INDEX_GROUP, {_PLAN: task.plan})
        return replace(_put(place, task.path, path, rows), split=task.split)


def _put(place: Storage, key: str, path: Path, rows: int) -> DatasetFile:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    while not place.create_file(key, path):
        place.delete(key)  # of another plan: looked at before
    return DatasetFile(key, path.stat().st_size, sha256, rows)


def _kept(place: Storage, key: str, plan: str) -> DatasetFile | None:
    """The file, if one of this plan is there, from an attempt before."""
    try:
        if read_footer(place, key).get(_PLAN) != plan:
            return None
        digest, size = hashlib.sha256(), 0
        with place.open(key) as file:
            while block := file.read(8 << 20):
                digest.update(block)
                size += len(block)
        return DatasetFile(key, size, digest.hexdigest(), _rows_of(place, key))
    except NotFound:
        return None


def _rows_of(place: Storage, key: str) -> int:
    with opened(place, key) as file:
        return int(file.metadata.num_rows)


def _sweep(place: Storage, manifest: Manifest) -> None:
    """Removes what an attempt by another plan has left."""
    ours = {file.path for file in manifest.files}
    for entry in list(place.list()):
        if entry.key not in ours and entry.key != MANIFEST_FILE:
            place.delete(entry.key)


def _point(target: Storage, manifest: Manifest) -> None:
    """LATEST names this version, unless it names a newer one."""

    def newer(old: bytes) -> bytes:
        new = json.dumps({"version": manifest.version, "manifest_sha256": manifest.sha256}).encode()
        if old and Version(parse_latest(old, target.uri)["version"]) > Version(manifest.version):
            return old
        return new

    update(target, LATEST_FILE, newer)


def _survival(sources: Sequence[Source], planned: Plan) -> Iterator[dict[str, Any]]:
    outcomes: Counter[str] = Counter()
    for source in sources:
        for folders in source.routes.values():
            outcomes.update(source.run.counts(folders["verdicts"]))
    rows = sum(file.rows for file in planned.files)
    yield {"step": "tried", "rows": sum(outcomes.values())}
    for outcome, number in sorted(outcomes.items()):
        if outcome != "accepted":
            yield {"step": outcome, "rows": number}
    yield {"step": "accepted", "rows": outcomes["accepted"]}
    for reason, number in planned.dropped.items():
        yield {"step": f"dropped:{reason}", "rows": number}
    yield {"step": "kept", "rows": rows - planned.inverses}
    yield {"step": "inverses", "rows": planned.inverses}
    yield {"step": "published", "rows": rows}


def _models(sources: Sequence[Source]) -> dict[str, str]:
    """What made and judged the pairs, from the first shard of each route."""
    found: dict[str, str] = {}
    for source in sources:
        for route, folders in source.routes.items():
            unit = min(source.run.done(folders["pairs"]), default=None)
            if unit is None:
                continue
            table = read_table(
                source.run.storage, source.run.shard_key(folders["pairs"], unit), ("provenance.details",)
            )
            for row in table.slice(0, 1).to_pylist():
                details = json.loads((row["provenance"] or {}).get("details") or "{}")
                found |= {f"{route}.{name}": str(details[name]) for name in _DETAILS if details.get(name)}
            if "scores" in folders:
                key = source.run.shard_key(folders["scores"], unit)
                for model in set(
                    read_table(source.run.storage, key, ("model",)).column("model").to_pylist()
                ) - {None}:
                    found[f"{route}.clip"] = model
    return {name: str(redacted(model)) for name, model in found.items()}
