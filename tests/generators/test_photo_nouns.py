"""Every category of photos has words in both languages, that are said, read back and mean one thing."""

from __future__ import annotations

import numpy as np
import pytest

from generators.photo_nouns import photo_lexicon, photo_noun, photo_nouns
from spatial.instruction import LANGUAGES, Expression, Instruction
from spatial.language import parse, say
from spatial.lexicon import Lexicon

# In the order of their ids, from the instances of COCO 2017.
COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)


def test_all_categories_of_coco_have_a_noun_of_their_own():
    found = [photo_noun(name, "coco") for name in COCO.split(", ")]
    assert len(found) == 80 and None not in found
    assert len({noun.key for noun in found if noun}) == 80


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("key", photo_nouns())
def test_each_noun_is_said_and_read_back(key, language):
    lexicon, rng = photo_lexicon(), np.random.default_rng(7)
    ball = Expression("ball" if key != "ball" else "cube")
    for said in (
        Instruction("move", Expression(key), direction="left", amount=10, unit="percent_width"),
        Instruction("move", Expression(key, color="red"), direction="right", amount=5, unit="percent_width"),
        Instruction("remove", Expression(key, place="leftmost")),
        Instruction("swap", ball, Expression(key)),
        Instruction("count", Expression(key), amount=3, unit="count"),
    ):
        text = say(said, language, rng, lexicon=lexicon)
        assert parse(text, language, lexicon=lexicon) == said, text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("move the cup to the left by 10%", "mug"),
        ("Move the TV to the left by 10%", "tv"),
        ("move the hot dog to the left by 10%", "hot_dog"),
        ("move the couch to the left by 10%", "couch"),
        ("di chuyển con mèo sang trái 10%", "cat"),
        ("di chuyển chiếc xe đạp sang trái 10%", "bicycle"),
        ("di chuyển cái cốc sang trái 10%", "mug"),
        ("di chuyển trái táo sang trái 10%", "apple"),
        ("di chuyển cái muỗng sang trái 10%", "spoon"),
        ("kéo cái kéo sang trái 10%", "scissors"),
        ("di chuyển cái đồng hồ đỗ xe sang trái 10%", "parking_meter"),
        ("di chuyển trụ cứu hỏa sang trái 10%", "fire_hydrant"),
    ],
)  # fmt: skip
def test_what_people_say_of_them_is_understood(text, key):
    language = "en" if text.casefold().startswith("move") else "vi"
    found = parse(text, language, lexicon=photo_lexicon())
    assert found.kind == "move" and found.subject == Expression(key) and found.direction == "left"


def test_no_word_means_two_things():
    for language in LANGUAGES:
        for number in ("one", "many"):
            words = [
                (word, key)
                for key, noun in photo_lexicon().nouns[language].items()
                for word in getattr(noun, number)
            ]
            assert len({word for word, _ in words}) == len(words), (language, number)


def test_nouns_that_the_lexicon_has_keep_its_words():
    known = set(Lexicon.default().nouns["en"])
    assert {"cat", "car", "mug", "vase", "book"} <= set(photo_nouns()) & known
    for key in set(photo_nouns()) & known:
        assert photo_lexicon().noun(key, "vi") == Lexicon.default().noun(key, "vi")


def test_categories_of_open_images_are_those_of_the_same_thing():
    assert [getattr(photo_noun(name, "open_images"), "key", None) for name in (
        "Coffee cup", "Cat", "Cattle", "Flying disc", "Doughnut", "Computer mouse", "Mouse", "Mobile phone", "Building",
    )] == ["mug", "cat", "cow", "frisbee", "donut", "computer_mouse", None, "cell_phone", None]  # fmt: skip


def test_sets_of_ones_own_may_use_keys_words_and_names_of_others():
    names = ("teaspoon", "fire_hydrant", "Coin", "cup", "Coffee cup", "mouse", "quasar")
    keys = [getattr(photo_noun(name, "manual"), "key", None) for name in names]
    assert keys == ["spoon", "fire_hydrant", "coin", "mug", "mug", "computer_mouse", None]


def test_people_and_what_is_part_of_something_are_never_moved():
    nouns = photo_nouns()
    assert {key for key, noun in nouns.items() if noun.excluded == "person"} == {"person"}
    assert all(
        photo_noun(name, "open_images").excluded == "person" for name in ("Man", "Woman", "Boy", "Girl")
    )
    assert nouns["sink"].excluded == "fixed" and nouns["tie"].excluded == "body"
    assert nouns["cat"].moves == "sideways" and nouns["cat"].excluded is None
    assert nouns["kite"].moves == "anywhere" and nouns["coin"].flat
