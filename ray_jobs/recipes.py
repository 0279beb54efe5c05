"""From a configuration to units and stages: the one place that knows which stages a route is made of.

It also says what belongs to a stage's fingerprint: all that shapes its rows, and nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_jobs.config import BlenderRoute, Config, ConfigError, Pool, StageName, one_line
from ray_jobs.worker import StageSpec
from shards.fingerprint import fingerprint
from shards.run import Run
from shards.units import Unit

# Settings that change how fast pictures come, not what they show.
_NOT_SHAPING = {"threads", "recycle", "device", "assets"}
# The stages of each route, in order: where their class is.
STAGES: dict[StageName, str] = {
    "pairs": "renderers.stage:RenderScenes",
    "verdicts": "filters.decide:Decide",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a run: units, and the stages that each passes."""

    name: str
    units: Sequence[Unit]
    stages: Sequence[StageSpec]

    @property
    def folders(self) -> dict[str, str]:
        """As in current.json: folders by stage."""
        return {stage.name: stage.folder for stage in self.stages}


def routes(config: Config, limit: int | None = None) -> list[Route]:
    """The routes that the configuration asks for. limit: at most so many units of each.

    Imports the stages' classes for their `version`, and nothing heavy. Raises ConfigError.
    """
    found = []
    if (blender := config.routes.blender) is not None:
        count = blender.units if limit is None else min(blender.units, limit)
        units = [Unit("blender", index, blender.unit_size) for index in range(count)]
        found.append(Route("blender", units, _blender_stages(config, blender)))
    if not found:
        raise ConfigError("routes: needs at least one route, for example 'blender'")
    return found


def routes_of_pairs(config: Config, run: Run) -> list[Route]:
    """The routes over the pairs that the run has, whatever made them: only verdicts are left to do.

    Raises ConfigError where no route is whole yet.
    """
    found = []
    for name, folders in run.current().items():
        blender = config.routes.blender
        if name != "blender" or blender is None:
            continue
        made = sorted(run.done(folders["pairs"]))
        units = [Unit.parse(unit_id, blender.unit_size) for unit_id in made]
        pairs = StageSpec("pairs", STAGES["pairs"], {}, folders["pairs"])  # whole: it is never built
        found.append(Route(name, units, [pairs, _verdicts(config, name, pairs)]))
    if not found:
        raise ConfigError(
            f"{run.storage.uri} has no finished route to judge: run 'generate' to its end first"
        )
    return found


def _blender_stages(config: Config, route: BlenderRoute) -> list[StageSpec]:
    settings = route.model_dump(mode="json", exclude={"units"})
    pairs = _spec(
        config,
        "blender",
        "pairs",
        settings | {"seed": config.seed},
        shaping=_shaping(settings) | {"seed": config.seed, "assets": _assets_identity(route.assets)},
    )
    return [pairs, _verdicts(config, "blender", pairs)]


def _verdicts(config: Config, route: str, pairs: StageSpec) -> StageSpec:
    settings = config.filters.model_dump(mode="json")
    return _spec(config, route, "verdicts", settings, shaping=settings, before=pairs.folder)


def _spec(
    config: Config,
    route: str,
    name: StageName,
    settings: Mapping[str, Any],
    shaping: Mapping[str, Any],
    before: str | None = None,
) -> StageSpec:
    factory = STAGES[name]
    digest = fingerprint({"stage": name, "version": _version(factory), "settings": shaping, "before": before})
    pool = config.pools.get(name, Pool())
    return StageSpec(name, factory, settings, Run.folder(name, route, digest), pool)


def _shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that only change speed, at any depth."""
    return {
        key: _shaping(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if key not in _NOT_SHAPING
    }


def _assets_identity(uri: str | None) -> str | None:
    """Of the catalogue and its files: moved they are the same, changed they are others."""
    if uri is None:
        return None
    from renderers.catalog import identity
    from spatial.scene import SpatialError

    try:
        return identity(uri)
    except (SpatialError, OSError) as error:
        raise ConfigError(f"routes.blender.assets: {one_line(error)}") from None


def _version(factory: str) -> int:
    """The stage's own `version`, raised by its author whenever its rows change."""
    module, _, attribute = factory.partition(":")
    version: int = getattr(importlib.import_module(module), attribute).version
    return version
