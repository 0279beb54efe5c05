"""How long this process waits for a storage that does not answer: not at all, unless a worker says so.

A person who mistyped an address wants to know at once. A worker that has minutes of work in its hands does better to
wait: an outage should cost a run its own length, and no rows.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from shards.objects import StorageError

OUTAGE_S = 900.0
"""For how long workers ask again; what lasts longer needs a person."""
_AWAY = ("busy", "unreachable")
_FIRST_S, _LONGEST_S = 1.0, 30.0  # between two tries

_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """seconds: for how long an outage is waited out. during: entered for the time of each request, tries and pauses."""

    seconds: float = 0.0
    during: Callable[[], AbstractContextManager[None]] = nullcontext


_mine = [Patience()]


def be_patient(patience: Patience) -> None:
    """From now on, in all threads of this process."""
    _mine[0] = patience


def patiently(ask: Callable[[], _Answer]) -> _Answer:
    """What `ask` returns. It may be called again after a StorageError of a storage that is away."""
    patience = _mine[0]
    until, pause = time.monotonic() + patience.seconds, _FIRST_S
    with patience.during():
        while True:
            try:
                return ask()
            except StorageError as error:
                if error.reason not in _AWAY or time.monotonic() + pause > until:
                    raise
                _log.warning("asked again in %.0f s: %s", pause, error)
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, _LONGEST_S)
