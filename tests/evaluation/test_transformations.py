"""Which edits of a set a tuned editor is asked for: by transformations, and some of those that ask for a number."""

from __future__ import annotations

import pytest

from evaluation.transformations import ENOUGH, chosen, transformation_of


@pytest.mark.parametrize(
    ("text", "name", "after"),
    [
        ("make the ball red", "recolor:red", "a red object"),
        ("đổi màu quả bóng thành đỏ", "recolor:red", "a red object"),
        ("the cup should be wooden", "material:wood", "a wooden object"),
        ("make it night", "lighting:night", "objects in night light"),
        ("shine the light from the left", "lighting:side_left", "objects in light from the left"),
        ("use a tiled floor", "background:floor:tiles", "objects on a floor of tiles"),
        ("put the ball on the left", "side:left", "an object on the left"),
        ("put the ball in the lower-left corner", None, None),
        ("move the ball 10% to the left", None, None),
        ("replace the ball with a cube", None, None),
        ("make it dreamy", None, None),
    ],
)
def test_an_instruction_is_a_transformation_if_two_texts_tell_it(text, name, after):
    found = transformation_of(text)
    assert (found and found.name, found and found.after) == (name, after)
    assert found is None or found.before != found.after


def row(
    number: int, text: str, before: str | None = "a ball", after: str | None = "a ball on the left"
) -> dict:
    return {
        "pair_id": f"edit-{number}", "edit_prompt": text, "original_prompt": before, "edited_prompt": after,
    }  # fmt: skip


def test_numbers_that_are_tried_are_those_that_captions_tell_and_the_same_whatever_their_order():
    far = [row(n, "move the ball 10% to the left") for n in range(40)]
    other = [
        row(40, "move the ball to the left"), row(41, "add two balls"), row(42, "make the ball red"),
        row(43, "turn the car clockwise by 90 degrees", after="a ball"), row(44, "zoom in 1.5x", after=None),
    ]  # fmt: skip
    found = chosen([*far, *other], ["recolor:red", "side:left"], 32)
    assert (found.edits, found.numbers, found.told, len(set(found.numeric))) == (45, 42, 40, 32)
    assert set(found.numeric) <= {one["pair_id"] for one in far}
    assert found.uses == {"recolor:red": 1, "side:left": 0} and found.not_expressible == 45 - 32 - 1
    assert chosen([*other, *reversed(far)], ["recolor:red"], 32).numeric == found.numeric
    assert set(chosen(far, [], 8).numeric) < set(found.numeric), "of more they are a part"
    assert chosen(far, [], 0).numeric == () and len(chosen(far, [], 99).numeric) == 40


def test_transformations_that_come_up_often_and_are_not_named_are_told():
    rows = [
        row(n, "make the ball red" if n < ENOUGH else "make the ball blue") for n in range(2 * ENOUGH - 1)
    ]
    found = chosen(rows, ["lighting:night"], 0)
    assert found.others == {"recolor:red": ENOUGH} and found.not_expressible == len(rows)
