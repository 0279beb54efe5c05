"""Resolving, applying and undoing, on scenes that the sampler draws, for every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from renderers.sampler import SamplerSettings, sample_scene
from spatial import geometry, relations
from spatial.instruction import CAMERA_KINDS, Expression, Instruction
from spatial.operation import Change, Operation, apply, exchange, invert
from spatial.propose import SCENE_KINDS, propose
from spatial.resolve import resolve
from spatial.scene import Mesh, Scene, SpatialError
from spatial.viewpoint import mirror_instruction, mirror_operation, mirror_scene
from tests.spatial.conftest import Boxes, scene, thing

SIZE = SamplerSettings(128, 128, (2, 4))
seeds = st.integers(0, 2**32)


def drawn(kind: str, seed: int, boxes: Boxes) -> tuple[Scene, Instruction, Operation, Scene]:
    """A scene, an instruction, its operation and the scene afterwards; draws that do not work out are skipped."""
    rng = np.random.default_rng(seed)
    for _ in range(6):
        try:
            before = sample_scene(kind, SIZE, boxes, rng)
            said = propose(kind, before, boxes, rng)
            operation = resolve(said, before, boxes, rng)
            return before, said, operation, apply(operation, before, boxes)
        except SpatialError:
            continue
    assume(False)
    raise AssertionError


def objects(scene: Scene) -> dict[str, object]:
    return {thing.id: thing for thing in scene.objects}


@pytest.mark.parametrize("kind", SCENE_KINDS)
@settings(max_examples=8)
@given(seeds)
def test_undoing_restores_the_scene(boxes: Boxes, kind: str, seed: int) -> None:
    before, _, operation, after = drawn(kind, seed, boxes)
    assert after != before
    back = after
    for step in invert(operation).parts():
        back = exchange(step, back)
    assert objects(back) == objects(before)
    assert (back.camera, back.light, back.backdrop) == (before.camera, before.light, before.backdrop)
    assert invert(invert(operation)).changes == operation.changes


@pytest.mark.parametrize("kind", SCENE_KINDS)
@settings(max_examples=8)
@given(seeds)
def test_only_what_is_named_changes(boxes: Boxes, kind: str, seed: int) -> None:
    before, _, operation, after = drawn(kind, seed, boxes)
    for name, unnamed in objects(before).items():
        if name not in operation.touched():
            assert objects(after)[name] == unnamed
    if kind not in (*CAMERA_KINDS, "mirror"):
        assert after.camera == before.camera


@pytest.mark.parametrize("kind", SCENE_KINDS)
@settings(max_examples=6)
@given(seeds)
def test_mirrored_operation_does_in_the_mirror_what_it_does_here(boxes: Boxes, kind: str, seed: int) -> None:
    before, said, operation, after = drawn(kind, seed, boxes)
    mirrored = mirror_operation(operation)
    try:
        there = apply(mirrored, mirror_scene(before), boxes)
    except SpatialError as error:
        # A pixel on an edge belongs to one side of it; what is seen just enough here may be too little there.
        assume(error.reason != "hidden" or min(geometry.visible_fractions(after, boxes).values()) > 0.97)
        raise
    assert there == mirror_scene(after)
    assert mirror_instruction(mirror_instruction(said)) == said
    if kind == "move" and operation.direction in ("left", "right"):
        assert {mirrored.direction, operation.direction} == {"left", "right"}
        assert mirror_instruction(said).direction == mirrored.direction


@settings(max_examples=40)
@given(seeds, st.sampled_from(["left", "right"]), st.integers(3, 25))
def test_move_by_percent_moves_the_centre_by_that_share(
    boxes: Boxes, seed: int, direction: str, percent: int
) -> None:
    rng = np.random.default_rng(seed)
    before = sample_scene("move", SIZE, boxes, rng)
    target = before.objects[0]
    said = Instruction(
        "move", subject=Expression("object", color=target.color, material=target.material),
        direction=direction, amount=float(percent), unit="percent_width",
    )  # fmt: skip
    try:
        operation = resolve(said, before, boxes, rng)
    except SpatialError as error:
        assume(error.reason is None)
        raise
    assert operation.subject is not None
    camera, after = before.camera, apply(operation, before, boxes)
    was = geometry.centre(before[operation.subject], camera, boxes)
    now = geometry.centre(after[operation.subject], camera, boxes)
    sign = 1 if direction == "right" else -1
    assert now[0] - was[0] == pytest.approx(sign * percent / 100 * 128, abs=0.2)
    assert geometry.depth_of(after[operation.subject], camera) == pytest.approx(
        geometry.depth_of(before[operation.subject], camera)
    )
    assert after[operation.subject].pose.position[2] == before[operation.subject].pose.position[2]


def resolved(said: Instruction, room: Scene, boxes: Boxes, seed: int = 0) -> Operation:
    return resolve(said, room, boxes, np.random.default_rng(seed))


def refused(said: Instruction, room: Scene, boxes: Boxes) -> str:
    with pytest.raises(SpatialError) as caught:
        resolved(said, room, boxes)
    return caught.value.reason


ball, cube = Expression("ball"), Expression("cube")


def move(direction: str, amount: float, unit: str) -> Instruction:
    return Instruction("move", subject=ball, direction=direction, amount=amount, unit=unit)


def test_nothing_is_clamped(boxes: Boxes) -> None:
    """A move past the edge, into another thing or off a table is refused, never shortened."""
    room = scene(thing("ball-1", 1.0, 0.3), thing("cube-1", -0.5, 0.3))
    assert refused(move("right", 60, "percent_width"), room, boxes) == "out_of_frame"
    assert refused(move("left", 1.4, "metre"), room, boxes) == "collision"
    table = thing("table-1", 0, 0, scale=2)
    on_it = replace(
        thing("ball-1", 0, 0, scale=0.5),
        support="table-1",
        pose=replace(thing("ball-1", 0, 0, scale=0.5).pose, position=(0.0, 0.0, 1.0)),
    )
    assert refused(move("right", 1.0, "metre"), scene(table, on_it), boxes) == "off_support"


def test_what_carries_others_stays(boxes: Boxes) -> None:
    table = thing("table-1", 0, 0, scale=2)
    on_it = replace(
        thing("ball-1", 0, 0, scale=0.5),
        support="table-1",
        pose=replace(thing("ball-1", 0, 0, scale=0.5).pose, position=(0.0, 0.0, 1.0)),
    )
    said = Instruction("remove", subject=Expression("table"))
    assert refused(said, scene(table, on_it), boxes) == "carries_others"


def test_asking_for_what_is_so_already_is_refused(boxes: Boxes) -> None:
    room = scene(thing("ball-1", -1, 0.3), thing("cube-1", 0.8, 0.3, "blue"))
    assert refused(Instruction("recolor", subject=ball, value="red"), room, boxes) == "no_change"
    left = Instruction("relate", subject=ball, relation="left_of", reference=cube)
    assert refused(left, room, boxes) == "no_change"
    one = Instruction("count", subject=ball, amount=1.0, unit="count")
    assert refused(one, room, boxes) == "no_change"


def test_operation_of_another_scene_is_stale(boxes: Boxes) -> None:
    room = scene(thing("ball-1", -1, 0.3))
    operation = resolved(move("right", 10, "percent_width"), room, boxes)
    with pytest.raises(SpatialError) as caught:
        apply(operation, scene(thing("ball-1", -0.9, 0.3)), boxes)
    assert caught.value.reason == "stale_operation"


def test_forward_is_towards_the_viewer(boxes: Boxes) -> None:
    room = scene(thing("ball-1", 0, 1))
    nearer = apply(resolved(move("forward", 0.5, "metre"), room, boxes), room, boxes)
    assert nearer["ball-1"].pose.position[1] == pytest.approx(0.5)


def test_clockwise_is_as_seen_from_above(boxes: Boxes) -> None:
    room = scene(thing("ball-1", 0, 0.5))
    said = Instruction("rotate", subject=ball, direction="clockwise", amount=90.0, unit="degree")
    after = apply(resolved(said, room, boxes), room, boxes)
    assert geometry.yaw(after["ball-1"].pose) == pytest.approx(-90)


def test_orbit_to_the_left_moves_the_camera_to_its_left_around_the_scene(boxes: Boxes) -> None:
    room = scene(thing("ball-1", 0, 0), thing("cube-1", 0.9, 0.6))
    said = Instruction("orbit", direction="left", amount=30.0, unit="degree")
    after = apply(resolved(said, room, boxes), room, boxes)
    eye = geometry.camera_eye(after.camera)
    assert eye[0] < -1 and eye[2] == pytest.approx(4.0)
    assert geometry.ground_point(after.camera, after.camera.cx, after.camera.cy) == pytest.approx(
        geometry.ground_point(room.camera, room.camera.cx, room.camera.cy)
    )


def test_panning_left_moves_the_picture_right(boxes: Boxes) -> None:
    room = scene(thing("ball-1", 0, 0))
    said = Instruction("pan", direction="left", amount=5.0, unit="degree")
    after = apply(resolved(said, room, boxes), room, boxes)
    assert (
        geometry.centre(after["ball-1"], after.camera, boxes)[0]
        > geometry.centre(room["ball-1"], room.camera, boxes)[0] + 5
    )


@pytest.mark.parametrize("relation", ["left_of", "right_of", "in_front_of", "behind", "next_to"])
def test_relation_asked_for_holds_afterwards(boxes: Boxes, relation: str) -> None:
    opposite = {"left_of": (1.2, 0.4), "right_of": (-1.2, 0.4), "in_front_of": (0.5, 1.6)}
    room = scene(thing("ball-1", *opposite.get(relation, (1.4, -0.9)), scale=0.6), thing("cube-1", 0, 0.3))
    said = Instruction("relate", subject=ball, relation=relation, reference=cube)
    after = apply(resolved(said, room, boxes), room, boxes)
    assert relations.holds(relation, after["ball-1"], after["cube-1"], after, boxes, dominant=True)


def test_swap_exchanges_columns_and_depths(boxes: Boxes) -> None:
    room = scene(thing("ball-1", -1, 1), thing("cube-1", 1, -0.3, scale=0.7))
    after = apply(resolved(Instruction("swap", subject=ball, reference=cube), room, boxes), room, boxes)
    for one, other in (("ball-1", "cube-1"), ("cube-1", "ball-1")):
        assert geometry.centre(after[one], room.camera, boxes)[0] == pytest.approx(
            geometry.centre(room[other], room.camera, boxes)[0], abs=0.2
        )
        assert geometry.depth_of(after[one], room.camera) == pytest.approx(
            geometry.depth_of(room[other], room.camera)
        )


def test_adding_n_adds_exactly_n_that_are_seen(boxes: Boxes) -> None:
    room = scene(thing("cube-1", 0, 0.5))
    said = Instruction("add", subject=Expression("cat", color="white"), amount=2.0, unit="count")
    after = apply(resolved(said, room, boxes), room, boxes)
    new = [t for t in after.objects if t.id not in room]
    assert [t.noun for t in new] == ["cat", "cat"] and {t.color for t in new} == {"white"}
    shares = geometry.visible_fractions(after, boxes)
    assert min(shares[t.id] for t in new) >= 0.8


@pytest.mark.parametrize(("wanted", "kept"), [(1, 1), (4, 4)])
def test_count_is_reached_from_either_side(boxes: Boxes, wanted: int, kept: int) -> None:
    room = scene(thing("ball-1", -1, 0.5), thing("ball-2", 0.3, -0.2, "blue"))
    said = Instruction("count", subject=ball, amount=float(wanted), unit="count")
    after = apply(resolved(said, room, boxes), room, boxes)
    assert sum(t.noun == "ball" for t in after.objects) == kept


def test_sequence_carries_its_pronoun(boxes: Boxes) -> None:
    room = scene(thing("ball-1", -0.8, 0.5), thing("cube-1", 1, -0.3, "blue"))
    said = Instruction(
        "sequence",
        steps=(
            move("right", 10, "percent_width"),
            Instruction("recolor", subject=Expression("it"), value="green"),
        ),
    )
    after = apply(resolved(said, room, boxes), room, boxes)
    assert after["ball-1"].color == "green" and after["cube-1"].color == "blue"


def test_vague_amounts_are_small_and_drawn(boxes: Boxes) -> None:
    room = scene(thing("ball-1", -0.8, 0.5))
    said = Instruction("move", subject=ball, direction="right", vagueness="slightly")
    amounts = {resolved(said, room, boxes, seed).amount for seed in range(8)}
    assert len(amounts) > 4 and all(2 <= amount <= 15 for amount in amounts if amount)


def test_edits_of_pictures_are_not_for_scenes(boxes: Boxes) -> None:
    assert (
        refused(Instruction("style", value="sketch"), scene(thing("ball-1", 0, 0)), boxes)
        == "unsupported_kind"
    )


def test_change_of_nothing_to_nothing_is_no_operation(boxes: Boxes) -> None:
    room = scene(thing("ball-1", 0, 0))
    swapped = Operation("add", changes=(Change(None, room["ball-1"]),))
    with pytest.raises(SpatialError) as caught:
        apply(swapped, room, boxes)
    assert caught.value.reason == "stale_operation"


def test_things_that_bring_their_own_looks_are_given_no_colour_to_name(boxes: Boxes) -> None:
    class Unpainted(Boxes):
        def mesh(self, asset: str) -> Mesh:
            return replace(super().mesh(asset), roles=("wood",))

    bare = Unpainted()
    drawn_scene = sample_scene("move", SIZE, bare, np.random.default_rng(0))
    assert {(t.color, t.material) for t in drawn_scene.objects} == {(None, None)}
    room = scene(thing("cube-1", 0, 0.5))
    one = Instruction("add", subject=Expression("cat"), amount=1.0, unit="count")
    added = resolve(one, room, bare, np.random.default_rng(0)).changes[0].after
    assert added is not None and added.color is None
    white = replace(one, subject=Expression("cat", color="white"))
    with pytest.raises(SpatialError) as caught:
        resolve(white, room, bare, np.random.default_rng(0))
    assert caught.value.reason == "unpaintable"


def test_undoing_is_described_as_what_undoes(boxes: Boxes) -> None:
    room = scene(thing("ball-1", -1.2, 0.5), thing("cube-1", 1.4, 0.5))
    halfway = Instruction("move", subject=ball, reference=cube, value="toward", amount=0.5, unit="factor")
    back = invert(resolved(halfway, room, boxes))
    assert (back.value, back.amount) == ("away", 1.0)
    assert (invert(back).value, invert(back).amount) == ("toward", 0.5)
    gone = invert(resolved(Instruction("remove", subject=cube), room, boxes))
    assert (gone.kind, gone.amount, gone.unit) == ("add", 1.0, "count")
    copied = resolved(Instruction("duplicate", subject=ball, amount=1.0, unit="count"), room, boxes)
    assert invert(copied).subject == copied.objects[0] != "ball-1"
