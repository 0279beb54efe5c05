"""The lease on a run folder: tells a second job that a first is at work.

It saves work and confusion, no more: correctness rests on create-if-absent. The holder rewrites a small
object every few seconds. Whether it is alive is judged by watching that object change, never by comparing the
clocks of two machines. On local paths a lock of the kernel's stands beside it, which falls with its holder,
so that whoever follows a killed job goes on at once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Self

from shards.local import LocalStorage
from shards.patience import OUTAGE_S
from shards.storage import NotFound, Storage, StorageError

LEASE_FILE = "lease.json"
_SILENT_BEATS = 4
_log = logging.getLogger(__name__)


class LeaseHeld(Exception):
    """Another job works in this folder."""

    def __init__(self, holder: str, since: str) -> None:
        super().__init__(holder, since)
        self.holder = holder
        self.since = since

    def __str__(self) -> str:
        return (
            f"another job ({self.holder}, since {self.since}) works on this run: "
            "wait for its end, stop it, or take over with --steal"
        )


@dataclass(frozen=True, slots=True)
class _Content:
    holder: str
    since: str
    beat: int = 0
    released: bool = False

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> _Content:
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):  # not ours, or damaged: judged by its silence like any other
            return cls("unknown", "an unknown time")


class Lease:
    """Held from `acquire` to `release`, or until somebody takes it (`lost` is set then)::

    with Lease(run.storage).acquire() as lease:
        while not lease.lost.is_set():
            ...
    """

    def __init__(self, storage: Storage, beat_s: float = 5.0, outage_s: float = OUTAGE_S) -> None:
        """beat_s: seconds between two heartbeats; four beats without one are silence. outage_s: a holder that cannot
        beat for so long counts itself out. Until then it goes on: whoever took the lease meanwhile is found in it once
        the storage answers again."""
        self.holder = uuid.uuid4().hex[:12]
        self.lost = threading.Event()
        self._storage = storage
        self._beat_s, self._outage_s = beat_s, outage_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock: BinaryIO | None = None
        self._content = _Content(self.holder, "")
        self._etag = ""

    def acquire(self, steal: bool = False, wait_s: float = 30.0) -> Self:
        """Takes the lease: at once if it is free, released, or its holder on this machine is dead; after four
        beats of silence if its holder stands still; at once in any case if `steal`.

        Raises LeaseHeld if the holder is alive and still there after `wait_s` seconds, and StorageError.
        """
        self._content = _Content(self.holder, datetime.now(UTC).isoformat(timespec="seconds"))
        try:
            return self._hold(self._take(steal, wait_s))
        except BaseException:
            self._unlock()
            raise

    def release(self) -> None:
        """Gives the lease back, if it is still ours. A holder that dies need not: see `acquire`."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        if not self.lost.is_set():
            released = replace(self._content, released=True)
            try:
                self._storage.replace(LEASE_FILE, released.to_bytes(), self._etag)
            except StorageError as error:
                _log.warning("the lease could not be given back, and falls by its silence: %s", error)
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self, steal: bool, wait_s: float) -> str:
        """The etag of the lease with our name in it."""
        start = changed = time.monotonic()
        seen: str | None = None
        while True:
            self._try_lock()
            try:
                data, etag = self._storage.read_versioned(LEASE_FILE)
            except NotFound:
                self._storage.create(LEASE_FILE, self._content.to_bytes())
                continue  # read it back: it may be another's
            now = time.monotonic()
            if etag != seen:
                seen, changed = etag, now
            held = _Content.from_bytes(data)
            ours = held.holder == self.holder
            silent = now - changed >= _SILENT_BEATS * self._beat_s
            if ours or steal or held.released or self._lock is not None or silent:
                new = self._storage.replace(LEASE_FILE, self._content.to_bytes(), etag)
                if new is not None:
                    return new
                continue  # somebody else was faster, or it lives after all: look again
            if now - start >= wait_s:
                raise LeaseHeld(held.holder, held.since)
            if now - start < self._beat_s / 4:
                _log.info("waiting for job %s, which has held this run since %s", held.holder, held.since)
            time.sleep(self._beat_s / 4)

    def _hold(self, etag: str) -> Self:
        self._etag = etag
        self._stop.clear()
        self.lost.clear()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def _beat(self) -> None:
        written, failed = time.monotonic(), False
        while not self._stop.wait(self._beat_s):
            self._try_lock()  # ours by stealing, while its former holder still held the lock
            following = replace(self._content, beat=self._content.beat + 1)
            try:
                etag = self._storage.replace(LEASE_FILE, following.to_bytes(), self._etag)
                if etag is None and failed:  # one of the beats that failed may have been written after all
                    data, found = self._storage.read_versioned(LEASE_FILE)
                    etag = found if _Content.from_bytes(data).holder == self.holder else None
            except StorageError as error:
                _log.warning("no heartbeat: %s", error)
                failed = True
                if time.monotonic() - written < self._outage_s:
                    continue
                etag = None
            if etag is None:
                self.lost.set()
                self._unlock()
                return
            self._content, self._etag, written, failed = following, etag, time.monotonic(), False

    def _try_lock(self) -> None:
        if self._lock is None and isinstance(self._storage, LocalStorage):
            self._lock = self._storage.try_lock(LEASE_FILE)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
