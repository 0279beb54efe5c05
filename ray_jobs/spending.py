"""What a job's nodes cost: looked at now and then, added up, and kept in the run folder, whoever kills the job.

Each job has a file of its own under `costs/`, written anew every minute. All nodes of the cluster count, whoever else
uses them. They are known by the label that pools select by; the time between two looks counts by what is there at the
second, and up to fifteen seconds at the end, when Ray is gone, by nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from ray_jobs.config import Prices, one_line
from shards.run import Run
from shards.storage import StorageError

log = logging.getLogger(__name__)

ROLE = "spatialpix/role"
LOOK_EVERY_S, KEEP_EVERY_S = 15.0, 60.0
_FOLDER = "costs/"


class Spending:
    """A context manager. prices: None keeps nothing. nodes: the roles of the nodes that are there, None for each that
    has none; by default Ray's."""

    def __init__(
        self,
        run: Run,
        prices: Prices | None,
        nodes: Callable[[], Iterable[str | None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._prices, self._nodes, self._clock = run, prices, nodes or _rays, clock
        self._hours: Counter[str] = Counter()
        self._last, self._kept = clock(), clock()
        now = datetime.now(UTC)
        self._key = f"{_FOLDER}{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.json"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spending", daemon=True)

    @property
    def cost(self) -> float | None:
        """So far, of this job."""
        if self._prices is None:
            return None
        return sum(hours * self._prices.of(role) for role, hours in list(self._hours.items()))

    def line(self) -> str | None:
        """For example "12.40 USD"."""
        cost = self.cost
        return None if cost is None or self._prices is None else f"{cost:.2f} {self._prices.currency}"

    def __enter__(self) -> Self:
        if self._prices is not None:
            self._last = self._kept = self._clock()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._prices is not None:
            self._stop.set()
            self._thread.join()
            self.look()
            self.keep()

    def look(self) -> None:
        """Adds the time since the last look, of each node that is there."""
        try:
            there = list(self._nodes())
        except (
            Exception
        ) as error:  # a head that does not answer now may do so at the next look, which counts for both
            log.warning("nodes cannot be counted: %s", one_line(error))
            return
        now = self._clock()
        passed, self._last = now - self._last, now
        for role in there:
            self._hours[role or ""] += passed / 3600  # type: ignore[assignment]  # typeshed counts in int

    def keep(self) -> None:
        """Writes what there is."""
        if self._prices is None or not self._hours:
            return
        kept = {"currency": self._prices.currency, "cost": self.cost, "node_hours": dict(self._hours)}
        with suppress(StorageError):  # figures only, and the next minute may be better
            self._run.storage.write(self._key, json.dumps(kept).encode())

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self.look()
            if self._clock() - self._kept >= KEEP_EVERY_S:
                self._kept = self._clock()
                self.keep()


def spent(run: Run) -> dict[str, Any] | None:
    """Of all jobs of the run: {"currency", "total", "jobs", "node_hours": {role: hours}}; None where nothing was kept,
    or currencies differ. Raises StorageError."""
    found: list[Mapping[str, Any]] = [
        json.loads(run.storage.read(entry.key)) for entry in run.storage.list(_FOLDER)
    ]
    if not found or len({one["currency"] for one in found}) > 1:
        return None
    hours: Counter[str] = Counter()
    for one in found:
        hours.update(one["node_hours"])
    return {
        "currency": found[0]["currency"],
        "total": sum(one["cost"] for one in found),
        "jobs": len(found),
        "node_hours": dict(hours),
    }


def _rays() -> Iterable[str | None]:
    import ray

    if not ray.is_initialized():
        return []
    return [node["Labels"].get(ROLE) for node in ray.nodes() if node["Alive"]]
