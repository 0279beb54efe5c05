"""The columns of a published dataset in words, for the card and for machines that read descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from shards.features import IMAGE
from shards.schema import INDEX, PUBLISHED

MEANINGS = {
    "original_image": "the picture before the edit",
    "edited_image": "the picture after the edit",
    "original_prompt": "caption of the picture before, English",
    "edit_prompt": "the instruction as said, in `language`",
    "edited_prompt": "caption of the picture after, English",
    "pair_id": "the pair's own id, the same in every repetition of the run",
    "edit_id": "the edit; several pairs may show one",
    "scene_id": "the scene or caption that the pair shows: all pairs of one lie in one split",
    "unit_id": "the unit of work that made it",
    "run_id": "the run that made it",
    "source": "how the pair was made: `blender`, `p2p`, `coco`, `open_images`, `manual`",
    "edit_kind": "the kind of edit; `sequence` for two or three steps",
    "language": "of `edit_prompt`: `en` or `vi`",
    "instructions": "what is said, in parts, one element a step: kind, subject, reference, direction, amount and "
    "unit, region, relation, value",
    "operations": "what is done, one element a step: object ids, exact amounts",
    "objects_before": "every object before: id, name, colour, material, box, area, visible fraction, mask, pose, "
    "licence",
    "objects_after": "the same after",
    "camera_before": "intrinsics, and the world-to-camera matrix, of the picture before",
    "camera_after": "the same after",
    "width": "pixels",
    "height": "pixels",
    "image_bytes": "bytes of both pictures, encoded",
    "scores": "what the judges measured: geometry and CLIP; null where one was not asked",
    "hashes": "sha256 of the pixels and perceptual hash, before and after",
    "seed": "what is random in the pair descends from this number",
    "sampler": "with the seed, what it takes to make the pair again",
    "license": "of the pair, an SPDX expression",
    "provenance": "where the pair comes from: run, assets, models, captions",
    "inverse_of": "`pair_id` of the pair that this one undoes, where it was made from another",
    "held_out": "shows a combination of asset and colour that `train` never shows",
    "file": "the data file that the pair lies in, relative to the version's folder",
    "row_group": "the row group of that file",
    "row": "the row in that row group",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column in words. type: "image", "string", "list of struct", ..."""

    name: str
    type: str
    meaning: str


def columns(schema: pa.Schema = PUBLISHED) -> Iterator[Column]:
    for field in schema:
        yield Column(field.name, type_name(field.type), MEANINGS[field.name])


def index_columns() -> Iterator[Column]:
    """Those that an index has and the data files have not."""
    return (column for column in columns(INDEX) if column.name not in PUBLISHED.names)


def type_name(kind: pa.DataType) -> str:
    if kind == IMAGE:
        return "image"
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    return "struct" if pa.types.is_struct(kind) else str(kind)
