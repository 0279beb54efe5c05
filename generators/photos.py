"""The stage that makes pairs from photos: read, decode, edit by masks, say it, judge it.

A photo is decoded and resized once, and several edits are made of it. What cannot be used stays in the shard with its
reason, photo by photo and edit by edit.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from filters.photo_geometry import measure
from generators.inpainting import Diffusers, Inpainter, InpaintingError, Lama, OpenCv
from generators.photo_decode import decode_photo
from generators.photo_edits import Edit, make, mirrored
from generators.photo_nouns import photo_lexicon, photo_noun
from generators.photo_open import open_photos
from generators.photo_sources import PhotoEntry, PhotoError, PhotoSource
from generators.photo_stills import Still, prepare
from generators.photo_words import Thing
from shards.guard import RowGuard
from shards.images import encode, mask_to_rle, perceptual_hash, pixel_sha256
from shards.run import Run
from shards.schema import PAIRS
from shards.storage import open_storage
from shards.tables import from_rows
from shards.units import Unit, UnitReport, seed_for
from spatial.expressions import say_expression
from spatial.instruction import Expression
from spatial.language import say
from spatial.lexicon import Lexicon
from spatial.rows import said_row
from spatial.scene import SpatialError

# Things that often have words on them, which no mirror may turn around.
LETTERED = frozenset(
    {
        "book",
        "bus",
        "truck",
        "stop_sign",
        "parking_meter",
        "clock",
        "laptop",
        "keyboard",
        "tv",
        "cell_phone",
        "bottle",
    }
)
_KIND_TRIES = 6  # other kinds tried where a photo has none of the first one drawn
Row = dict[str, Any]


def inpainter_of(settings: Mapping[str, Any]) -> Inpainter:
    """As the configuration names it. Raises InpaintingError."""
    method = settings["method"]
    if method in ("telea", "ns"):
        return OpenCv(method)
    if method == "lama":
        return Lama(settings["file"], settings["sha256"])
    if method == "diffusers":
        return Diffusers(settings["model"], settings["revision"], settings["device"], settings["steps"])
    raise InpaintingError(f"inpainting.method {method!r}: is not one of telea, ns, diffusers, lama")


def source_of(settings: Mapping[str, Any]) -> PhotoSource:
    """The photos that the settings name. Raises PhotoError."""
    return open_photos(
        settings["kind"],
        annotations=settings["annotations"],
        images=settings["images"],
        masks=settings["masks"],
        licences=settings["licences"],
    )


@dataclass(frozen=True, slots=True)
class _About:
    """What every row of a photo has."""

    unit: Unit
    number: int
    entry: PhotoEntry


class ComposePhotos:
    """Stage "pairs" of route "photos". settings: those of the route, and "seed"."""

    name = "pairs"
    version = 1  # to be raised whenever the same settings and photos would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self._run = Run.open(open_storage(run_uri))
        self._folder, self._settings = folder, settings
        self._source = source_of(settings["source"])
        self._inpainter = inpainter_of(settings["inpainting"])
        self._lexicon = photo_lexicon()

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        rows: list[Row] = []
        for number in unit.rows:
            if number >= len(self._source):
                break
            about = _About(unit, number, self._source.entry(number))
            if not guard.may_run(number):
                rows.append(self._unmade(about, 0, "failed", guard.refusal))
                continue
            rows += self._photo(about)
        counts = Counter(
            "made" if row.get("image_bytes") else f"{row['verdict']}:{row['reason']}" for row in rows
        )
        won = self._run.commit(self._folder, unit, from_rows(rows, PAIRS), counts)
        return UnitReport(unit.id, self.name, len(rows), dict(counts), time.monotonic() - began, not won)

    def _photo(self, about: _About) -> list[Row]:
        """All rows of a photo. Nothing that a photo or its annotation does ends the unit."""
        try:
            photo = decode_photo(self._source.read(about.entry))
            objects = self._source.objects(about.entry, photo)
            still = prepare(
                photo, objects, lambda name: photo_noun(name, about.entry.source), self._settings["image_size"],
                self._inpainter, self._seed(about, 0, "inpainting"),
            )  # fmt: skip
        except PhotoError as error:
            return [self._unmade(about, 0, "failed", error.reason, error.message)]
        except Exception as error:  # a picture that our own code cannot take must not cost the others
            return [self._unmade(about, 0, "failed", f"error_{type(error).__name__}", str(error))]
        return [self._pair(about, still, edit) for edit in range(self._settings["per_photo"])]

    def _pair(self, about: _About, still: Still, number: int) -> Row:
        rng = np.random.default_rng(self._seed(about, number, "edit"))
        try:
            edit = self._edit(still, rng)
            flip = rng.random() < self._settings["mirror_share"]
            if flip and not any(thing.noun in LETTERED for thing in still.things):
                edit = mirrored(edit)
            return self._row(about, still, edit, number, rng, mirror=flip)
        except SpatialError as error:
            return self._unmade(about, number, "rejected", error.reason, str(error))
        except Exception as error:
            return self._unmade(about, number, "failed", f"error_{type(error).__name__}", str(error))

    def _edit(self, still: Still, rng: np.random.Generator) -> Edit:
        """Of the kinds asked for, in a drawn order, the first that this photo has. Raises SpatialError of the first."""
        weights = self._settings["kinds"]
        kinds = [kind for kind, weight in weights.items() if weight > 0]
        shares = np.array([weights[kind] for kind in kinds], np.float64)
        order = rng.choice(len(kinds), min(len(kinds), _KIND_TRIES), replace=False, p=shares / shares.sum())
        first: SpatialError | None = None
        for kind in (kinds[int(i)] for i in order):
            try:
                return make(kind, still, rng)
            except SpatialError as error:
                first = first or error
        assert first is not None
        raise first

    def _row(
        self, about: _About, still: Still, edit: Edit, number: int, rng: np.random.Generator, mirror: bool
    ) -> Row:
        languages = self._settings["languages"]
        shares = np.array(list(languages.values()), np.float64)
        language = list(languages)[int(rng.choice(len(languages), p=shares / shares.sum()))]
        name = self._id(about, number)
        before = {thing.id: thing.mask for thing in edit.things_before}
        after = {thing.id: thing.mask for thing in edit.things_after}
        worst = max(edit.seams) if edit.seams else None
        scores = measure(edit.done, before, after, (edit.before, edit.after), edit.changed, worst)
        pictures = encode(edit.before, "webp", f"{name}-before"), encode(edit.after, "webp", f"{name}-after")
        details = {
            "photo": about.entry.id,
            "file": about.entry.file,
            "author": about.entry.attribution.author,
            "url": about.entry.attribution.url,
            "title": about.entry.attribution.title,
            "captions": list(about.entry.captions),
            "real": edit.real,
            "mirrored": mirror,
            "inpainting": self._inpainter.identity,
            "excluded": dict(still.excluded),
        }
        return {
            **self._about(about, number),
            "original_image": pictures[0],
            "edited_image": pictures[1],
            "original_prompt": caption(edit.things_before, self._lexicon),
            "edit_prompt": say(edit.said, language, rng, lexicon=self._lexicon),
            "edited_prompt": caption(edit.things_after, self._lexicon),
            "edit_kind": edit.said.kind,
            "language": language,
            "instructions": [said_row(edit.said, language, self._lexicon)],
            "operations": [dict(edit.done)],
            "objects_before": [self._object(thing, about) for thing in edit.things_before],
            "objects_after": [self._object(thing, about) for thing in edit.things_after],
            "width": edit.before.shape[1],
            "height": edit.before.shape[0],
            "image_bytes": sum(len(picture["bytes"]) for picture in pictures),
            "scores": scores.to_dict(),
            "hashes": {
                "pixel_before": pixel_sha256(edit.before),
                "pixel_after": pixel_sha256(edit.after),
                "perceptual_before": perceptual_hash(edit.before),
                "perceptual_after": perceptual_hash(edit.after),
            },
            "sampler": {"name": "photo", "settings": json.dumps({"edit": number})},
            "provenance": {
                "kind": "photo",
                "config": self._run.id,
                "details": json.dumps(details, ensure_ascii=False),
            },
        }

    def _about(self, about: _About, number: int) -> Row:
        name = self._id(about, number)
        return {
            "pair_id": name,
            "edit_id": name,
            "scene_id": f"{about.entry.source}-{about.entry.id}",
            "unit_id": about.unit.id,
            "run_id": self._run.id,
            "source": about.entry.source,
            "seed": self._seed(about, number, "edit"),
            "license": about.entry.license,
        }

    def _unmade(self, about: _About, number: int, verdict: str, reason: str, message: str = "") -> Row:
        details = {"photo": about.entry.id, "file": about.entry.file, "message": message}
        return {
            **self._about(about, number),
            "verdict": verdict,
            "reason": reason,
            "provenance": {
                "kind": "photo",
                "config": self._run.id,
                "details": json.dumps(details, ensure_ascii=False),
            },
        }

    def _object(self, thing: Thing, about: _About) -> Row:
        return {
            "id": thing.id,
            "name": thing.noun,
            "color": thing.color,
            "box": [float(edge) for edge in thing.box],
            "area": thing.area,
            "visible_fraction": 1.0,
            "mask": mask_to_rle(thing.mask),
            "licence": about.entry.license,
        }

    def _id(self, about: _About, number: int) -> str:
        return f"{about.unit.id}-{about.number:07d}-{number:02d}"

    def _seed(self, about: _About, number: int, purpose: str) -> int:
        return seed_for(self._settings["seed"], about.unit.id, about.number * 1000 + number, purpose)


def caption(things: tuple[Thing, ...], lexicon: Lexicon) -> str:
    """For example "A photo of, from left to right, a red cup and a spoon"; English, as text encoders want it."""
    names = list(_names(things, lexicon))
    if not names:
        return "A photo of a place"
    if len(names) == 1:
        return f"A photo of {names[0]}"
    return f"A photo of, from left to right, {', '.join(names[:-1])} and {names[-1]}"


def _names(things: tuple[Thing, ...], lexicon: Lexicon) -> Iterator[str]:
    for thing in sorted(things, key=lambda thing: thing.centre[0]):
        yield say_expression(Expression(thing.noun, color=thing.color), "en", article="a", lexicon=lexicon)
