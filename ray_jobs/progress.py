"""Progress for a person: in a terminal one line that is rewritten, in a log a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from ray_jobs.driver import Watcher
from ray_jobs.worker import Failure
from shards.storage import StorageError
from shards.units import Unit, UnitReport

TERMINAL_EVERY_S = 1.0
LOG_EVERY_S = 10.0
LOG_AT_LEAST_EVERY_S = 60.0  # with nothing new: says that the driver lives
FLUSH_EVERY_S = 60.0
TOP_REASONS = 3


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted. rows: what they are called. good, bad: outcomes, as in `UnitReport.counts` before the colon.
    rated: the outcomes that the rate speaks of."""

    rows: str = "pairs"
    good: str = "accepted"
    bad: tuple[str, ...] = ("rejected", "failed")
    rated: tuple[str, ...] = ("accepted",)


class Progress(Watcher):
    """Counts what comes back, prints it, and hands reports on to be stored every minute.

    total: units of the run. verdict_stage: the stage whose counts are pairs' verdicts, the last one.
    flush: stores reports; may raise StorageError, in which case they are offered again.
    clock: seconds, monotonic. spent: what the run cost so far, in words; None where nobody knows. counted: what is
    counted, and how it is called; pairs by default. Use it as a context manager: a thread of its own prints and
    flushes, so that a person sees a line although no unit ends.
    """

    def __init__(
        self,
        total: int,
        verdict_stage: str,
        flush: Callable[[list[UnitReport]], object],
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], str | None] = lambda: None,
        counted: Counted | None = None,
    ) -> None:
        self._spent = spent
        self._counted = counted or Counted()
        self._total = total
        self._verdict_stage = verdict_stage
        self._flush = flush
        self._out = out or sys.stdout
        self._clock = clock
        self._began = self._flushed = clock()
        self._resumed = self._done = self._failed_units = 0
        self._counts: Counter[str] = Counter()
        self._waiting: list[UnitReport] = []
        self._printed = ""
        self._printed_at = self._began
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.show(last=True)
        self.store()

    def resumed(self, units: int) -> None:
        with self._lock:
            self._resumed = units
        if units:
            self._say(f"{units} of {self._total} units were done before; going on with the rest")

    def unit(self, unit: Unit, reports: Sequence[UnitReport], failure: Failure | None) -> None:
        with self._lock:
            self._waiting += reports
            if failure is not None:
                self._failed_units += 1
            else:
                self._done += 1
            for report in reports:
                if report.stage == self._verdict_stage:
                    self._counts.update(report.counts)
        if failure is not None:
            self._say(f"unit {unit.id} failed at {failure.stage}: {failure.message}")

    @property
    def counts(self) -> dict[str, int]:
        """Rows by outcome, of the units that this run made whole."""
        with self._lock:
            return dict(self._counts)

    def line(self) -> str:
        """For example "12/40 units  31.0 pairs/min  accepted 141  rejected 43 (moved 43)  5 min left"."""
        with self._lock:
            whole = self._resumed + self._done
            minutes = max(self._clock() - self._began, 1e-9) / 60
            said = self._counted
            rated = sum(n for outcome, n in self._counts.items() if outcome.split(":")[0] in said.rated)
            parts = [
                f"{whole}/{self._total} units",
                f"{rated / minutes:.1f} {said.rows}/min",
                f"{said.good} {self._counts[said.good]}",
            ]
            for verdict in said.bad:
                parts += _by_reason(verdict, self._counts)
            if self._failed_units:
                parts.append(f"units failed {self._failed_units}")
            left = self._total - whole - self._failed_units
            if left and self._done:
                parts.append(f"{duration(left * minutes / self._done * 60)} left")
            if (spent := self._spent()) is not None:
                parts.append(f"spent {spent}")
        return "  ".join(parts)

    def show(self, last: bool = False) -> None:
        """Prints the line if it is due; `last` ends it."""
        line, now = self.line(), self._clock()
        if self._out.isatty():
            # \x1b[K: what a longer line left behind
            self._write(f"\r{line}\x1b[K" + ("\n" if last else ""))
        elif last or now - self._printed_at >= (
            LOG_EVERY_S if line.split("  ")[0] != self._printed.split("  ")[0] else LOG_AT_LEAST_EVERY_S
        ):
            self._write(line + "\n")
            self._printed, self._printed_at = line, now

    def store(self) -> None:
        """Hands on what reports there are."""
        with self._lock:
            reports, self._waiting = self._waiting, []
        self._flushed = self._clock()
        try:
            if reports:
                self._flush(reports)
        except StorageError:  # figures only, and the next minute may be better
            with self._lock:
                self._waiting = reports + self._waiting

    def _tick(self) -> None:
        while not self._stop.wait(TERMINAL_EVERY_S):
            self.show()
            if self._clock() - self._flushed >= FLUSH_EVERY_S:
                self.store()

    def _say(self, text: str) -> None:
        self._write(f"\r{text}\x1b[K\n" if self._out.isatty() else f"{text}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _by_reason(verdict: str, counts: Counter[str]) -> list[str]:
    """["rejected 43 (moved 30, hidden 13)"]; empty where there is none."""
    reasons = Counter({k.partition(":")[2]: n for k, n in counts.items() if k.split(":")[0] == verdict})
    total = sum(reasons.values())
    if not total:
        return []
    top = ", ".join(f"{reason or 'unknown'} {n}" for reason, n in reasons.most_common(TOP_REASONS))
    more = ", ..." if len(reasons) > TOP_REASONS else ""
    return [f"{verdict} {total} ({top}{more})"]


def duration(seconds: float) -> str:
    """For example "45 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
