"""From a rendered pair to a row of the pairs table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from filters.geometry import GeometryScores
from renderers.shapes import BUILDERS
from shards.images import encode, mask_to_rle, perceptual_hash, pixel_sha256
from shards.units import Unit
from spatial.captions import caption
from spatial.instruction import Instruction
from spatial.lexicon import Lexicon
from spatial.operation import Operation
from spatial.rows import said_row
from spatial.scene import Camera, SceneObject
from spatial.view import View, mask_box

ENVIRONMENTS_LICENCE = "CC0-1.0"  # the maps in Blender's wheel, from Poly Haven
OUTPUT_LICENCE = "CC0-1.0"  # what we render from our own scenes


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A pair with its pictures and figures. device: what rendered it; another device's pixels differ a little."""

    said: Instruction
    text: str
    operation: Operation
    before: View
    after: View
    scores: GeometryScores
    lexicon: Lexicon
    device: str


def pair_id(unit: Unit, number: int) -> str:
    """For example "blender-0000007-0000115": the unit and the row's global number."""
    return f"{unit.id}-{number:07d}"


def unmade_row(about: Mapping[str, Any], verdict: str, reason: str, message: str = "") -> dict[str, Any]:
    """A row that could not be made: everything but the pictures, and why."""
    details = json.dumps({"message": message[:2000]}) if message else None
    return {
        **about,
        "source": "blender",
        "verdict": verdict,
        "reason": reason,
        "provenance": {"kind": "render", "config": about["run_id"], "details": details},
    }


def row_of(
    made: Made,
    about: Mapping[str, Any],
    settings: Mapping[str, Any],
    attempt: int,
    licence: Callable[[str], str],
) -> dict[str, Any]:
    """The row as `shards.schema.PAIRS` wants it. attempt: which draw of the row's seed it was."""
    before, after = made.before, made.after
    assert before.image is not None and after.image is not None
    name = about["pair_id"]
    pictures = (encode(before.image, "png", f"{name}-before"), encode(after.image, "png", f"{name}-after"))
    assets = sorted({thing.asset for view in (before, after) for thing in view.scene.objects})
    licences = {asset: licence(asset) for asset in assets}
    render = {key: value for key, value in settings["render"].items() if key not in ("threads", "device")}
    return {
        **about,
        "original_image": pictures[0],
        "edited_image": pictures[1],
        "original_prompt": caption(before.scene, lexicon=made.lexicon),
        "edit_prompt": made.text,
        "edited_prompt": caption(after.scene, lexicon=made.lexicon),
        "edit_id": name,
        "scene_id": name,
        "source": "blender",
        "instructions": [said_row(step, about["language"], made.lexicon) for step in made.said.parts()],
        "operations": [done_row(step) for step in made.operation.parts()],
        "objects_before": [object_row(t, before, licences) for t in before.scene.objects],
        "objects_after": [object_row(t, after, licences) for t in after.scene.objects],
        "camera_before": _camera_row(before.scene.camera),
        "camera_after": _camera_row(after.scene.camera),
        "width": before.scene.camera.width,
        "height": before.scene.camera.height,
        "image_bytes": sum(len(picture["bytes"]) for picture in pictures),
        "scores": made.scores.to_dict(),
        "hashes": {
            "pixel_before": pixel_sha256(before.image),
            "pixel_after": pixel_sha256(after.image),
            "perceptual_before": perceptual_hash(before.image),
            "perceptual_after": perceptual_hash(after.image),
        },
        "sampler": {"name": "scene", "settings": json.dumps({"attempt": attempt, "render": render})},
        "license": _licence(licences),
        "verdict": None,
        "reason": None,
        "provenance": {
            "kind": "render",
            "config": about["run_id"],
            "details": json.dumps(
                {"assets": licences, "environments": ENVIRONMENTS_LICENCE, "device": made.device}
            ),
        },
    }


def _licence(assets: Mapping[str, str]) -> str:
    """Of the pair, as an SPDX expression: ours, and those of the assets that came from files."""
    files = {licence for asset, licence in assets.items() if asset not in BUILDERS}
    return " AND ".join([OUTPUT_LICENCE, *sorted(files - {OUTPUT_LICENCE})])


def done_row(done: Operation) -> dict[str, Any]:
    """An operation as `OPERATION_STRUCT`: ids and numbers."""
    fields = (
        "kind", "subject", "reference", "reference2", "direction", "amount", "unit", "region", "relation",
        "value",
    )  # fmt: skip
    return {**{field: getattr(done, field) for field in fields}, "objects": list(done.objects)}


def object_row(thing: SceneObject, view: View, licences: Mapping[str, str]) -> dict[str, Any]:
    """An object as `OBJECT_STRUCT`; licences: by asset."""
    return {
        "id": thing.id,
        "name": thing.noun,
        "color": thing.color,
        "material": thing.material,
        "box": [float(edge) for edge in mask_box(view.visible[thing.id])],
        "area": int(view.visible[thing.id].sum()),
        "visible_fraction": view.visible_fraction(thing.id),
        "mask": mask_to_rle(view.visible[thing.id]),
        "pose": {
            "position": list(thing.pose.position),
            "quaternion": list(thing.pose.quaternion),
            "size": list(thing.pose.size),
            "mirrored": thing.mirrored,
        },
        "licence": licences[thing.asset],
    }


def _camera_row(camera: Camera) -> dict[str, Any]:
    rows = [[*row, shift] for row, shift in zip(camera.rotation, camera.translation, strict=True)]
    return {
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "width": camera.width,
        "height": camera.height,
        "world_to_camera": [*rows, [0.0, 0.0, 0.0, 1.0]],
    }
