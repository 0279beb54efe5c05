"""Which split a pair belongs to: a function of what the pair shows, never of its row.

Pairs that share anything that a model could learn by heart (the scene, the caption, a picture) are one component, and
a component lies in one split. Which one is decided by a hash of its key, so that it stays there when a run is extended
or published again beside others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


def components(links: Sequence[Ints]) -> Ints:
    """(n,) the component of each row, numbered by its first row.

    links: columns of (n,) int64; rows that agree in a column are joined. A negative value joins nothing.
    """
    rows = len(links[0]) if links else 0
    sources, targets, used = [], [], rows
    for column in links:
        joined = np.flatnonzero(column >= 0)
        _, node = np.unique(column[joined], return_inverse=True)
        sources.append(joined)
        targets.append(node + used)  # one node for each value that rows share
        used += int(node.max()) + 1 if len(node) else 0
    if not rows:
        return np.zeros(0, np.int64)
    source, target = np.concatenate(sources), np.concatenate(targets)
    graph = coo_array((np.ones(len(source), np.int8), (source, target)), shape=(used, used))
    labels = connected_components(graph, directed=False)[1][:rows]
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return first[place].astype(np.int64)


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """The split of a component. shares: by split, adding up to 1; the order counts.

    Raises ValueError where they do not add up.
    """
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise ValueError(f"shares of splits add up to {sum(shares.values()):g}, not to 1")
    place, behind = _unit_interval(f"split/{key}"), 0.0
    for split, share in shares.items():
        behind += share
        if place < behind:
            return split
    return [split for split, share in shares.items() if share > 0][-1]  # the sum was rounded


def is_held_out(combination: str, share: float) -> bool:
    """Whether this combination of asset and attribute ("mug/red") is kept for the test split alone."""
    return _unit_interval(f"combination/{combination}") < share


def _unit_interval(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
