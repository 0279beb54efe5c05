"""The tables on disk, column by column: what readers who never install this project rely on.

Boxes are [x0, y0, x1, y1] in pixels, half-open. Masks are COCO run lengths. Poses and cameras are in the
project's frames (`spatial.scene`). Everything may be null where it does not apply.
"""

from __future__ import annotations

import pyarrow as pa

from shards.features import IMAGE, with_features

STRINGS = pa.list_(pa.string())
FLOATS = pa.list_(pa.float64())

INSTRUCTION_STRUCT = pa.struct(
    [
        ("kind", pa.string()),
        ("subject", pa.string()),  # referring expressions, as said: "the red ball", never an id
        ("reference", pa.string()),
        ("reference2", pa.string()),
        ("direction", pa.string()),
        ("amount", pa.float64()),
        ("unit", pa.string()),
        ("vagueness", pa.string()),
        ("region", pa.string()),
        ("relation", pa.string()),
        ("value", pa.string()),
    ]
)
"""What is said. A sequence is a list of several; every other edit is a list of one."""

OPERATION_STRUCT = pa.struct(
    [
        ("kind", pa.string()),
        ("subject", pa.string()),  # object ids
        ("reference", pa.string()),
        ("reference2", pa.string()),
        ("direction", pa.string()),
        ("amount", pa.float64()),
        ("unit", pa.string()),
        ("region", pa.string()),
        ("relation", pa.string()),
        ("value", pa.string()),
        ("objects", STRINGS),  # ids added or removed
    ]
)
"""What is done."""

MASK_STRUCT = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
"""size: [height, width]."""

POSE_STRUCT = pa.struct(
    [("position", FLOATS), ("quaternion", FLOATS), ("size", FLOATS), ("mirrored", pa.bool_())]
)
"""position: metres, the middle of the base. quaternion: wxyz. size: full extents, metres.
mirrored: the object's own x is negated before the rest is applied."""

OBJECT_STRUCT = pa.struct(
    [
        ("id", pa.string()),  # the same before and after
        ("name", pa.string()),
        ("color", pa.string()),
        ("material", pa.string()),
        ("box", pa.list_(pa.float32())),
        ("area", pa.int32()),  # visible pixels
        ("visible_fraction", pa.float32()),  # visible pixels over pixels rendered alone
        ("mask", MASK_STRUCT),
        ("pose", POSE_STRUCT),  # renders only
        ("licence", pa.string()),
    ]
)

CAMERA_STRUCT = pa.struct(
    [
        ("fx", pa.float64()),
        ("fy", pa.float64()),
        ("cx", pa.float64()),
        ("cy", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("world_to_camera", pa.list_(FLOATS)),  # 4 rows of 4, metres
    ]
)

GEOMETRY_SCORES = (
    "centre_error",
    "amount_measured",
    "percent_error",
    "metre_error",
    "degree_error",
    "factor_error",
    "holds",
    "count_error",
    "unnamed_shift",
    "unnamed_mask",
    "change_inside",
    "change_outside",
    "visible_before",
    "visible_after",
    "visible_others",
    "seam",
)
CLIP_SCORES = ("clip_image", "clip_text_before", "clip_text_after", "clip_direction")

SCORES_STRUCT = pa.struct([(name, pa.float32()) for name in GEOMETRY_SCORES + CLIP_SCORES])
"""Null where a check was not run."""

HASHES_STRUCT = pa.struct(
    [
        ("pixel_before", pa.string()),  # sha256 of the decoded pixels
        ("pixel_after", pa.string()),
        ("perceptual_before", pa.string()),
        ("perceptual_after", pa.string()),
    ]
)
SAMPLER_STRUCT = pa.struct([("name", pa.string()), ("settings", pa.string())])  # settings: JSON
PROVENANCE_STRUCT = pa.struct([("kind", pa.string()), ("config", pa.string()), ("details", pa.string())])

INSTRUCTIONS = pa.list_(INSTRUCTION_STRUCT)
OPERATIONS = pa.list_(OPERATION_STRUCT)
OBJECTS = pa.list_(OBJECT_STRUCT)

PAIRS = with_features(
    pa.schema(
        [
            ("original_image", IMAGE),
            ("edited_image", IMAGE),
            ("original_prompt", pa.string()),
            ("edit_prompt", pa.string()),
            ("edited_prompt", pa.string()),
            ("pair_id", pa.string()),
            ("edit_id", pa.string()),
            ("scene_id", pa.string()),
            ("unit_id", pa.string()),
            ("run_id", pa.string()),
            ("source", pa.string()),
            ("edit_kind", pa.string()),
            ("language", pa.string()),
            ("instructions", INSTRUCTIONS),
            ("operations", OPERATIONS),
            ("objects_before", OBJECTS),
            ("objects_after", OBJECTS),
            ("camera_before", CAMERA_STRUCT),
            ("camera_after", CAMERA_STRUCT),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("image_bytes", pa.int64()),
            ("scores", SCORES_STRUCT),
            ("hashes", HASHES_STRUCT),
            ("seed", pa.int64()),
            ("sampler", SAMPLER_STRUCT),
            ("license", pa.string()),
            ("provenance", PROVENANCE_STRUCT),
            ("verdict", pa.string()),  # "failed" for a row that could not be made, else null
            ("reason", pa.string()),
        ]
    )
)
"""Pairs: images, and everything known when they were made. Immutable."""

_UNPUBLISHED = ("verdict", "reason")  # what is published is accepted
_PICTURES = ("original_image", "edited_image")

PUBLISHED = with_features(
    pa.schema(
        [
            *(field for field in PAIRS if field.name not in _UNPUBLISHED),
            ("inverse_of", pa.string()),  # the pair that this one undoes, where it was made from another
            ("held_out", pa.bool_()),  # shows a combination of asset and colour that `train` never shows
        ]
    )
)
"""Rows of a published dataset's data files: pairs that were accepted, all their scores in one place."""

_SEEN_STRUCT = pa.struct([field for field in OBJECT_STRUCT if field.name != "mask"])

INDEX = with_features(
    pa.schema(
        [
            *(
                pa.field(field.name, pa.list_(_SEEN_STRUCT)) if field.type == OBJECTS else field
                for field in PUBLISHED
                if field.name not in _PICTURES
            ),
            ("file", pa.string()),  # relative to the version
            ("row_group", pa.int32()),
            ("row", pa.int32()),  # within the row group
        ]
    )
)
"""Rows of a published dataset's indices: all but pictures and masks, and where those lie."""

SCORES = with_features(
    pa.schema(
        [
            ("pair_id", pa.string()),
            *((name, pa.float32()) for name in CLIP_SCORES),
            (
                "clip_embedding",
                pa.struct([("before", pa.list_(pa.float32())), ("after", pa.list_(pa.float32()))]),
            ),
            ("model", pa.string()),
            ("verdict", pa.string()),
            ("reason", pa.string()),
        ]
    )
)
"""What a model says of a pair; verdict "failed" where it could not."""

VERDICTS = with_features(
    pa.schema(
        [
            ("pair_id", pa.string()),
            ("verdict", pa.string()),  # "accepted", "rejected", "failed"
            ("reason", pa.string()),  # the first failing rule
            ("profile", pa.string()),
        ]
    )
)
"""Decisions. A new profile makes a new folder of them, and touches neither image nor model."""

CAPTIONS = with_features(
    pa.schema(
        [
            ("caption_id", pa.string()),
            ("text", pa.string()),
            ("license", pa.string()),
            ("provenance", PROVENANCE_STRUCT),
        ]
    )
)
"""Captions fit to be edited, each once, in the order in which they are taken."""

EDITS = with_features(
    pa.schema(
        [
            ("edit_id", pa.string()),
            ("unit_id", pa.string()),
            ("original_prompt", pa.string()),
            ("edit_prompt", pa.string()),
            ("edited_prompt", pa.string()),
            ("edit_kind", pa.string()),
            ("language", pa.string()),
            ("instructions", INSTRUCTIONS),
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("seed", pa.int64()),
            ("license", pa.string()),
            ("provenance", PROVENANCE_STRUCT),
        ]
    )
)
"""Edits as text, before any picture."""

EDIT_VERDICTS = with_features(
    pa.schema(
        [
            ("edit_id", pa.string()),
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("original_prompt", pa.string()),  # these four null but where the edit was mended
            ("edit_prompt", pa.string()),
            ("edited_prompt", pa.string()),
            ("instructions", INSTRUCTIONS),
        ]
    )
)
"""Of every edit of a run, once all are there: as the edit itself says, or that it says another's again; and its words
where they were mended, which then stand in place of the edit's own."""
