"""Units through stages, on Ray Data: names travel, shards stay, and whatever dies is done again.

Each stage is a pool of actors. A unit is one row of one block, so nothing waits for its neighbours, and each
actor has one in flight. What was committed is never scheduled: a run that was killed goes on by being started
again. Ray restarts actors that die and gives them their unit once more, without end; that a unit which kills
its workers comes to an end is the doing of `shards.attempts` and `ray_jobs.worker`.

What a stage must look like is written at `shards.stage.Stage`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import statistics
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ray_jobs.cluster import connected, sized
from ray_jobs.config import Limits, Pool, one_line
from ray_jobs.fitting import refuse_unfit
from ray_jobs.pace import note_pace
from ray_jobs.silence import Silence
from ray_jobs.worker import Failure, StageSpec, Ticket, UnitWorker
from shards.run import Run
from shards.storage import StorageError
from shards.units import Unit, UnitReport

_PACE_EVERY_S = 60.0
_DELETING = 16  # at once: `ray job stop` kills what takes too long
log = logging.getLogger(__name__)


class RunFailed(Exception):
    """The run cannot go on, or ended without being whole. One line; what is committed stays."""


class TakenOver(RunFailed):
    """Another job holds the run's lease now."""

    def __init__(self) -> None:
        super().__init__("another job took over this run")


class Stopped(Exception):
    """Somebody asked the run to stop."""


class Watcher:
    """What the driver tells while it goes; `ray_jobs.progress.Progress` is one. Does nothing by itself."""

    def resumed(self, units: int) -> None:
        """So many units were whole before this run began."""

    def unit(self, unit: Unit, reports: Sequence[UnitReport], failure: Failure | None) -> None:
        """A unit went through all stages, or failed as a whole."""


class Watchers(Watcher):
    """Several, told one after the other."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def resumed(self, units: int) -> None:
        for watcher in self._watchers:
            watcher.resumed(units)

    def unit(self, unit: Unit, reports: Sequence[UnitReport], failure: Failure | None) -> None:
        for watcher in self._watchers:
            watcher.unit(unit, reports, failure)


@dataclass(frozen=True, slots=True)
class Outcome:
    """units: asked for; resumed: whole before; done: made whole now. failures: units that failed, by id.
    workers: how many each stage started with, by stage; empty where nothing was left to do."""

    units: int
    resumed: int
    done: int
    failures: dict[str, Failure]
    workers: dict[str, int]

    @property
    def missing(self) -> int:
        return self.units - self.resumed - self.done


def run(
    units: Sequence[Unit],
    stages: Sequence[StageSpec],
    run_folder: Run,
    limits: Limits | None = None,
    watcher: Watcher | None = None,
    lost: threading.Event | None = None,
    num_cpus: int | None = None,
    later: Mapping[str, Pool] | None = None,
) -> Outcome:
    """Takes each unit through all stages; units in any order; what is committed is left alone.

    lost: set by others when this driver is to give way. num_cpus: as for `connected`. later: pools of stages that are
    to follow, so that one that fits no node is found now, not a day later. Connects to Ray where nobody has.
    Raises RunFailed when a stage cannot start or units fail one after the other, Stopped on SIGINT and
    SIGTERM, ConfigError for pools that do not fit, StorageError where the run folder cannot be read.
    """
    limits = limits or Limits()
    todo = by_first_missing(units, stages, run_folder)
    tally = _Tally(limits, watcher or Watcher())
    resumed = len(units) - sum(len(waiting) for waiting in todo.values())
    tally.watcher.resumed(resumed)
    if not todo:
        return Outcome(len(units), resumed, 0, {}, {})
    # Ray puts handlers of its own while it starts: ours hold before, and again after.
    with (
        _marks_cleared(run_folder, stages), _stoppable(lost), connected(num_cpus) as cluster, _stoppable(lost),
        _woken(lost) as give_way, Silence() as silence,
    ):  # fmt: skip
        started = stages[min(todo) :]  # those before are whole, and build no worker
        pools = {stage.name: stage.pool for stage in started}
        sizes = sized(pools, cluster)
        if not cluster.local:
            refuse_unfit({**pools, **(later or {})})
        noted = _Pace(run_folder, stages)
        for first, waiting in sorted(todo.items()):
            for start in range(0, len(waiting), limits.wave):
                place = run_folder.storage.uri, run_folder.id
                wave = _Wave(stages, first, *place, limits, sizes)
                # closed at once on any exception: its workers are to end before Ray does
                with contextlib.closing(wave.stream(waiting[start : start + limits.wave])) as tickets:
                    for ticket in tickets:
                        give_way()
                        silence.heard()
                        tally.add(ticket)
                        noted.note(tally.medians)
    left = len(units) - resumed
    workers = {name: min(size, left) for name, size in sizes.items()}
    return Outcome(len(units), resumed, tally.done, tally.failures, workers)


class _Tally:
    """What came back so far. `add` raises RunFailed where going on makes no sense."""

    def __init__(self, limits: Limits, watcher: Watcher) -> None:
        self.watcher = watcher
        self.done = 0
        self.failures: dict[str, Failure] = {}
        self._limit = limits.failures_in_a_row
        self._in_a_row = 0
        self._seconds: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=1000))

    def medians(self) -> dict[str, float]:
        """Seconds that a unit takes, by stage."""
        return {stage: statistics.median(seconds) for stage, seconds in self._seconds.items()}

    def add(self, ticket: Ticket) -> None:
        if ticket.fatal is not None:
            raise RunFailed(ticket.fatal)
        for report in ticket.reports:
            if not report.skipped:
                self._seconds[report.stage].append(report.seconds)
        failed = ticket.failed
        if failed is None:
            self.done += 1
            self._in_a_row = 0
        else:
            self.failures[ticket.unit.id] = failed
            self._in_a_row += 1
            log.error("unit %s failed\n%s", ticket.unit.id, failed.trace)
        self.watcher.unit(ticket.unit, ticket.reports, failed)
        if failed is not None and self._in_a_row >= self._limit:
            raise RunFailed(
                f"{self._in_a_row} units failed one after the other; the last at {failed.stage}: "
                f"{failed.message}"
            )


class _Pace:
    """Tells workers that start late how long units take, now and then."""

    def __init__(self, run_folder: Run, stages: Sequence[StageSpec]) -> None:
        import ray

        self._job = str(ray.get_runtime_context().get_job_id())
        self._storage = run_folder.storage
        self._folders = {stage.name: stage.folder for stage in stages}
        self._noted: float | None = None
        # What lies there may be of another job with the same id: each Ray of our own begins with 1.
        note_pace(self._storage, self._job, {})

    def note(self, medians: Callable[[], dict[str, float]]) -> None:
        now = time.monotonic()
        if self._noted is None or now - self._noted > _PACE_EVERY_S:
            self._noted = now
            with contextlib.suppress(StorageError):  # a help only
                found = {self._folders[stage]: seconds for stage, seconds in medians().items()}
                note_pace(self._storage, self._job, found)


def by_first_missing(
    units: Sequence[Unit], stages: Sequence[StageSpec], run_folder: Run
) -> dict[int, list[Unit]]:
    """Units that are not whole, by the index of the first stage that lacks their shard."""
    done = run_folder.done_of([stage.folder for stage in stages], units)
    todo: defaultdict[int, list[Unit]] = defaultdict(list)
    for unit in units:
        first = next((i for i, ids in enumerate(done) if unit.id not in ids), None)
        if first is not None:
            todo[first].append(unit)
    return dict(todo)


@dataclass(frozen=True, slots=True)
class _Wave:
    """One execution of Ray Data: the stages from `first` on, over some units."""

    stages: Sequence[StageSpec]
    first: int
    run_uri: str
    run_id: str
    limits: Limits
    sizes: dict[str, int]

    def stream(self, units: Sequence[Unit]) -> Generator[Ticket, None, None]:
        """Tickets as they come out of the last stage. Closing the iterator ends the workers."""
        import ray
        from ray.data import ActorPoolStrategy

        rows = [{"ticket": Ticket(unit).dumps()} for unit in units]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))  # else units wait in batches
        for index in range(self.first, len(self.stages)):
            stage = self.stages[index]
            size = min(self.sizes[stage.name], len(rows))
            largest = min(max(stage.pool.max_size or size, size), len(rows))
            pool = stage.pool
            dataset = dataset.map(
                UnitWorker,
                fn_constructor_kwargs={
                    "spec": stage,
                    "run_uri": self.run_uri,
                    "run_id": self.run_id,
                    "inputs": {before.name: before.folder for before in self.stages[:index]},
                    "limits": self.limits,
                },
                compute=ActorPoolStrategy(
                    min_size=size,
                    max_size=largest,
                    initial_size=size,
                    max_tasks_in_flight_per_actor=1 + pool.queue,
                ),
                num_cpus=pool.num_cpus,
                num_gpus=pool.num_gpus,
                memory=pool.memory_mb * 2**20 if pool.memory_mb else None,
                label_selector=pool.labels or None,
            )
        with _one_line_errors():
            for row in dataset.iter_rows():
                yield Ticket.loads(row["ticket"])


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Ray's errors carry pages of traces: they go to the log, their cause to the person."""
    import ray

    try:
        yield
    except (ray.exceptions.RayError, ray.exceptions.RaySystemError) as error:
        log.exception("Ray ended the execution")
        cause: BaseException = error
        while (inner := getattr(cause, "cause", None) or cause.__cause__) is not None:
            cause = inner
        raise RunFailed(f"Ray ended the execution: {one_line(cause)[:300]}") from error


@contextlib.contextmanager
def _marks_cleared(run_folder: Run, stages: Sequence[StageSpec]) -> Iterator[None]:
    """A run that ends early by its own will takes back its attempts: they killed nobody."""
    try:
        yield
    except TakenOver:  # what lies there is the other job's by now
        raise
    except (RunFailed, Stopped):
        storage = run_folder.storage
        with contextlib.suppress(StorageError), ThreadPoolExecutor(_DELETING) as pool:
            for stage in stages:
                keys = [entry.key for entry in storage.list(f"attempts/{stage.folder}/")]
                list(pool.map(storage.delete, keys))
        raise


@contextlib.contextmanager
def _stoppable(lost: threading.Event | None) -> Iterator[None]:
    """SIGINT and SIGTERM raise `Stopped` in the main thread, for the time of the block; `TakenOver` if it is lost."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in before:  # a second signal must not interrupt the cleaning up
            signal.signal(other, signal.SIG_IGN)
        if lost is not None and lost.is_set():
            raise TakenOver
        raise Stopped(signal.Signals(number).name)

    before: dict[int, Callable[..., Any] | int | None] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _woken(lost: threading.Event | None) -> Iterator[Callable[[], None]]:
    """Within `_stoppable`: a driver that waits for nodes hears at once that it is to give way. Yields what raises
    `TakenOver` if it is, for threads that no signal reaches."""
    main, over = threading.main_thread(), threading.Event()

    def give_way() -> None:
        if lost is not None and lost.is_set():
            over.set()  # a signal as well would interrupt the cleaning up
            raise TakenOver

    def wake(lost: threading.Event) -> None:
        while not over.wait(1.0):
            if lost.is_set():
                signal.pthread_kill(main.ident or 0, signal.SIGTERM)
                return

    if lost is None or threading.current_thread() is not main:
        yield give_way
        return
    thread = threading.Thread(target=wake, args=(lost,), name="lost", daemon=True)
    thread.start()
    try:
        yield give_way
    finally:
        over.set()
        thread.join()  # the signal must not come when nobody takes it any more
