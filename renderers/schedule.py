"""Which kind of edit, in which language, a row is to be: spread evenly, and known without the run's length.

Row g takes the point frac(g x) of an additive recurrence (Weyl) with x the golden ratio, which fills [0, 1)
more evenly than draws would: 64 rows already meet each of 20 kinds in both of 2 languages, and a long run has
them in the asked proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

_GOLDEN = 0.6180339887498949  # 1 / golden ratio: the most even of all such recurrences


def wanted(row: int, kinds: Mapping[str, float], languages: Mapping[str, float]) -> tuple[str, str]:
    """The kind and the language of row number `row`. kinds, languages: relative weights, some above 0."""
    kind, within = _split(row * _GOLDEN % 1.0, kinds)
    language, _ = _split(within, languages)
    return kind, language


def _split(point: float, weights: Mapping[str, float]) -> tuple[str, float]:
    """The key whose stretch of [0, 1) holds the point, and where in that stretch it lies, again in [0, 1)."""
    # In order of name: the order in which a configuration lists them must not matter.
    used = {key: weight for key, weight in sorted(weights.items()) if weight > 0}
    ends = list(accumulate(used.values()))
    place = point * ends[-1]
    for (key, weight), end in zip(used.items(), ends, strict=True):
        if place < end:
            return key, min(max((place - end) / weight + 1.0, 0.0), 1.0 - 1e-12)
    return key, 1.0 - 1e-12
