"""Pairs that CLIP takes for one another: by the embeddings that its stage left, read a shard at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ray_jobs.config_base import ConfigError
from ray_jobs.publish_plan import Where
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table

_SHARDS = 64  # whose embeddings are in memory, while candidates are compared


def semantic_duplicates(rows: Sequence[Where], groups: NDArray[np.int64], cosine: float) -> NDArray[np.bool_]:
    """(n,) True for rows like an earlier kept row of their group, in both pictures at once.

    In memory are 32 bytes a row. Rows of routes without embeddings (none were asked for, or CLIP judged while the pairs
    were made) are like nothing. Raises ConfigError where no row has any, StorageError.
    """
    from filters.duplicates import SIGNS, semantic, signs

    codes = np.zeros((len(rows), SIGNS // 8), np.uint8)
    known = np.zeros(len(rows), np.bool_)
    for (run, scores, unit), group in groupby(
        enumerate(rows), key=lambda item: (item[1].origin.run_uri, item[1].origin.scores, item[1].unit)
    ):
        members = list(group)
        found = _embeddings(run, scores, unit)
        for place, where in members:
            vector = found.get(_pair(run, where))
            if vector is not None:
                codes[place], known[place] = signs(vector[None])[0], True
    if not known.any():
        raise ConfigError(
            "duplicates.cosine: no pair has CLIP embeddings; set clip.model in the run's configuration"
        )
    chosen = np.flatnonzero(known)

    def embedding(index: int) -> NDArray[np.float32]:
        where = rows[int(chosen[index])]
        origin = where.origin
        return _embeddings(origin.run_uri, origin.scores, where.unit)[_pair(origin.run_uri, where)]

    alike = np.zeros(len(rows), np.bool_)
    alike[chosen] = semantic(codes[chosen], groups[chosen], cosine, embedding)
    return alike


@lru_cache(_SHARDS)
def _embeddings(run_uri: str, folder: str | None, unit: str) -> dict[str, NDArray[np.float32]]:
    """By pair: both pictures' embeddings in one, of unit length."""
    if folder is None:
        return {}
    run = _run(run_uri)
    rows = read_table(run.storage, run.shard_key(folder, unit), ("pair_id", "clip_embedding")).to_pylist()
    found = {}
    for row in rows:
        parts = row["clip_embedding"] or {}
        if parts.get("before") is not None and parts.get("after") is not None:
            both = np.array([*parts["before"], *parts["after"]], np.float32)
            found[row["pair_id"]] = both / np.linalg.norm(both)
    return found


@lru_cache(_SHARDS)
def _names(run_uri: str, pairs: str, unit: str) -> list[str]:
    run = _run(run_uri)
    names: list[str] = read_table(run.storage, run.shard_key(pairs, unit), ("pair_id",)).column(0).to_pylist()
    return names


def _pair(run_uri: str, where: Where) -> str:
    return _names(run_uri, where.origin.pairs, where.unit)[where.row]


@lru_cache(8)
def _run(uri: str) -> Run:
    return Run.open(open_storage(uri))
