"""By which rules results came about: a digest of the code that chooses edits, judges them, and sums them up.

What was judged by other rules must not stand beside it, whoever forgot to raise a version.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_HERE = Path(__file__).parent
JUDGING = ("spatial.py", "floor.py", "preserved.py", "results.py")
CHOOSING = (*JUDGING, "trials.py", "edit_sets.py", "paraphrases.py", "benchmarks.py")
ANALYSIS = ("trials.py", "table.py", "distances.py")


def rules(files: tuple[str, ...]) -> str:
    """sha256 of these files of this package."""
    total = hashlib.sha256()
    for name in files:
        total.update(f"{name}\0".encode() + (_HERE / name).read_bytes())
    return total.hexdigest()
