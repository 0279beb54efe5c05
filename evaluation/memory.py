"""The most memory that a piece of work holds: of the GPU where there is one, else of the whole process.

Of a GPU it is what torch has allocated. Of a process it is what is resident, with all that runs in it at the time;
Linux lets a process begin that peak anew. Where it may not, the peak is that since the process began.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")
_PEAK_OF_RESIDENT = "5"  # see proc(5), clear_refs
_PEAK = "VmHWM:"  # in its status, kB


def begin() -> None:
    """What is held from here on counts."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text(_PEAK_OF_RESIDENT)


def peak_mb() -> float:
    """MiB, since `begin`."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    # Of `getrusage` the peak is never below that of the process that started this one.
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith(_PEAK):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
