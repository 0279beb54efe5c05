"""A row of a dataset as an editor learns from it: two pictures, words, and masks of what the words name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.images import Pixels, decode, rle_to_mask
from spatial.language import parse, say
from spatial.lexicon import Lexicon
from spatial.mirror import mirrored
from spatial.scene import SpatialError
from spatial.templates import Chosen
from trainer import finding
from trainer.latents import Latents, OpenLatents, Place
from trainer.maps import FINE
from trainer.words import MAX_STEPS, Words, canonical, read

COLUMNS = (
    "pair_id", "original_image", "edited_image", "edit_prompt", "edit_kind", "language", "operations",
    "objects_before.list.element.id", "objects_before.list.element.mask", "objects_after.list.element.id",
    "objects_after.list.element.mask",
)  # fmt: skip
_MAKES = ("add", "count", "duplicate")
CELL = 8  # pixels of a latent's side
Masks = NDArray[np.float32]
Phrasings = Literal["as_written", "train", "canonical"]


class RowError(Exception):
    """A row that cannot be learned from; the message is one line that names the pair and says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """before, after: (s, s, 3) uint8; None where latents are known and no more is wanted. masks: (steps, 2, s / 2, s /
    2), `FINE` places on a cell's side, the shares of each that the step's subject and reference cover in `before`;
    zeros where that is not known. landings: the same of what the step moves or makes, in `after`. place: where its
    latents are kept, if they are. latents: (2, c, s / 8, s / 8), of both pictures. sought: what is to be found in place
    of what the words name."""

    pair_id: str
    kind: str
    before: Pixels | None
    after: Pixels | None
    words: Words
    masks: Masks
    landings: Masks
    place: Place | None = None
    latents: Latents | None = None
    sought: finding.Sought | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How rows are seen. side: pixels, a multiple of 8. mirror: the odds of seeing a pair in a mirror, with words said
    anew; only where they are understood. phrasings: "as_written"; "train", by which all that is understood is said
    anew, without the quarter of templates that tests are worded by; or "canonical", one English wording per meaning.
    finding: as `trainer.finding`, for an encoder that learns to find. pixels: pictures are wanted where their latents
    are known, too, for an editor that pastes."""

    side: int
    mirror: float = 0.0
    phrasings: Phrasings = "as_written"
    finding: bool = False
    pixels: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Of a row that is seen so."""
        return tuple(dict.fromkeys((*COLUMNS, *finding.COLUMNS))) if self.finding else COLUMNS


def example(
    row: Mapping[str, Any],
    seen: Seen,
    rng: np.random.Generator,
    number: int | None = None,
    kept: OpenLatents | None = None,
) -> Example:
    """row: with `seen.columns`. number: of the row in its split. kept: latents, which spare the decoding.

    Pictures that are not square are squeezed: shares of the width and height, which instructions speak of, stay.
    Raises RowError.
    """
    places = seen.side // CELL * FINE
    text, masks = str(row["edit_prompt"] or ""), _masks(row, places)
    landings = _landings(row, places)
    said = _said(text, str(row["language"] or "en"), rng, seen)
    text, turned = said if said is not None else (text, False)
    try:
        asked = finding.sought(row, places, rng) if seen.finding else None
    except SpatialError as error:
        raise RowError(f"pair {row['pair_id']}: {error}") from None
    if turned:
        masks, landings = masks[..., ::-1], landings[..., ::-1]
        asked = asked and replace(asked, masks=np.ascontiguousarray(asked.masks[..., ::-1]))
    place = None if number is None else Place(number, turned)
    latents = kept.get(place) if kept is not None and place is not None else None
    before = after = None
    if latents is None or seen.pixels:
        before, after = (
            _picture(row, name, seen.side, turned) for name in ("original_image", "edited_image")
        )
    return Example(
        str(row["pair_id"]), str(row["edit_kind"] or ""), before, after, read(text), np.ascontiguousarray(masks),
        np.ascontiguousarray(landings), place, latents, asked,
    )  # fmt: skip


def _picture(row: Mapping[str, Any], name: str, side: int, turned: bool) -> Pixels:
    try:
        rgb = decode(row[name])
    except Exception as error:  # whatever a decoder says of bytes from outside
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RowError(f"pair {row['pair_id']}: {name} cannot be decoded: {said}") from None
    rgb = squeezed(rgb, side)
    return np.ascontiguousarray(rgb[:, ::-1]) if turned else rgb


def squeezed(rgb: Pixels, side: int) -> Pixels:
    """(side, side, 3), whatever its shape was."""
    if rgb.shape[:2] == (side, side):
        return rgb
    how = cv2.INTER_AREA if side < min(rgb.shape[:2]) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=how), np.uint8)


def _masks(row: Mapping[str, Any], places: int) -> Masks:
    named = [
        [(step["subject"],), (step["reference"], step["reference2"])] for step in row["operations"] or ()
    ]
    return _covered(row, "objects_before", named, places)


def _landings(row: Mapping[str, Any], places: int) -> Masks:
    """Of a step that makes things those; of a swap both; else the subject."""
    named = [
        [
            _made(step) if step["kind"] in _MAKES else (step["subject"],),
            (step["reference"],) if step["kind"] == "swap" else (),
        ]
        for step in row["operations"] or ()
    ]
    return _covered(row, "objects_after", named, places)


def _made(step: Mapping[str, Any]) -> Sequence[str | None]:
    """Of copies the first: what is brought to one place cannot be brought to two."""
    made: Sequence[str | None] = step["objects"] or ()
    return made[:1] if step["kind"] == "duplicate" else made


def _covered(
    row: Mapping[str, Any], column: str, named: Sequence[Sequence[Sequence[str | None]]], places: int
) -> Masks:
    """Shares of so many places on a side that things cover. named: their ids, by step and role."""
    found = np.zeros((MAX_STEPS, 2, places, places), np.float32)
    things = {thing["id"]: thing["mask"] for thing in row[column] or () if thing["mask"] is not None}
    for place, roles in enumerate(named[:MAX_STEPS]):
        for role, ids in enumerate(roles):
            for name in ids or ():
                if name not in things:
                    continue
                try:
                    mask = rle_to_mask(things[name]).astype(np.float32)
                except Exception as error:  # whatever its decoder says
                    raise RowError(f"pair {row['pair_id']}: the mask of {name} is broken: {error}") from None
                shares = cv2.resize(mask, (places, places), interpolation=cv2.INTER_AREA)
                found[place, role] = np.maximum(found[place, role], shares)
    return found


def _said(text: str, language: str, rng: np.random.Generator, seen: Seen) -> tuple[str, bool] | None:
    """Other words for the pair, and whether they are of its mirror image; None where it stays as it is."""
    turned = bool(rng.random() < seen.mirror)
    if not turned and seen.phrasings == "as_written":
        return None
    templates: Chosen = "train" if seen.phrasings == "train" else "all"
    try:
        meant = parse(text, language)
        meant = mirrored(meant) if turned else meant
        if seen.phrasings == "canonical":
            return canonical(meant, Lexicon.default()), turned
        return say(meant, language, rng, templates=templates, lexicon=Lexicon.default()), turned
    except SpatialError:  # not understood, or there are no such words
        return None
