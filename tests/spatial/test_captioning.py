"""Captions in many forms say what is true, name everything, and know left from right."""

from __future__ import annotations

import numpy as np
import pytest

from renderers.sampler import SamplerSettings, sample_scene
from renderers.shapes import ProceduralShapes
from spatial.captioning import Facts, facts_of, mirrored, say_caption
from spatial.instruction import LANGUAGES, Expression
from spatial.lexicon import Lexicon
from spatial.relations import holds
from spatial.scene import Scene
from spatial.viewpoint import mirror_scene
from spatial.vocabulary import COLORS, ENVIRONMENTS, FLOORS

SHAPES = ProceduralShapes()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    settings = SamplerSettings(128, 128, (1, 4))
    return [sample_scene("move", settings, SHAPES, np.random.default_rng(seed)) for seed in range(25)]


def two(relation: str = "left_of") -> Facts:
    """A red mug and a blue bottle."""
    things = (Expression("mug", color="red", material="matte"), Expression("bottle", color="blue"))
    return Facts(things, ("left", "right"), {(0, 1): (relation,)}, "wood", "sunset")


def many(facts: Facts, language: str = "en", count: int = 300) -> list[str]:
    return [say_caption(facts, language, np.random.default_rng(seed)) for seed in range(count)]


def test_every_relation_of_the_facts_holds_in_the_scene(scenes):
    for scene in scenes:
        facts = facts_of(scene, SHAPES)
        for (i, j), relations in facts.relations.items():
            ones = [
                t for t in scene.objects if (t.noun, t.color) == (facts.things[i].noun, facts.things[i].color)
            ]
            others = [
                t for t in scene.objects if (t.noun, t.color) == (facts.things[j].noun, facts.things[j].color)
            ]
            for relation in relations:
                assert any(
                    holds(relation, one, other, scene, SHAPES)
                    for one in ones
                    for other in others
                    if one != other
                )


def test_facts_of_the_mirrored_scene_are_the_mirrored_facts(scenes):
    for scene in scenes:
        expected, found = mirrored(facts_of(scene, SHAPES)), facts_of(mirror_scene(scene), SHAPES)
        assert (found.things, found.regions) == (expected.things, expected.regions)
        assert {pair: set(names) for pair, names in found.relations.items()} == {
            pair: set(names) for pair, names in expected.relations.items()
        }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_thing_is_named_and_no_other(scenes, language):
    lexicon = Lexicon.default()
    for number, scene in enumerate(scenes):
        facts = facts_of(scene, SHAPES)
        text = say_caption(facts, language, np.random.default_rng(number), lexicon=lexicon).lower()
        for thing in facts.things:
            noun = lexicon.noun(thing.noun, language)
            assert any(form.lower() in text for form in (*noun.one.said, *noun.many.said)), (text, thing)
        if language == "en":
            said = {color for color in COLORS if f" {color} " in f" {text.replace(',', ' ')} "}
            # Floors have colours of their own: "white tiles", "a gray floor", "a red carpet".
            assert said <= {thing.color for thing in facts.things} | {"white", "gray", "red"}


def test_left_is_never_said_of_what_is_right():
    for text in many(two("left_of")):
        assert "to the right of a blue" not in text and "right of a blue" not in text, text
        assert "bottle on the left" not in text, text


def test_two_that_stand_one_behind_the_other_have_no_sides():
    behind = Facts(two().things, ("centre", "centre"), {(0, 1): ("behind",), (1, 0): ("in_front_of",)})
    for text in many(behind):
        assert "left" not in text and "right" not in text, text


def test_captions_vary_from_bare_to_full():
    texts = set(many(two()))
    assert len(texts) > 60
    assert any("wood" in text for text in texts) and any("wood" not in text for text in texts)
    assert any(text.split()[0] == "from" for text in texts)


def test_colour_that_tells_two_of_a_kind_apart_is_always_said():
    mugs = (
        Expression("mug", color="red", material="matte"),
        Expression("mug", color="blue", material="matte"),
    )
    facts = Facts(mugs, ("left", "right"), {(0, 1): ("left_of",), (1, 0): ("right_of",)})
    for text in many(facts):
        assert "red" in text and "blue" in text, text


def test_two_alike_are_counted():
    ball = Expression("ball", color="red", material="matte")
    texts = many(Facts((ball, ball), ("left", "right"), {}))
    assert any("two red balls" in text for text in texts)
    assert all(text.lower().count("ball") == 1 for text in texts)


def test_same_seed_says_the_same():
    assert many(two(), count=40) == many(two(), count=40)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_floor_and_every_light_has_words(language):
    for floor in FLOORS:
        for environment in ENVIRONMENTS:
            facts = Facts(two().things, two().regions, two().relations, floor, environment)
            for seed in range(8):
                assert say_caption(facts, language, np.random.default_rng(seed))
