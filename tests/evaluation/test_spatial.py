"""Success in space: the true picture succeeds, the unchanged one does not, and each way to fail has its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.spatial import NOT_SPATIAL, Thing, judge, match, seen, things_of
from filters.reader import Sighting

SIDE = 200


def thing(
    name: str, x: float, y: float, size: float = 40, kind: str = "ball", color: str = "red"
) -> dict[str, Any]:
    box = [x - size / 2, y - size / 2, x + size / 2, y + size / 2]
    return {
        "id": name,
        "name": kind,
        "color": color,
        "box": box,
        "area": int(size * size),
        "material": "matte",
    }


CAT = thing("cat-1", 150, 150, kind="cat", color="blue")
BALL = thing("ball-1", 60, 100)
CAMERA = {
    "fx": 200.0, "fy": 200.0, "cx": 100.0, "cy": 100.0, "width": 200, "height": 200,
    # From 1.5 m above the floor, level, towards +y.
    "world_to_camera": [[1.0, 0, 0, 0], [0, 0, -1.0, 1.5], [0, 1.0, 0, 0], [0, 0, 0, 1.0]],
}  # fmt: skip


def row(
    kind: str,
    after: list[dict[str, Any]],
    before: list[dict[str, Any]] | None = None,
    said: dict | None = None,
    **done: Any,
):
    empty = dict.fromkeys(
        ("subject", "reference", "reference2", "direction", "amount", "region", "relation", "objects")
    )
    return {
        "width": SIDE, "height": SIDE, "objects_before": before or [BALL, CAT], "objects_after": after,
        "operations": [empty | {"kind": kind, "subject": "ball-1"} | done],
        "instructions": [dict.fromkeys(("amount", "vagueness", "direction")) | {"kind": kind} | (said or {})],
        "camera_after": CAMERA,
    }  # fmt: skip


def says(pair: dict[str, Any], *things: dict[str, Any], **more: Any) -> str | None:
    return judge(pair, things_of(things), **more).reason


def moved(one: dict[str, Any], dx: float = 0, dy: float = 0) -> dict[str, Any]:
    x0, y0, x1, y1 = one["box"]
    return {**one, "box": [x0 + dx, y0 + dy, x1 + dx, y1 + dy]}


MOVE = row(
    "move",
    [moved(BALL, 40), CAT],
    said={"amount": 20.0, "direction": "right"},
    direction="right",
    amount=20.0,
)
SMALL = row(
    "move", [moved(BALL, 12), CAT], said={"amount": 6.0, "direction": "right"}, direction="right", amount=6.0
)


@pytest.mark.parametrize(
    ("pair", "found", "wanted"),
    [
        (MOVE, [moved(BALL, 40), CAT], None),
        (MOVE, [moved(BALL, 31), CAT], None),  # 4.5% of the width off
        (MOVE, [moved(BALL, 29), CAT], "named_off"),
        (MOVE, [BALL, CAT], "named_off"),
        (MOVE, [moved(BALL, 40), moved(CAT, 7)], "unnamed_moved"),
        (MOVE, [moved(BALL, 40)], "other_things"),
        (MOVE, [moved(BALL, 40), {**CAT, "color": "green"}], "other_things"),
        (MOVE, [moved(BALL, 40), CAT, thing("x", 20, 20)], "other_things"),
        (SMALL, [moved(BALL, 12), CAT], None),
        (SMALL, [moved(BALL, 5), CAT], "named_off"),  # within 5% of the width, but not half of the way
    ],
)
def test_a_thing_that_is_moved_by_an_amount(pair, found, wanted):
    assert says(pair, *found) == wanted


@pytest.mark.parametrize(
    ("dx", "wanted"),
    [(16, None), (4.1, None), (29, None), (3, "wrong_extent"), (40, "wrong_extent"), (-16, "wrong_way")],
)
def test_a_vague_move_is_that_way_and_not_too_far(dx, wanted):
    pair = row(
        "move",
        [moved(BALL, 16), CAT],
        said={"vagueness": "slightly", "direction": "right"},
        direction="right",
    )
    assert says(pair, moved(BALL, dx), CAT) == wanted


def test_a_move_whose_extent_is_open_may_go_far():
    pair = row("move", [moved(BALL, 16), CAT], said={"direction": "right"}, direction="right")
    assert says(pair, moved(BALL, 80), CAT) is None
    assert says(pair, moved(BALL, -80), CAT) == "wrong_way" and says(pair, BALL, CAT) == "wrong_way"


def test_a_place_is_its_region_and_nothing_more():
    pair = row("place", [thing("ball-1", 30, 170), CAT], region="lower-left")
    assert says(pair, thing("b", 50, 150), CAT) is None
    assert says(pair, thing("b", 100, 170), CAT) == "wrong_region"


def test_both_of_a_swap_have_to_go():
    after = [thing("ball-1", 150, 150), thing("cat-1", 60, 100, kind="cat", color="blue")]
    pair = row("swap", after, reference="cat-1")
    assert says(pair, *after) is None
    assert says(pair, after[0], CAT) == "named_off" and says(pair, BALL, CAT) == "named_off"


@pytest.mark.parametrize(
    ("size", "wanted"), [(60, None), (54, None), (68, None), (48, "wrong_size"), (72, "wrong_size")]
)
def test_a_resize_is_measured_by_the_boxs_side(size, wanted):
    pair = row("resize", [thing("ball-1", 60, 100, 60), CAT], amount=1.5)
    assert says(pair, thing("b", 60, 100, size), CAT) == wanted


def test_relations_are_judged_on_the_floor():
    # The cat's foot is at (150, 170): with fy 200 and eye at 1.5 m that is 200 * 1.5 / 70 = 4.3 m away.
    pair = row("relate", [thing("ball-1", 60, 150), CAT], reference="cat-1", relation="left_of")
    assert says(pair, thing("b", 60, 150), CAT) is None
    assert says(pair, thing("b", 190, 150), CAT) == "wrong_relation"
    behind = row("relate", [thing("ball-1", 150, 130), CAT], reference="cat-1", relation="behind")
    assert says(behind, thing("b", 150, 130, 30), CAT) is None
    assert says(behind, thing("b", 150, 175, 40), CAT) == "wrong_relation"


def test_a_turn_of_the_camera_moves_everything():
    after = [moved(BALL, 50), moved(CAT, 30)]
    pair = row("pan", after, subject=None)
    assert says(pair, *after) is None and says(pair, moved(BALL, 55), moved(CAT, 36)) is None
    assert says(pair, BALL, CAT) == "named_off"
    zoomed = row(
        "zoom", [thing("ball-1", 40, 100, 60), thing("cat-1", 170, 170, 60, "cat", "blue")], subject=None
    )
    assert says(zoomed, thing("b", 40, 100, 40), thing("c", 170, 170, 40, "cat", "blue")) == "wrong_size"


def test_what_is_removed_is_gone_and_what_is_added_is_there():
    remove = row("remove", [CAT], objects=["ball-1"])
    assert says(remove, CAT) is None and says(remove, BALL, CAT) == "other_things"
    new = thing("ball-2", 30, 30, color="green")
    add = row("add", [BALL, CAT, new], subject="ball-2", objects=["ball-2"], region="upper-left")
    assert says(add, BALL, CAT, moved(new, 20, 20)) is None
    assert says(add, BALL, CAT, moved(new, 100)) == "wrong_region" and says(add, BALL, CAT) == "other_things"


def counted(after: list[dict[str, Any]], subject: str, kind: str = "count", **done: Any) -> dict[str, Any]:
    before = [BALL, CAT, GREEN]
    new = [one["id"] for one in after if one not in before]
    gone = [one["id"] for one in before if one not in after]
    pair = row(kind, after, before, said={"subject": subject}, subject=None, objects=new + gone, **done)
    return pair | {"language": "en"}


GREEN = thing("ball-2", 100, 40, color="green")
PINK = thing("ball-3", 150, 60, color="pink")


def test_a_colour_that_is_not_said_is_free_and_one_that_is_said_is_not():
    for kind in ("add", "count"):
        free = counted([BALL, CAT, GREEN, PINK], "balls", kind)
        assert says(free, BALL, CAT, GREEN, PINK) is None
        assert says(free, BALL, CAT, GREEN, {**PINK, "color": "red"}) is None  # as one that was there
        assert (
            says(free, BALL, CAT, PINK, {**GREEN, "color": "red"}) == "other_things"
        )  # the green one changed
        assert says(free, BALL, CAT, GREEN, {**PINK, "name": "cube"}) == "other_things"
        assert says(free, BALL, CAT, GREEN) == "other_things"
        said = counted([BALL, CAT, GREEN, PINK], "pink balls", kind)
        assert says(said, BALL, CAT, GREEN, {**PINK, "color": "red"}) == "other_things"


def test_where_fewer_are_to_remain_any_may_go_and_the_others_stay():
    fewer = counted([BALL, CAT], "balls")
    assert says(fewer, BALL, CAT) is None and says(fewer, GREEN, CAT) is None
    assert says(fewer, moved(GREEN, 30), CAT) == says(fewer, moved(BALL, 30), CAT) == "unnamed_moved"
    assert says(fewer, BALL, GREEN) == says(fewer, BALL, GREEN, CAT) == "other_things"
    red = counted([BALL, CAT], "red balls")  # of which there is one, and nothing is to be done
    assert says(red, GREEN, CAT) == "other_things"


def test_several_that_are_added_and_relations_are_looked_at():
    some = [thing(f"cube-{n}", x, 40, kind="cube") for n, x in ((1, 30), (2, 60))]
    pair = counted([BALL, CAT, GREEN, *some], "cubes", "add", region="upper-left")
    assert says(pair, BALL, CAT, GREEN, *some) is None
    assert says(pair, BALL, CAT, GREEN, some[0], moved(some[1], 120)) == "wrong_region"
    beside = counted(
        [BALL, CAT, GREEN, thing("cube-1", 60, 150, kind="cube")], "cube", "add", reference="cat-1",
        relation="left_of",
    )  # fmt: skip
    assert says(beside, BALL, CAT, GREEN, thing("c", 60, 150, kind="cube")) is None
    assert says(beside, BALL, CAT, GREEN, thing("c", 190, 150, kind="cube")) == "wrong_relation"


def test_a_vague_move_goes_ahead_more_than_aside():
    pair = row("move", [moved(BALL, 16), CAT], said={"direction": "right"}, direction="right")
    assert says(pair, moved(BALL, 60, 50), CAT) is None
    assert says(pair, moved(BALL, 16, 60), CAT) == "wrong_way"
    assert says(pair, moved(BALL, 5, 9), CAT) is None  # within what a place may be off


def test_turns_count_where_they_can_be_seen():
    pair = row("rotate", [CAT, BALL], subject="cat-1", amount=90.0)
    (cat, ball) = things_of([CAT, BALL])
    for yaw, wanted in ((90.0, None), (70.0, None), (-170.0, "wrong_turn"), (None, None)):
        assert judge(pair, [replace(cat, yaw=yaw), ball], {"cat-1": 90.0}).reason == wanted
    assert judge(pair, [replace(cat, yaw=-175.0), ball], {"cat-1": 175.0}).success


def test_alike_things_are_matched_so_that_distances_are_least():
    ours = things_of([thing("a", 20, 20), thing("b", 100, 20)])
    found = things_of([thing("x", 98, 22), thing("y", 25, 20)])
    assert {name: other.id for name, other in match(ours, found).items()} == {"a": "y", "b": "x"}


def test_a_material_is_read():
    wooden = {**BALL, "material": "wood"}
    pair = row("material", [wooden, CAT])
    assert says(pair, wooden, CAT) is None and says(pair, BALL, CAT) == "wrong_material"


def test_hidden_things_are_not_looked_for():
    assert things_of([BALL, {**CAT, "area": 0}, {**CAT, "box": None}]) == things_of([BALL])


def test_what_the_reader_says_becomes_things():
    one = Sighting("ball", "red", "matte", (1, 2, 3, 4), (2, 3), None, 0.9, 0.9, 0.9, 0.9, None)
    assert seen([one]) == (Thing("seen-0", "ball", "red", (1, 2, 3, 4), "matte"),)


def test_kinds_that_nobody_can_read_are_named():
    assert {"lighting", "background", "style", "replace"} == NOT_SPATIAL
    pair = row("lighting", [BALL, CAT], subject=None)
    assert says(pair, BALL, CAT) is None and says(pair, moved(BALL, 10), CAT) == "unnamed_moved"
    assert np.isfinite(judge(pair, things_of([BALL, CAT])).off)
