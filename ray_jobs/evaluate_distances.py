"""How far editors' pictures are from true ones as sets: from what extractors saw in them, as their rows keep it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_jobs.config_evaluate import EvaluateConfig
from shards.run import Run
from shards.tables import read_table

Seen = dict[str, tuple[str, NDArray[np.float32]]]
"""By edit: its scene, and the features of its picture."""


def compared(
    run: Run, config: EvaluateConfig, name: str, folders: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """By editor, one for each extractor: `evaluation.distances.Distances`, and under "nearer" how much nearer the
    first editor comes than this one, `evaluation.nearer.Nearer`, or None; plain JSON values.

    Of the pictures of editors' first copies and the true ones, which are the oracle's: empty without an oracle. name:
    the set's. folders: of results, by route."""
    oracle = next((one for one, about in config.editors.items() if about.kind == "oracle"), None)
    found: dict[str, list[dict[str, Any]]] = {editor: [] for editor in config.editors}
    if oracle is None:
        return found
    from evaluation.distances import distances
    from evaluation.nearer import nearer

    for column, features in _extractors(config):
        true = seen(run, column, folders[route_of(name, oracle, folders)])
        first: Seen = {}
        for place, editor in enumerate(config.editors):
            if editor == oracle:
                continue
            made = seen(run, column, folders[route_of(name, editor, folders)])
            both = sorted(made.keys() & true.keys())
            ours = distances(_rows(made, both), _rows(true, both), features) if both else None
            if ours is not None:
                common = sorted(first.keys() & set(both))
                held = None
                if common:
                    one, two, known = (_rows(some, common) for some in (first, made, true))
                    held = nearer(one, two, known, [true[edit][0] for edit in common], features)
                found[editor].append(asdict(ours) | {"nearer": None if held is None else asdict(held)})
            if place == 0:  # and if that is the oracle, nothing is nearer
                first = made
    return found


def names(features: str) -> dict[str, str]:
    """What each distance is called, by its field, in the order in which they are shown; beside whose features are
    named."""
    from evaluation.distances import INCEPTION

    if features == INCEPTION:
        return {"frechet": "FID", "kid": "KID"}
    return {"kid": "KID", "cmmd": "CMMD", "frechet": "Fréchet"}


def share_said(share: Mapping[str, Any] | None) -> str:
    """Of a `Share` of a report: "12.3% (4.0% to 20.1%)"."""
    if share is None:
        return "too few pictures"
    if share["share"] is None:
        return "the other's is none"
    if share["low"] is None:
        return f"{share['share']:.1%} (the other's cannot be told from none, so nothing is bounded)"
    return f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def edits_said(held: Mapping[str, Any]) -> str:
    """Of how many edits a `Nearer` of a report is, and whether those are enough."""
    if held["judged"]:
        return f"of {held['edits']:,} edits"
    from evaluation.nearer import PROMISED

    return f"of only {held['edits']:,} edits, {PROMISED:,} were promised"


def _extractors(config: EvaluateConfig) -> Iterator[tuple[str, str]]:
    """The column of results, and whose features these are."""
    from evaluation.distances import INCEPTION

    if config.inception is not None:
        yield "inception", INCEPTION
    if config.clip is not None:
        yield "clip_embedding", f"CLIP {config.clip.model.removeprefix('local-dir:')}"


def seen(run: Run, column: str, folder: str) -> Seen:
    """Of the edits of which there is a picture that was looked at."""
    found: Seen = {}
    for unit in sorted(run.done(folder)):
        table = read_table(run.storage, run.shard_key(folder, unit), ("pair_id", "scene_id", column))
        table = table.filter(pc.is_valid(table[column])).combine_chunks()
        if table.num_rows:  # as one array: a list of Python's numbers would take ten times the memory
            values = pc.list_flatten(table[column]).to_numpy().reshape(table.num_rows, -1)
            scenes = table["scene_id"].to_pylist()
            found |= dict(zip(table["pair_id"].to_pylist(), zip(scenes, values, strict=True), strict=True))
    return found


def _rows(some: Seen, edits: list[str]) -> NDArray[np.float32]:
    return np.stack([some[edit][1] for edit in edits])


def route_of(name: str, editor: str, folders: Mapping[str, str]) -> str:
    """Of the editor's first copy."""
    return next(one for one in (f"{name}_{editor}", f"{name}_{editor}_1") if one in folders)
