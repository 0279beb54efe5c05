"""Which kind of edit, in which language, a row is to be: spread evenly, and known without knowing the run's length.

Row g takes the point frac(g x) of an additive recurrence with irrational x (Weyl), which fills [0, 1) more
evenly than draws would: a short run has every kind, a long one has them in the asked proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

_GOLDEN = 0.6180339887498949  # 1 / golden ratio: the most even of all such recurrences
_SILVER = 0.4142135623730951  # sqrt(2) - 1: independent of it


def pick(row: int, weights: Mapping[str, float], *, second: bool = False) -> str:
    """The key that row number `row` falls on. second: a sequence independent of the first."""
    keys = list(weights)
    ends = list(accumulate(weights[key] for key in keys))
    point = (row * (_SILVER if second else _GOLDEN)) % 1.0 * ends[-1]
    return next(key for key, end in zip(keys, ends, strict=True) if point < end)
