"""Which sets, editors and folders the results of an evaluation are of, for all that read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
