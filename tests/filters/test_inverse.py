"""The inverse of a row does what `spatial` says undoes the operation, and its words mean that in the new picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from filters.inverse import inverse
from renderers.rows import done_row
from renderers.sampler import SamplerSettings, sample_scene
from spatial.language import parse, say
from spatial.lexicon import Lexicon
from spatial.operation import apply, invert
from spatial.propose import SCENE_KINDS, propose
from spatial.refer import ground
from spatial.resolve import resolve
from spatial.rows import said_row
from spatial.scene import SpatialError
from tests.spatial.conftest import Boxes

INVERTIBLE = {
    "move",
    "rotate",
    "orbit",
    "zoom",
    "pan",
    "resize",
    "swap",
    "add",
    "remove",
    "recolor",
    "material",
    "lighting",
}
SIZE = SamplerSettings(128, 128, (2, 4))


def rows_of(kind: str, boxes: Boxes, number: int):
    """Rows as the pairs table has them, with the scene afterwards and the operation."""
    rng = np.random.default_rng(number)
    found = 0
    while found < 12:
        try:
            before = sample_scene(kind, SIZE, boxes, rng)
            said = propose(kind, before, boxes, rng)
            operation = resolve(said, before, boxes, rng)
            after = apply(operation, before, boxes)
        except SpatialError:
            continue
        found += 1
        language = ("en", "vi")[found % 2]
        yield (
            {
                "pair_id": f"blender-0000000-{found:03d}",
                "edit_kind": kind,
                "language": language,
                "edit_prompt": say(said, language, rng),
                "instructions": [said_row(step, language, Lexicon.default()) for step in said.parts()],
                "operations": [done_row(step) for step in operation.parts()],
                "objects_before": [look(t) for t in before.objects],
                "objects_after": [look(t) for t in after.objects],
            },
            operation,
            after,
        )


def look(thing):
    return {"id": thing.id, "name": thing.noun, "color": thing.color, "material": thing.material}


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_an_inverse_undoes_its_original_and_names_its_things(kind, boxes):
    made = 0
    for row, operation, after in rows_of(kind, boxes, 11):
        found = inverse(row)
        if found is None:
            continue
        made += 1
        undone = done_row(invert(operation))
        told = found.operations[0]
        if kind not in ("add", "remove"):  # the same kind, and its fields
            for field in ("kind", "subject", "reference", "direction", "unit", "value"):
                assert told[field] == undone[field], field
            assert told["amount"] is None or math.isclose(told["amount"], undone["amount"], rel_tol=1e-6)
        else:
            assert told["kind"] == {"add": "remove", "remove": "add"}[kind]
            assert told["objects"] == undone["objects"]
        meaning = parse(found.edit_prompt, row["language"])
        assert meaning.kind == told["kind"] == found.edit_kind
        for name, expression in (("subject", meaning.subject), ("reference", meaning.reference)):
            if expression is not None and meaning.kind != "add":
                assert ground(expression, after, boxes) == told[name]
        if meaning.direction is not None and told["direction"] is not None:
            assert meaning.direction == told["direction"]
        assert inverse(row) == found
    assert (made > 0) == (kind in INVERTIBLE)


def test_a_thing_that_looks_like_another_has_no_inverse_that_names_it(boxes):
    row = next(row for row, _, _ in rows_of("recolor", boxes, 3) if inverse(row))
    twin = next(t for t in row["objects_after"] if t["id"] == row["operations"][0]["subject"])
    row["objects_after"] = [*row["objects_after"], {**twin, "id": "twin"}]
    assert inverse(row) is None


def test_pairs_without_objects_or_with_two_steps_have_no_inverse():
    row = {
        "pair_id": "p2p-0000000-000", "language": "en", "edit_kind": "move", "objects_before": None,
        "objects_after": None, "instructions": [{"kind": "move"}], "operations": None,
    }  # fmt: skip
    assert inverse(row) is None
