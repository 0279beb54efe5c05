# SPDX-License-Identifier: GPL-3.0-or-later
"""How many threads a library starts that asks the system for its cores, and nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def few_cores(count: int) -> Iterator[None]:
    """Within, this process may run on `count` cores alone, 0 for all; afterwards on all that it had.

    Threading Building Blocks, which Blender computes with, counts the cores that it may run on when it is loaded. It
    starts a worker for each whatever Blender's `threads` says, and those that find nothing to do ask again and again:
    a third of two cores' time when one thread renders. Linux alone; elsewhere this does nothing.
    """
    if not count or not hasattr(os, "sched_setaffinity"):
        yield
        return
    there = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(there)[:count]))
    try:
        yield
    finally:
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # a thread that has ended meanwhile
                os.sched_setaffinity(int(thread.name), there)
