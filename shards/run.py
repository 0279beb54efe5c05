"""A run's folder: what is done, what it counted, which folders are current.

Nothing here is a lock or a log. Whether a unit is done is whether its shard exists; what a stage counted
lies in its shards' footers; two jobs in one folder can waste work, never spoil it.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import yaml

from shards.fingerprint import fingerprint
from shards.storage import NotFound, Storage
from shards.tables import read_footer, write_table
from shards.units import Unit, UnitReport

RUN_FILE = "run.yaml"
CURRENT_FILE = "current.json"
_COUNTS = "spatialpix.counts"
_UNIT = "spatialpix.unit"
_READERS = 16
_TOGETHER = 4  # digits of units' ids that are listed at a time


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder. config: resolved, plain values. id: a hash of the configuration."""

    storage: Storage
    config: Mapping[str, Any]
    id: str
    _counted: dict[str, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def create_or_open(
        cls,
        storage: Storage,
        config: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> Run:
        """The run at this place, made if need be.

        about: what else to note, such as the code's commit and package versions. identity: the part of the
        configuration that the run's id is made from, all of it by default. Where run.yaml says
        something else by now, it is replaced in one step, and the old one kept under history/: stage folders
        carry fingerprints, so nothing of the old configuration is overwritten or mixed in.
        """
        run = cls(storage, config, fingerprint(config if identity is None else identity)[:16])
        content = {"run_id": run.id, "config": _plain(config), **_plain(about or {})}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()

        def keep(old: bytes) -> bytes:
            if old and old != text:
                storage.create(f"history/run-{_now()}-{uuid.uuid4().hex[:8]}.yaml", old)
            return text

        update(storage, RUN_FILE, keep)
        return run

    @classmethod
    def open(cls, storage: Storage) -> Run:
        """The run that is there. Raises NotFound where there is none."""
        try:
            content = yaml.safe_load(storage.read(RUN_FILE))
        except NotFound:
            raise NotFound(f"{storage.uri} holds no run (it has no {RUN_FILE}): check the path") from None
        return cls(storage, content["config"], content["run_id"])

    @staticmethod
    def folder(stage: str, route: str | None, fingerprint: str) -> str:
        """A stage's folder, for example "pairs-blender-1a2b3c4d"."""
        return "-".join(part for part in (stage, route, fingerprint[:8]) if part)

    @staticmethod
    def shard_key(folder: str, unit_id: str) -> str:
        return f"{folder}/part-{unit_id}.parquet"

    def done(self, folder: str) -> set[str]:
        """The ids of units whose shard exists: one listing."""
        return {_unit_id(key) for key in self._shards(f"{folder}/part-")}

    def done_of(self, folders: Sequence[str], units: Iterable[Unit]) -> list[set[str]]:
        """For each folder the ids of units that have a shard there. units: those to look for; others may be among what
        is found. Where a listing is pages that wait for each other, ten thousand names at a time, several at once."""
        together = self.storage.listings
        starts = sorted({unit.id[:-_TOGETHER] for unit in units}) if together > 1 else [""]
        asked = [
            (place, f"{folder}/part-{start}") for place, folder in enumerate(folders) for start in starts
        ]
        found: list[set[str]] = [set() for _ in folders]
        with ThreadPoolExecutor(together) as pool:
            names = pool.map(lambda one: [_unit_id(key) for key in self._shards(one[1])], asked)
            for (place, _), ids in zip(asked, names, strict=True):
                found[place].update(ids)
        return found

    def commit(
        self, folder: str, unit: Unit | str, table: pa.Table, footer_counts: Mapping[str, int]
    ) -> bool:
        """Puts the unit's shard, whole, if there is none. False: another worker was first, discard the rows.

        footer_counts: rows by outcome, as in `UnitReport.counts`.
        """
        unit_id = unit if isinstance(unit, str) else unit.id
        footer = {_COUNTS: json.dumps(dict(footer_counts), sort_keys=True), _UNIT: unit_id}
        return self.storage.create(self.shard_key(folder, unit_id), write_table(table, footer))

    def counts(self, folder: str) -> dict[str, int]:
        """Rows by outcome over all shards, from their footers. Each shard is looked into once per `Run`."""
        keys = list(self._shards(f"{folder}/part-"))
        new = [key for key in keys if key not in self._counted]
        with ThreadPoolExecutor(_READERS) as pool:
            footers = pool.map(lambda key: read_footer(self.storage, key), new)
            self._counted.update({key: json.loads(footer[_COUNTS]) for key, footer in zip(new, footers)})
        total: Counter[str] = Counter()
        for key in keys:
            total.update(self._counted[key])
        return dict(sorted(total.items()))

    def current(self) -> dict[str, dict[str, str]]:
        """{route: {stage: folder}}: what readers open. Empty before the first route is complete."""
        try:
            found: dict[str, dict[str, str]] = json.loads(self.storage.read(CURRENT_FILE))
        except NotFound:
            return {}
        return found

    def set_current(self, routes: Mapping[str, Mapping[str, str]]) -> None:
        """Points these routes at these folders, each route's as a whole; other routes stay as they are."""

        def merge(old: bytes) -> bytes:
            merged = (json.loads(old) if old else {}) | {
                route: dict(stages) for route, stages in routes.items()
            }
            return json.dumps(merged, indent=2, sort_keys=True).encode()

        update(self.storage, CURRENT_FILE, merge)

    def append_reports(self, reports: Iterable[UnitReport]) -> str | None:
        """Writes the reports as a small file of their own; its key, or None if there were none."""
        text = _lines(report.to_dict() for report in reports)
        if not text:
            return None
        key = f"reports/{_now()}-{uuid.uuid4().hex[:8]}.jsonl"
        self.storage.create(key, text)
        return key

    def reports(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[UnitReport]:
        """Reports, oldest file first. A unit done twice is there twice, once `skipped`.

        since, until: only those stored in this time, both ends included; in UTC.
        """
        first, last = _stamp(since) if since else "", _stamp(until) if until else "~"
        for entry in self.storage.list("reports/"):
            if not first <= entry.key.removeprefix("reports/").partition("-")[0] <= last:
                continue
            for line in self.storage.read(entry.key).splitlines():
                yield UnitReport.from_dict(json.loads(line))

    def write_report_json(self, report: Mapping[str, Any]) -> None:
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
        self.storage.write("report.json", text.encode())

    def write_report_html(self, html: str) -> None:
        self.storage.write("report.html", html.encode())

    def write_quarantine(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """quarantine.jsonl: failed rows, one a line, for a person to look at."""
        self.storage.write("quarantine.jsonl", _lines(rows))

    def _shards(self, start: str) -> Iterator[str]:
        for entry in self.storage.list(start):
            if entry.key.endswith(".parquet"):
                yield entry.key


def _unit_id(key: str) -> str:
    return key.rpartition("/part-")[2].removesuffix(".parquet")


def update(storage: Storage, key: str, change: Callable[[bytes], bytes]) -> None:
    """Replaces an object by what `change` makes of it (of b"" where there is none), losing no change."""
    while True:
        try:
            old, etag = storage.read_versioned(key)
        except NotFound:
            if storage.create(key, change(b"")):
                return
            continue
        new = change(old)
        if new == old or storage.replace(key, new, etag) is not None:
            return


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(dict(row), ensure_ascii=False).encode() + b"\n" for row in rows)


def _plain(values: Mapping[str, Any]) -> Any:
    """Tuples become lists: YAML's safe form has no tuples."""
    return json.loads(json.dumps(dict(values)))


def _now() -> str:
    return _stamp(datetime.now(UTC))


def _stamp(time: datetime) -> str:
    """UTC, in a form that sorts by time: 20260102T030405.678901."""
    return time.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
