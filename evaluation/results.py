"""The table of results: a row for each edit that an editor was asked for, and one for each that it cannot be asked."""

from __future__ import annotations

import pyarrow as pa

from shards.features import IMAGE, with_features

TOLERANCES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
"""Shares of the width, for curves of success against the error that is allowed; `spatial.NAMED` is among them."""

RIGHT, WRONG, FAILED, UNASKED = "right", "wrong", "failed", "not_expressible"
MADE = "made"  # of an edit that nobody can judge: there is a picture, and it is measured
OWN = "own:"  # so begins what a model is tuned for, by the captions of one edit

RESULTS = with_features(
    pa.schema(
        [
            ("pair_id", pa.string()),
            ("scene_id", pa.string()),
            ("edit_kind", pa.string()),
            ("language", pa.string()),
            ("edit_set", pa.string()),
            ("editor", pa.string()),
            ("copy", pa.int32()),  # which of several trainings of the editor
            ("text", pa.string()),
            ("judged", pa.bool_()),  # it is known what is to be where: it is right, or wrong, or failed
            ("edited", IMAGE),  # null where there is none
            ("outcome", pa.string()),  # right, wrong, made, failed, not_expressible
            ("reason", pa.string()),  # why it is wrong, as in `evaluation.spatial`, or how the editor failed
            ("message", pa.string()),  # what an editor that failed said
            ("off", pa.float32()),  # largest distance of a named thing from its place, shares of the width
            ("within", pa.list_(pa.bool_())),  # right, if named things may be off so far: `TOLERANCES`
            ("psnr", pa.float32()),  # where nothing was to change, against the source
            ("ssim", pa.float32()),
            ("lpips", pa.float32()),  # null where no weights were named
            ("kept_share", pa.float32()),
            ("l1", pa.float32()),  # against the true picture, where there is one; of values of 0 to 1
            ("l2", pa.float32()),
            ("clip_image", pa.float32()),
            ("clip_direction", pa.float32()),
            ("clip_embedding", pa.list_(pa.float32())),  # of the edited picture, of length 1
            ("inception", pa.list_(pa.float32())),  # what Inception-v3 sees in it; null without its weights
            ("seconds", pa.float32()),  # of the editor, its batch's time shared, without tuning
            ("memory_mb", pa.float32()),  # the most that the device, or the process, held for its batch
            ("price", pa.float32()),
            ("tuned_for", pa.string()),  # what the editor was tuned for; null where it is not
            ("tuned_seconds", pa.float32()),  # that tuning, whole, not shared with other edits of it
        ]
    )
)
