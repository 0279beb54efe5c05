"""Prompts have the answers that they claim, and are judged by what is in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from filters.reader import Sighting
from models.starter import measure, measure_clip
from models.starter.captions import plain_both, wrong_attribute
from models.starter.data import Scenes
from models.starter.prompts import names_a_side, prompts, shown, sides_right
from models.starter.world import COLORS, KINDS
from spatial.captioning import Facts
from spatial.instruction import Expression
from tests.models.scenes import scenes


def sighting(kind: str, color: str, x: float) -> Sighting:
    box = (x - 5, 10, x + 5, 20)
    return Sighting(kind, color, "matte", box, (x, 15), None, 0.9, 0.9, 0.9, 0.9, None)


def test_prompts_come_in_equal_parts_and_say_every_colour_and_kind():
    found = prompts(scenes(30), 60)
    assert [len([p for p in found if len(p.things) == n]) for n in (1, 2)] == [20, 40]
    assert sum(p.sided for p in found) == 20
    assert found == prompts(scenes(30), 60)
    for prompt in found:
        assert all(color in prompt.text for _, color in prompt.things), prompt
        assert prompt.sided == (len(prompt.things) == 2 and names_a_side(prompt.text)), prompt


def test_sided_prompt_names_its_things_from_left_to_right():
    """Read by the words alone: where "A to the left of B" stands, A comes first."""
    checked = 0
    for prompt in prompts(scenes(30), 40, ["sides"]):
        left, found, right = prompt.text.partition(" to the left of ")
        if found:
            assert prompt.things[0][1] in left and prompt.things[1][1] in right, prompt
            checked += 1
    assert checked > 2


def test_too_few_scenes_for_a_part_are_an_error():
    with pytest.raises(ValueError, match="give 0 prompts of 'one'"):
        prompts(Scenes((), np.zeros((0, 128, 128, 3), np.uint8), (), ()), 6)


def test_a_thing_is_shown_only_where_kind_and_colour_are_one_things():
    things = (("mug", "red"), ("ball", "blue"))
    both = [sighting("ball", "blue", 20), sighting("mug", "red", 80)]
    crossed = [sighting("ball", "red", 20), sighting("mug", "blue", 80)]
    assert shown(things, crossed) is None and shown(things, both[:1]) is None
    found = shown(things, both)
    assert found == both[::-1] and not sides_right(found)
    assert shown((("mug", "red"),) * 2, both) is None  # one mug is not two


class Fixed:
    """A reader that sees the same everywhere."""

    def __init__(self, *seen: Sighting) -> None:
        self.seen = seen

    def read(self, images):
        return [self.seen for _ in images]


def test_figures_count_prompts_by_what_they_ask():
    asked = prompts(scenes(30), 30)
    nothing = measure.judged(Fixed(), asked, np.zeros((30, 8, 8, 3), np.uint8))
    assert (nothing["one"], nothing["two"], nothing["sides_of_all"]) == (0, 0, 0)
    assert nothing["prompts"] == [10, 20, 10] and np.isnan(nothing["sides"])
    every = [sighting(kind, color, 5) for kind in KINDS for color in COLORS] * 2
    all_there = measure.judged(Fixed(*every), asked, np.zeros((30, 8, 8, 3), np.uint8))
    assert (all_there["one"], all_there["two"]) == (1, 1)
    assert all_there["sides"] == 0  # all in one place: none is left of another


def test_scenes_of_the_gallery_exclude_each_other():
    red, blue = Expression("mug", color="red", material="matte"), Expression("cat", color="blue")
    one = Facts((red,), ("left",), {}, "grass", "night")
    more = Facts((red, blue), ("left", "right"), {}, "grass", "night")
    elsewhere = Facts((red,), ("left",), {}, "wood", "night")
    twice = Facts((red, red), ("left", "right"), {}, "wood", "night")
    assert measure_clip.exclusive([one, more, elsewhere, one]) == [0, 2]
    assert measure_clip.exclusive([more, twice, elsewhere]) == [0, 1]


@pytest.mark.parametrize("attribute", ["kind", "color", "material"])
def test_full_caption_says_all_and_is_made_wrong_in_one_attribute_alone(attribute):
    things = (
        Expression("mug", color="red", material="metal"),
        Expression("cat", color="blue", material="wood"),
    )
    facts = Facts(things, ("left", "right"), {(0, 1): ("left_of",), (1, 0): ("right_of",)}, "grass", "night")
    for place in range(40):
        right = measure_clip.full(facts, place).lower().replace(",", "").rstrip(".").split()
        wrong = (
            measure_clip.full_but_wrong(facts, place, attribute).lower().replace(",", "").rstrip(".").split()
        )
        assert {"red", "blue", "metal"} <= set(right), right
        assert "night" in right or "dark" in right, right
        assert 1 <= len(set(right) ^ set(wrong)) <= 4, (right, wrong)  # the word, and "a" or "an" beside it


def test_wrong_caption_of_a_pair_differs_in_one_word_and_first_in_what_the_edit_changed():
    rng = np.random.default_rng(0)
    for scene in scenes(30).scenes:
        right, wrong = plain_both(scene, rng)
        assert right != wrong
    for _ in range(30):
        said = wrong_attribute(
            "A blue metal mug, on grass at night", rng, "An orange metal mug, on grass at night"
        )
        assert "metal mug, on grass at night" in said and "blue" not in said, said
        assert said.startswith("An orange" if "orange" in said else "A "), said


def test_caption_of_another_world_cannot_be_made_wrong():
    with pytest.raises(ValueError, match="no word of the starter world"):
        wrong_attribute("two people swap places", np.random.default_rng(0))
