"""Quotas: no value of a column may be much more frequent than the others.

A set of edits with three times more "left" than "right" teaches a preference. What is over is dropped, by a hash of
each row's own name, so that a larger run drops the same rows again and then some.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def over_quota(columns: Mapping[str, Ints], factors: Mapping[str, float], order: NDArray[np.uint64]) -> Bools:
    """(n,) True for rows to drop.

    columns: by name, (n,) codes; negative where the column does not apply. factors: by column, in the order in which
    they are seen to: no code has more rows than factor times the median of all codes' rows (the lower one of
    two), of what is left by then.
    order: (n,) of a code that has too many, rows with the smallest stay. Dropping by a later column may again leave
    an earlier one uneven, a little.
    """
    dropped = np.zeros(len(order), np.bool_)
    for name, factor in factors.items():
        codes = columns[name]
        counted = np.bincount(codes[(codes >= 0) & ~dropped]) if len(codes) else np.zeros(0, np.int64)
        present = counted[counted > 0]
        if not len(present):
            continue
        most = int(np.ceil(factor * np.percentile(present, 50, method="lower")))
        for code in np.flatnonzero(counted > most):
            rows = np.flatnonzero((codes == code) & ~dropped)
            dropped[rows[np.argsort(order[rows], kind="stable")[most:]]] = True
    return dropped
