"""What runs inside an actor: one stage, built once, then given unit after unit.

The worker keeps the stage's promises for it: attempts are counted before work, a unit that takes far too long
ends the process, a broken engine ends the process, and any other error fails the unit and not the run.
Whatever happens, `UnitWorker` returns a `Ticket`; an exception would abort Ray's whole execution.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ray_jobs.config import Limits, Pool, one_line
from ray_jobs.logs import about, json_to_stderr
from ray_jobs.pace import pace
from shards.attempts import GIVE_UP_AFTER, Attempts, Whose
from shards.guard import BrokenEngine, RowGuard
from shards.patience import OUTAGE_S, Patience, be_patient
from shards.run import Run
from shards.stage import Stage
from shards.storage import StorageError, open_storage
from shards.units import Unit, UnitReport

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A stage as the driver knows it: what to build where, without importing it.

    name: as in reports and `current.json`. factory: "module:Class", a `Stage`. settings: JSON values,
    the constructor's. folder: relative to the run, fingerprint in its name. pool: its workers.
    """

    name: str
    factory: str
    settings: Mapping[str, Any]
    folder: str
    pool: Pool = field(default_factory=Pool)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A unit on its way through the stages, and what they said. Small: it is all that travels through Ray.

    failed: the stage that could not do the unit, its reason and message; later stages let it pass.
    fatal: why no unit can ever pass a stage; the driver ends the run.
    """

    unit: Unit
    reports: tuple[UnitReport, ...] = ()
    failed: Failure | None = None
    fatal: str | None = None

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Ticket:
        values = json.loads(text)
        return cls(
            unit=Unit(**values["unit"]),
            reports=tuple(UnitReport.from_dict(report) for report in values["reports"]),
            failed=Failure(**values["failed"]) if values["failed"] else None,
            fatal=values["fatal"],
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A whole unit that failed. reason: a short stable word. trace: for the log file."""

    stage: str
    reason: str
    message: str
    trace: str = field(default="", repr=False)


class Watchdog:
    """Ends this process when work takes too long: a hung engine answers to nothing else.

    limits: see `Limits`. median_s: what is known of earlier units of this stage, None for nothing.
    """

    def __init__(self, limits: Limits, median_s: float | None = None) -> None:
        self._limits = limits
        self._seconds = [] if median_s is None else [median_s]
        self._deadline: float | None = None
        self._pauses = 0
        self._what = ""
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @property
    def limit_s(self) -> float:
        """Seconds that the next unit may take."""
        if not self._seconds:
            return self._limits.unit_first_s
        median = statistics.median(self._seconds)
        return max(self._limits.unit_floor_s, self._limits.unit_slowdown * median)

    def start(self, what: str) -> None:
        """The clock runs from now; it starts anew when called again."""
        with self._changed:
            self._what, self._deadline = what, time.monotonic() + self.limit_s
            self._changed.notify()

    def stop(self, seconds: float | None = None) -> None:
        """The work is over. seconds: what it took, to learn from; None for nothing to learn."""
        with self._changed:
            self._deadline = None
            if seconds is not None:
                self._seconds = [*self._seconds[-99:], seconds]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still: what is waited for has limits of its own."""
        began = time.monotonic()
        with self._changed:
            self._pauses += 1
        try:
            yield
        finally:
            with self._changed:
                self._pauses -= 1
                if self._deadline is not None:
                    self._deadline += time.monotonic() - began
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                left = None
                if self._deadline is not None and not self._pauses:
                    left = self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    end_process(f"{self._what} took longer than {self.limit_s:.0f} s")
                self._changed.wait(left)


class UnitWorker:
    """The class that Ray Data builds in each actor of a pool: maps a row {"ticket": str} to another.

    inputs: folders of the stages before, by name. run_id: for the log. An outage of the storage is waited out, so that
    it costs no unit that is being made.
    """

    def __init__(
        self,
        spec: StageSpec,
        run_uri: str,
        inputs: Mapping[str, str],
        limits: Limits,
        run_id: str | None = None,
    ) -> None:
        json_to_stderr()
        self._spec, self._run_id = spec, run_id
        self._run_uri, self._inputs = run_uri, inputs
        actor, whose = _who()
        self._name = f"worker-{actor}"
        self._storage = open_storage(run_uri)
        self._attempts = Attempts(self._storage, spec.folder, whose, _alive)
        self._stage: Stage | None = None
        self._fatal: str | None = None
        with about(run=run_id, stage=spec.name), contextlib.suppress(StorageError):
            self._build()  # a storage that fails may be well by the first unit, which asks once more
        self._watchdog = Watchdog(limits, pace(self._storage, whose.job, spec.folder))
        be_patient(Patience(OUTAGE_S, self._watchdog.paused))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        ticket = Ticket.loads(row["ticket"])
        if ticket.failed is None and ticket.fatal is None:
            with about(run=self._run_id, unit=ticket.unit.id, stage=self._spec.name):
                ticket = self._serve(ticket)
        return {"ticket": ticket.dumps()}

    def _build(self) -> None:
        """Makes the stage; what is wrong with it for good is kept as the reason why no unit can pass.

        An actor keeps its id when Ray starts it again, so a constructor that kills its process is counted as
        units are, and given up like them. Raises StorageError: that is nobody's fault for good.
        """
        try:
            if self._attempts.begin(self._name) > GIVE_UP_AFTER:
                self._attempts.clear(self._name)
                raise RuntimeError(f"its process died {GIVE_UP_AFTER} times while it was being built")
            module, _, attribute = self._spec.factory.partition(":")
            self._stage = getattr(importlib.import_module(module), attribute)(
                run_uri=self._run_uri,
                folder=self._spec.folder,
                inputs=self._inputs,
                settings=self._spec.settings,
            )
        except StorageError:
            with contextlib.suppress(StorageError):
                self._attempts.clear(self._name)  # this process lives: nothing was killed
            raise
        except Exception as error:  # out of a constructor Ray would make a page of traces, twice
            log.exception("the stage does not start")
            self._fatal = f"stage {self._spec.name!r} does not start: {_say(error)}"
            return
        with contextlib.suppress(StorageError):
            self._attempts.clear(self._name)

    def _serve(self, ticket: Ticket) -> Ticket:
        unit = ticket.unit
        began = time.monotonic()
        try:
            if self._stage is None and self._fatal is None:
                self._build()
            if self._stage is None:
                return replace(ticket, fatal=self._fatal)
            attempt = self._attempts.begin(unit.id)
            if self._storage.exists(Run.shard_key(self._spec.folder, unit.id)):
                # of a worker that died between its commit and its answer, or whose driver did
                self._forget(unit.id)
                log.info("found done")
                found = UnitReport(unit.id, self._spec.name, unit.size, {}, 0.0, skipped=True)
                return replace(ticket, reports=(*ticket.reports, found))
            guard = RowGuard(self._attempts, unit.id, attempt, on_row=lambda: self._watchdog.start(unit.id))
            self._watchdog.start(unit.id)
            report = self._stage(unit, guard)
            self._watchdog.stop(time.monotonic() - began if attempt == 1 and not report.skipped else None)
        except BrokenEngine as error:
            end_process(f"{self._spec.name} of {unit.id}: {_say(error)}")
        except (
            Exception
        ) as error:  # storage after all its retries, or a bug: this unit's, until shown otherwise
            self._watchdog.stop()
            self._forget(unit.id)  # this process lives: the attempt killed nobody
            reason = error.reason if isinstance(error, StorageError) else type(error).__name__
            failure = Failure(self._spec.name, reason, _say(error), traceback.format_exc())
            log.exception("failed: %s", failure.message)
            return replace(ticket, failed=failure)
        self._forget(unit.id)
        log.info("%s in %.1f s", "found done" if report.skipped else "done", report.seconds)
        return replace(ticket, reports=(*ticket.reports, report))

    def _forget(self, unit_id: str) -> None:
        """Takes back its marks. Those that a storage keeps change nothing of what became of the unit."""
        with contextlib.suppress(StorageError):
            self._attempts.clear(unit_id)


def end_process(why: str) -> None:
    """Ends this process at once: `sys.exit` would wait for a hung engine, and can hang the pool."""
    print(f"worker ends: {why}", file=sys.stderr, flush=True)
    os._exit(1)


def _say(error: BaseException) -> str:
    """One line; errors of ours and of the system speak for themselves, others need their type's name."""
    if isinstance(error, StorageError | OSError | RuntimeError | ValueError):
        return one_line(error)
    return f"{type(error).__name__}: {one_line(error)}"


def _who() -> tuple[str, Whose]:
    """This actor's id, and what its marks say."""
    import ray

    context = ray.get_runtime_context()
    return str(context.get_actor_id()), Whose(str(context.get_job_id()), str(context.get_node_id()))


def _alive() -> set[str]:
    """Nodes that are there."""
    import ray

    return {str(node["NodeID"]) for node in ray.nodes() if node["Alive"]}
