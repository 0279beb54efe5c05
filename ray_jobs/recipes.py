"""From a configuration to units and stages: the one place that knows which stages a route is made of.

It also says what belongs to a stage's fingerprint: all that shapes its rows, and nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from filters.profiles import NONE, ClipProfile, ProfileError, named
from filters.weights import ClipWeights, WeightsError
from ray_jobs.config import BlenderRoute, Clip, Config, ConfigError, Pool, PoolName, StageName, one_line
from ray_jobs.config_pairs import PairsRoute
from ray_jobs.config_photos import PhotosRoute
from ray_jobs.worker import StageSpec
from shards.fingerprint import fingerprint
from shards.run import Run
from shards.units import Unit

# Settings that change how fast pictures come, not what they show.
_NOT_SHAPING = {"threads", "recycle", "device", "assets"}
# The stages of each route, in order: where their class is.
P2P: Literal["p2p"] = "p2p"
PHOTOS: Literal["photos"] = "photos"
STAGES: dict[PoolName, str] = {
    "pairs": "renderers.stage:RenderScenes",
    "p2p": "generators.render:RenderPairs",
    "photos": "generators.photos:ComposePhotos",
    "scores": "filters.score:ScoreClip",
    "verdicts": "filters.decide:Decide",
    "captions": "generators.prepare:PrepareCaptions",
    "edits": "generators.stage:WriteEdits",
    "unique": "generators.unique:UniqueEdits",
}
_OF_PAIRS: tuple[StageName, ...] = ("pairs", "scores", "verdicts")


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a run: units, and the stages that each passes. after: the route that must be whole before."""

    name: str
    units: Sequence[Unit]
    stages: Sequence[StageSpec]
    after: str | None = None

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
    if config.routes.edits is not None:
        from ray_jobs.recipes_text import text_routes

        def spec(
            name: StageName,
            settings: Mapping[str, Any],
            shaping: Mapping[str, Any],
            before: str | None,
            route: str | None,
        ) -> StageSpec:
            return _spec(config, route, name, settings, shaping, before)

        text = [Route(*parts) for parts in text_routes(config, config.routes.edits, limit, spec)]
        found += text
        if config.routes.p2p is not None:
            found.append(_p2p_route(config, config.routes.p2p, text))
    if (photos := config.routes.photos) is not None:
        count = photos.units if limit is None else min(photos.units, limit)
        units = [Unit(PHOTOS, index, photos.unit_size) for index in range(count)]
        found.append(Route(PHOTOS, units, _photo_stages(config, photos)))
    if not found:
        raise ConfigError("routes: needs at least one route, for example 'blender'")
    return found


def routes_of_pairs(config: Config, run: Run) -> list[Route]:
    """The routes over the pairs that the run has, whatever made them: only verdicts are left to do.

    Raises ConfigError where no route is whole yet.
    """
    found = []
    for name, folders in run.current().items():
        if (size := _unit_size(config, name)) is None:
            continue
        # Whole as far as these units go, so never built: another profile needs neither picture nor model.
        before = [
            StageSpec(stage, STAGES[_maker(name) if stage == "pairs" else stage], {}, folders[stage])
            for stage in _OF_PAIRS
            if stage in folders and stage != "verdicts"
        ]
        made = set.intersection(*(run.done(stage.folder) for stage in before))
        units = [Unit.parse(unit_id, size) for unit_id in sorted(made)]
        profile = _profile(config, name)
        if profile is not None and "scores" not in folders and name != P2P:
            raise ConfigError(
                f"filters.clip: {profile.name!r} needs CLIP scores, and {run.storage.uri} has none: run "
                "'generate' with clip.model first"
            )
        found.append(Route(name, units, [*before, _verdicts(config, name, before, profile)]))
    if not found:
        raise ConfigError(
            f"{run.storage.uri} has no finished route to judge: run 'generate' to its end first"
        )
    return found


def _unit_size(config: Config, route: str) -> int | None:
    """Rows of a unit of this route; None for one that makes no pairs."""
    routes = config.routes
    if route == P2P and routes.p2p is not None and routes.edits is not None:
        return routes.edits.unit_size
    if route == PHOTOS and routes.photos is not None:
        return routes.photos.unit_size
    return routes.blender.unit_size if route == "blender" and routes.blender is not None else None


def _maker(route: str) -> PoolName:
    """The stage that makes a route's pairs."""
    return P2P if route == P2P else PHOTOS if route == PHOTOS else "pairs"


def _p2p_route(config: Config, route: PairsRoute, text: Sequence[Route]) -> Route:
    """Unit by unit the pairs of the edits that are good and unlike each other. Raises ConfigError."""
    folders = {name: folder for part in text for name, folder in part.folders.items()}
    units = next(part.units for part in text if part.name == "edits")
    assert config.clip is not None
    profile = _profile(config, P2P)
    if profile is None:
        raise ConfigError("filters.p2p: 'none' judges nothing, and pairs made from words need a judge")
    clip = _clip_settings(config.clip, profile, "filters.p2p", config.pools.get(P2P, Pool()), P2P)
    from generators.diffusion_identity import ModelMissing, identity

    try:
        model = identity(route.model.model, route.model.revision)
    except ModelMissing as error:
        raise ConfigError(f"routes.p2p.model: {one_line(error)}") from None
    settings = route.model_dump(mode="json")
    limits = profile.model_dump(mode="json", exclude={"calibration"})
    shaping = {
        "pairs": settings["pairs"],
        "budget": settings["budget"],
        "preview": [route.preview_at, route.preview_slack] if route.preview_at else None,
        "floor": settings["floor"],
        "model": model,
        "precision": route.model.precision,
        "clip": [clip["identity"], clip["preprocessing"], clip["precision"]],
        "profile": {key: limits[key] for key in ("default", "kinds")},
        "seed": config.seed,
    }
    pairs = _spec(
        config,
        P2P,
        "pairs",
        settings
        | {"edits": folders["edits"], "unique": folders["unique"], "model_identity": model, "clip": clip,
           "profile": limits, "seed": config.seed},
        shaping=shaping,
        # What is said of a unit's edits does not change with how many units follow: a longer run goes on.
        before=_spec(config, None, "unique", {}, _lasting(config), folders["edits"]).folder,
        factory=STAGES[P2P],
        pool=P2P,
    )  # fmt: skip
    verdicts = _verdicts(config, P2P, [pairs], profile)
    return Route(P2P, [Unit(P2P, unit.index, unit.size) for unit in units], [pairs, verdicts], "unique")


def _lasting(config: Config) -> dict[str, Any]:
    """What the verdicts over all edits depend on, but for the number of units."""
    assert config.routes.edits is not None
    return {"mend": config.routes.edits.mend, "seed": config.seed}


def _blender_stages(config: Config, route: BlenderRoute) -> list[StageSpec]:
    settings = route.model_dump(mode="json", exclude={"units"})
    pairs = _spec(
        config,
        "blender",
        "pairs",
        settings | {"seed": config.seed},
        shaping=_shaping(settings) | {"seed": config.seed, "assets": _assets_identity(route.assets)},
    )
    profile = _profile(config)
    before = [pairs]
    if config.clip is not None:
        before.append(_scores(config, config.clip, "blender", pairs, profile))
    return [*before, _verdicts(config, "blender", before, profile)]


def _photo_stages(config: Config, route: PhotosRoute) -> list[StageSpec]:
    settings = route.model_dump(mode="json", exclude={"units"})
    from generators.photo_sources import PhotoError
    from generators.photos import source_of

    try:
        identity = source_of(settings["source"]).identity
    except PhotoError as error:
        raise ConfigError(f"routes.photos.source: {one_line(error)}") from None
    # Photos count by what they are, not by where they lie.
    shaping = {**settings, "source": identity, "seed": config.seed}
    shaping["inpainting"] = {
        key: value for key, value in settings["inpainting"].items() if key not in ("device", "file")
    }
    pairs = _spec(
        config, PHOTOS, "pairs", settings | {"seed": config.seed}, shaping, factory=STAGES[PHOTOS], pool=PHOTOS
    )  # fmt: skip
    profile = _profile(config)
    before = [pairs]
    if config.clip is not None:
        before.append(_scores(config, config.clip, PHOTOS, pairs, profile))
    return [*before, _verdicts(config, PHOTOS, before, profile)]


def _profile(config: Config, route: str = "blender") -> ClipProfile | None:
    """CLIP's thresholds, None where geometry decides alone. Reads no weights. Raises ConfigError."""
    key = "p2p" if route == P2P else "clip"
    name, clip = getattr(config.filters, key), config.clip
    if name == NONE:
        return None
    if clip is None:
        raise ConfigError(
            f"filters.{key}: {name!r} judges CLIP scores: set clip.model, or filters.{key}=none"
        )
    try:
        return named(name, ClipWeights(clip.model, clip.weights), clip.preprocessing)
    except (ProfileError, WeightsError) as error:
        raise ConfigError(f"filters.{key}: {one_line(error)}") from None


def _scores(
    config: Config, clip: Clip, route: str, pairs: StageSpec, profile: ClipProfile | None
) -> StageSpec:
    """The stage that scores by CLIP. Reads the weights, to know them again. Raises ConfigError."""
    settings = _clip_settings(clip, profile, "filters.clip", config.pools.get("scores", Pool()), "scores")
    shaping = {
        "model": settings["identity"],
        "preprocessing": clip.preprocessing,
        "precision": clip.precision,
    }
    return _spec(config, route, "scores", settings, shaping=shaping, before=pairs.folder)


def _clip_settings(
    clip: Clip, profile: ClipProfile | None, key: str, pool: Pool, pool_name: str
) -> dict[str, Any]:
    """What a worker loads CLIP by. Reads the weights, to know them again. Raises ConfigError."""
    if clip.device == "cuda" and not pool.num_gpus:
        raise ConfigError(
            f"pools.{pool_name}.num_gpus: is 0, and clip.device is cuda; give a share such as 0.5"
        )
    if clip.device == "cpu" and clip.precision == "fp16":
        raise ConfigError("clip.precision: fp16 needs a GPU; with clip.device cpu use fp32 or bf16")
    try:
        identity = ClipWeights(clip.model, clip.weights).identity()
    except WeightsError as error:
        raise ConfigError(f"clip.model: {one_line(error)}") from None
    if profile is not None and not profile.fits(identity):
        raise ConfigError(
            f"{key}: {profile.name!r} is for {', '.join(profile.models)}, and {clip.model} is "
            f"{identity}: choose its thresholds anew"
        )
    return clip.model_dump(mode="json") | {"identity": identity}


def _verdicts(
    config: Config, route: str, before: Sequence[StageSpec], profile: ClipProfile | None
) -> StageSpec:
    """Over pairs alone where geometry decides: then verdicts do not change with the model that scores."""
    settings = config.filters.model_dump(mode="json", exclude={"clip", "p2p"})
    if route == P2P:
        settings["by_pictures"] = True  # no masks: geometry has nothing to say
    if profile is not None:
        settings["clip"] = profile.model_dump(mode="json", exclude={"calibration"})
    source = before[0] if profile is None else before[-1]
    return _spec(config, route, "verdicts", settings, shaping=settings, before=source.folder)


def _spec(
    config: Config,
    route: str | None,
    name: StageName,
    settings: Mapping[str, Any],
    shaping: Mapping[str, Any],
    before: str | None = None,
    *,
    factory: str | None = None,
    pool: PoolName | None = None,
) -> StageSpec:
    """factory, pool: where they are others than the stage's own."""
    factory = factory or STAGES[name]
    digest = fingerprint({"stage": name, "version": _version(factory), "settings": shaping, "before": before})
    workers = config.pools.get(pool or name, Pool())
    return StageSpec(name, factory, settings, Run.folder(name, route, digest), workers)


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
