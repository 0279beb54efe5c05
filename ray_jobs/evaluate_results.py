"""Which sets, editors and folders the results of an evaluation are of, for all that read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evaluation.rules import JUDGING, rules
from ray_jobs.config import ConfigError
from shards.run import Run
from shards.storage import NotFound

if TYPE_CHECKING:
    from ray_jobs.evaluate_sets import Frozen
    from ray_jobs.recipes import Route

MADE_OF = "results.json"


def results_of(run: Run) -> dict[str, Any]:
    """What `made_of` was. Raises ConfigError for an evaluation that is not done."""
    try:
        found: dict[str, Any] = json.loads(run.storage.read(MADE_OF))
    except NotFound:
        raise ConfigError(
            f"{run.storage.uri} has no results yet: submit 'evaluate' until it is done"
        ) from None
    if found["missing"]:
        raise ConfigError(
            f"{run.storage.uri}: {found['missing']} units are missing: submit 'evaluate' again until none is"
        )
    return found


def of_one_set(found: Mapping[str, Any], edit_set: str | None) -> Mapping[str, Any]:
    """What `made_of` was, of one set: two of the same dataset have edits of the same names. edit_set: its name; None
    where there is but one. Raises ConfigError."""
    there = sorted(found["sets"])
    if edit_set is None and len(there) > 1:
        raise ConfigError(f"--set: the evaluation has several, choose one of {', '.join(there)}")
    name = edit_set or there[0]
    if name not in there:
        raise ConfigError(f"--set {name}: the evaluation has {', '.join(there)}")
    results = [one for one in found["results"] if one["set"] == name]
    return {**found, "sets": {name: found["sets"][name]}, "results": results}


def made_of(sets: Sequence[Frozen], plan: Sequence[Route], missing: int) -> dict[str, Any]:
    """What readers of results are told: {"sets": by name, "results": [{"set", "editor", "copy", "model", "folder"}],
    "rules": digest of those that judged, "missing": units}. model: digest of its weights, empty where there are none.
    """
    results = []
    for route in plan:
        of = route.stages[0].settings
        which = {name: of[name]["name"] for name in ("set", "editor")} | {
            "copy": of["copy"],
            "model": of["model"],
        }
        results.append(which | {"folder": route.folders["edits"]})
    told = {"sets": {one.name: asdict(one) for one in sets}, "results": results, "rules": rules(JUDGING)}
    return told | {"missing": missing}
