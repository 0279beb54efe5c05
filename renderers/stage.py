"""The stage that makes pairs from nothing: sample a scene, say an edit, carry it out, judge it, render it.

Geometry is judged on ray-cast masks before a sample of light is traced, so a rejected scene costs
milliseconds; then a fresh scene is drawn. Only what passed is rendered.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from filters.geometry import decide, measure
from filters.thresholds import GeometryThresholds
from renderers.catalog import Catalog
from renderers.rows import Made, pair_id, row_of, unmade_row
from renderers.sampler import SamplerSettings, View, sample_scene
from renderers.schedule import wanted
from renderers.shapes import ProceduralShapes
from renderers.worker import BlenderCrashed, BlenderUnavailable, BlenderWorker, RenderSettings
from shards.guard import BrokenEngine, RowGuard
from shards.run import Run
from shards.schema import PAIRS
from shards.storage import open_storage
from shards.tables import from_rows
from shards.units import Unit, UnitReport, seed_for
from spatial.instruction import Instruction
from spatial.language import say
from spatial.lexicon import Lexicon
from spatial.operation import Operation, apply
from spatial.propose import propose
from spatial.resolve import resolve
from spatial.scene import Scene, SpatialError

# Before rendering, scenes are thrown away by these limits, whatever profile judges the pairs later.
FLOOR = GeometryThresholds()


@dataclass(frozen=True, slots=True)
class Draft:
    """A pair before it is rendered: what is said, what is done, and the scene before and after."""

    said: Instruction
    text: str
    operation: Operation
    before: Scene
    after: Scene


def sampler_settings(settings: Mapping[str, Any]) -> SamplerSettings:
    """What the route's settings say of sampling; a key of the stock that is left out takes all there is."""
    size, objects = settings["image_size"], settings["objects"]
    stock, view = settings.get("stock") or {}, settings.get("view") or {}
    some: dict[str, Any] = {key: tuple(words) for key, words in stock.items() if words and key != "never"}
    if view:
        ranges = {key: tuple(view[key]) for key in ("pitch", "distance")}
        some["view"] = View(**{**view, **ranges})
    never = frozenset((noun, color) for noun, color in (pair.split(" ") for pair in stock.get("never", ())))
    return SamplerSettings(size, size, (objects["min"], objects["max"]), left_out=never, **some)


class RenderScenes:
    """Stage "pairs" of route "blender". settings: those of the route in the configuration, and "seed"."""

    name = "pairs"
    version = 1  # to be raised whenever the same settings would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._folder = folder
        self._run = Run.open(open_storage(run_uri))
        self._settings = settings
        self._sampler = sampler_settings(settings)
        render, recycle = settings["render"], settings["recycle"]
        self._worker = BlenderWorker(
            RenderSettings(**render), max_scenes=recycle["scenes"], max_memory_mb=recycle["memory_mb"]
        )
        self._lexicon = Lexicon.default()
        self._shapes: Catalog | ProceduralShapes = ProceduralShapes()
        if settings.get("assets"):
            self._open_catalog(settings["assets"])
        self._stock = settings.get("stock") or {}
        if unknown := set(self._stock.get("nouns") or ()) - set(self._shapes.nouns):
            raise ValueError(
                f"routes.blender.stock.nouns: there is no {sorted(unknown)[0]!r}; "
                f"there are {', '.join(self._shapes.nouns)}"
            )
        self._worker.start()  # a machine without Blender is told now, not unit by unit
        self._tries: Counter[str] = Counter()

    def _open_catalog(self, uri: str) -> None:
        catalog = Catalog.open(uri, self._worker.load_mesh)
        for noun in catalog.nouns:  # a broken file ends the run here, not some row of it in an hour
            for asset in catalog.assets(noun):
                catalog.mesh(asset)
        self._shapes = self._worker.shapes = catalog
        self._lexicon = catalog.lexicon(self._lexicon)
        if not (self._settings.get("stock") or {}).get("nouns"):
            self._sampler = replace(self._sampler, nouns=catalog.nouns)

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began, cycles = time.monotonic(), self._worker.cycles_seconds
        self._tries.clear()
        rows, counts = [], Counter[str]()
        for number in unit.rows:
            row = self._row(unit, number, guard)
            counts[f"{row['verdict']}:{row['reason']}" if row["verdict"] else "made"] += 1
            rows.append(row)
        won = self._run.commit(self._folder, unit, from_rows(rows, PAIRS), counts)
        details = {
            "cycles_seconds": self._worker.cycles_seconds - cycles,
            "image_bytes": float(sum(row.get("image_bytes") or 0 for row in rows)),
            **{f"try:{reason}": float(number) for reason, number in self._tries.items()},
        }
        seconds = time.monotonic() - began
        return UnitReport(unit.id, self.name, len(rows), dict(counts), seconds, not won, details)

    def _row(self, unit: Unit, number: int, guard: RowGuard) -> dict[str, Any]:
        """One row, made or not; only a broken engine or storage gets out as an exception."""
        kind, language = wanted(number, self._settings["kinds"], self._settings["languages"])
        about: dict[str, Any] = {
            "pair_id": pair_id(unit, number), "unit_id": unit.id, "run_id": self._run.id,
            "edit_kind": kind, "language": language,
            "seed": seed_for(self._settings["seed"], unit.id, number, "scene"),
        }  # fmt: skip
        if not guard.may_run(number):
            return unmade_row(about, "failed", guard.refusal)
        reason = "no_layout"
        try:
            for attempt in range(self._settings["max_tries"]):
                rng = np.random.default_rng([about["seed"], attempt])
                try:
                    draft = self._draft(kind, language, rng)
                    made = self._make(draft, kind)
                except SpatialError as error:
                    reason = error.reason
                    self._tries[reason] += 1
                    continue
                except BlenderCrashed:
                    reason = "blender_crashed"
                    self._tries[reason] += 1
                    return unmade_row(about, "failed", reason)
                self._tries["made"] += 1
                return row_of(made, about, self._settings, attempt, self._shapes.licence)
        except BlenderUnavailable as error:
            raise BrokenEngine(str(error)) from error
        except Exception as error:
            # A scene that our own code, or a library under it, cannot take must not cost the other rows.
            return unmade_row(about, "failed", f"error_{type(error).__name__}", str(error))
        return unmade_row(about, "rejected", reason)

    def _draft(self, kind: str, language: str, rng: np.random.Generator) -> Draft:
        """Raises SpatialError where this draw does not work out."""
        before = sample_scene(kind, self._sampler, self._shapes, rng)
        said = propose(kind, before, self._shapes, rng)
        operation = resolve(said, before, self._shapes, rng)
        after = apply(operation, before, self._shapes)
        if after == before:
            raise SpatialError("no_change", "nothing changes")
        self._check_stock(after)
        return Draft(said, say(said, language, rng, lexicon=self._lexicon), operation, before, after)

    def _check_stock(self, scene: Scene) -> None:
        """An edit may paint, bring in or lay down whatever there is. Raises SpatialError("out_of_stock")."""

        def missing(key: str, word: str | None) -> bool:
            allowed = self._stock.get(key) or (word,)
            return word is not None and word not in allowed

        for thing in scene.objects:
            if (
                missing("nouns", thing.noun)
                or missing("colors", thing.color)
                or missing("materials", thing.material)
                or (thing.noun, thing.color) in self._sampler.left_out
            ):
                raise SpatialError("out_of_stock", f"a {thing.color} {thing.noun} is not to be shown")
        if missing("floors", scene.backdrop.floor):
            raise SpatialError("out_of_stock", f"a floor of {scene.backdrop.floor} is not to be shown")

    def _make(self, draft: Draft, kind: str) -> Made:
        """Masks, the judge, pictures. A scene that kills Blender is tried once more in a fresh process."""
        try:
            return self._render(draft, kind)
        except BlenderCrashed:
            return self._render(draft, kind)

    def _render(self, draft: Draft, kind: str) -> Made:
        passes = self._worker.prepare(draft.before, draft.after)
        before, after = (
            p.view(scene) for p, scene in zip(passes, (draft.before, draft.after), strict=True)
        )  # fmt: skip
        scores = measure(draft.said, draft.operation, before, after)
        decision = decide(kind, scores, FLOOR)
        if decision.verdict != "accepted":
            raise SpatialError(decision.reason, "the masks do not show what was asked")
        pictures = self._worker.render()
        before, after = replace(before, image=pictures[0]), replace(after, image=pictures[1])
        scores = measure(draft.said, draft.operation, before, after)
        return Made(
            draft.said, draft.text, draft.operation, before, after, scores, self._lexicon, self._worker.device
        )
