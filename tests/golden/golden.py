"""What the rows of a stage's version are, kept in the repository: other rows need another version.

Fingerprints name a stage's folder by its settings and its `version`. Rows that change under an old version
would be mixed with old ones in the middle of a run, and nobody would see it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOLERANCE = (
    2e-3  # degrees, metres, percent: far above a processor's last digits, far below any change that is meant
)
Rows = list[dict[str, Any]]


def path(stage: str, version: int) -> Path:
    return HERE / f"{stage}-v{version}.json"


def difference(stage: str, version: int, rows: Rows) -> str | None:
    """What a person is to know about rows that are not those of this version; None where they are."""
    remake = "run `python -m tests.golden.make`"
    file = path(stage, version)
    if not file.exists():
        return f"version {version} of {stage} has no rows in the repository: {remake}"
    golden = json.loads(file.read_text(encoding="utf-8"))
    first = next(_differences(golden, json.loads(json.dumps(rows)), "rows"), None)
    if first is None:
        return None
    return (
        f"the same settings no longer give the rows of {stage} version {version}, first at {first}.\n"
        f"If that was meant: raise `version` of the stage to {version + 1}, {remake}, and say in the commit what "
        "changed. If not, it is a bug."
    )


def _differences(old: Any, new: Any, place: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{place}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(a, b, f"{place}[{number}]")
    elif isinstance(old, float) and isinstance(new, int | float):
        if not math.isclose(old, new, rel_tol=0, abs_tol=TOLERANCE):
            yield f"{place}: {old} then, {new} now"
    elif old != new:
        yield f"{place}: {old!r} then, {new!r} now"
