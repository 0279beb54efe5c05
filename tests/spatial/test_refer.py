from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.sampler import SamplerSettings, sample_scene
from spatial import refer, relations
from spatial.instruction import Expression
from spatial.scene import SpatialError
from spatial.viewpoint import mirror_camera, mirror_object
from tests.spatial.conftest import Boxes, scene, thing


def reason(expression: Expression, *things: object, boxes: Boxes) -> str:
    with pytest.raises(SpatialError) as caught:
        refer.ground(expression, scene(*things), boxes)  # type: ignore[arg-type]
    return caught.value.reason


def test_words_find_the_one_object(boxes: Boxes) -> None:
    room = scene(
        thing("ball-1", -1.5, 0), thing("ball-2", 0, 1, "blue", scale=0.6), thing("cube-1", 1.5, 0.5)
    )
    assert refer.ground(Expression("cube"), room, boxes) == "cube-1"
    assert refer.ground(Expression("ball", color="blue"), room, boxes) == "ball-2"
    assert refer.ground(Expression("ball", comparison="larger"), room, boxes) == "ball-1"
    assert refer.ground(Expression("ball", place="rightmost"), room, boxes) == "ball-2"
    assert refer.ground(Expression("object", place="nearest"), room, boxes) == "ball-1"
    behind = Expression("ball", relation="behind", reference=Expression("cube"))
    assert refer.ground(behind, room, boxes) == "ball-2"


def test_ambiguity_is_an_error(boxes: Boxes) -> None:
    two = (thing("ball-1", -1, 0), thing("ball-2", 1, 0.5, "blue"))
    assert reason(Expression("ball"), *two, boxes=boxes) == "ambiguous_reference"
    assert reason(Expression("it"), *two, boxes=boxes) == "ambiguous_reference"
    assert reason(Expression("cat"), *two, boxes=boxes) == "no_such_object"
    # Of one size: nothing is "the larger".
    assert reason(Expression("ball", comparison="larger"), *two, boxes=boxes) == "no_such_object"


def test_generic_words_ground_where_there_is_no_choice(boxes: Boxes) -> None:
    assert refer.ground(Expression("it"), scene(thing("ball-1", 0, 0)), boxes) == "ball-1"
    assert refer.ground(Expression("object", color="red"), scene(thing("ball-1", 0, 0)), boxes) == "ball-1"


def test_pronoun_follows_an_earlier_step(boxes: Boxes) -> None:
    room = scene(thing("ball-1", -1, 0), thing("ball-2", 1, 0.5, "blue"))
    assert refer.ground(Expression("it"), room, boxes, antecedent="ball-2") == "ball-2"


@pytest.mark.parametrize(("turn", "clear"), [(0, "in_front_of"), (180, "left_of"), (90, None)])
def test_things_with_a_front_take_relations_only_when_both_frames_agree(
    turn: float, clear: str | None, boxes: Boxes
) -> None:
    """A car that faces us has a clear front, one that shows its back a clear left; one seen from the side neither."""
    car = thing("car-1", 0, 0, turn=turn)
    for relation in ("in_front_of", "left_of"):
        assert relations.frames_agree(relation, car, scene().camera, boxes) == (relation == clear)
    ball = thing("ball-1", 0, 0)
    assert all(relations.frames_agree(r, ball, scene().camera, boxes) for r in relations.AXES)


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_descriptions_are_unique_and_no_part_can_be_dropped(boxes: Boxes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    room = sample_scene("move", SamplerSettings(128, 128, (2, 5)), boxes, rng)
    for target in room.objects:
        try:
            words = refer.describe(target.id, room, boxes, rng)
        except SpatialError as error:
            assert error.reason == "indescribable"
            continue
        assert refer.ground(words, room, boxes) == target.id
        if words.color or words.material or words.comparison or words.place or words.relation:
            assert len(refer.matching(Expression(words.noun), room, boxes)) > 1


@pytest.mark.parametrize("turn", [0, 50, 90, 180, -130])
def test_frames_agree_in_the_mirror_as_they_do_here(turn: float, boxes: Boxes) -> None:
    car, camera = thing("car-1", 0.4, 0, turn=turn), scene().camera
    swapped = {"left_of": "right_of", "right_of": "left_of"}
    for relation in relations.AXES:
        there = relations.frames_agree(
            swapped.get(relation, relation), mirror_object(car), mirror_camera(camera), boxes
        )
        assert relations.frames_agree(relation, car, camera, boxes) == there


def test_larger_has_to_look_larger_too(boxes: Boxes) -> None:
    """A small ball right before the viewer covers more of the picture than a large one far away."""
    room = scene(thing("ball-1", -0.3, 2.6, scale=1.0), thing("ball-2", 0.4, -1.2, scale=0.75))
    assert reason(Expression("ball", comparison="larger"), *room.objects, boxes=boxes) == "no_such_object"
