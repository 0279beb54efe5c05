"""What an editor reads in words: the same in both languages, mirrored with them, and nothing in what has no space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from spatial.instruction import KINDS
from spatial.language import parse, say
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError
from tests.spatial.strategies import instructions
from trainer.words import MAX_STEPS, NUMBERS, TO_POINT, TO_REFERENCE, Words, arrays, read, steps_of

LEXICON = Lexicon.default()


@settings(max_examples=150)
@given(said=instructions)
def test_both_languages_give_the_same_steps(said):
    wanted = steps_of(said, LEXICON)
    assert 1 <= len(wanted) <= MAX_STEPS
    assert [step.kind for step in wanted] == [part.kind for part in said.parts()]
    for language in ("en", "vi"):
        try:
            text = say(said, language, np.random.default_rng(0))
            if parse(text, language) != said:
                continue
        except SpatialError:  # not every drawn meaning has words that are clear
            continue
        found = read(text)
        if not found.steps:  # reads as both languages
            continue
        assert found.steps == wanted
        assert found.text == text if language == "en" else parse(found.text, "en") == said


@settings(max_examples=150)
@given(said=instructions)
def test_numbers_are_small_and_finite(said):
    for step in steps_of(said, LEXICON):
        assert np.isfinite(step.numbers).all() and np.abs(step.numbers).max() <= 12
        assert len(step.numbers) == len(NUMBERS) and all(step.scale)


@pytest.mark.parametrize(
    "text",
    ["move the ball 1000000000% to the right", "rotate the chair 99999 degrees clockwise",
     "make the ball 1000000 times larger", "make the ball 100% smaller", "scale the ball by 0"],
)  # fmt: skip
def test_whatever_is_said_the_numbers_stay_small(text):
    for step in read(text).steps:
        assert np.abs(step.numbers).max() <= 12 and 0.05 <= abs(step.scale[0]) <= 20


def number(text: str, name: str) -> float:
    (step,) = read(text).steps
    return step.numbers[NUMBERS.index(name)]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("move the red ball 10% to the right", "shift_x", 0.1),
        ("move the red ball 10% to the left", "shift_x", -0.1),
        ("move the red ball up by 20%", "shift_y", -0.2),
        ("move the red ball slightly to the right", "shift_x", 0.05),
        ("dịch quả bóng đỏ sang trái 25%", "shift_x", -0.25),
        ("pan the camera left", "shift_x", 0.125),
        ("make the red cup 50% larger", "log_scale", np.log(1.5)),
        ("zoom out", "log_scale", -np.log(1.4)),
        ("rotate the chair 90 degrees counterclockwise", "turn", -0.5),
        ("put the ball in the lower-left corner", "region_x", 1 / 6),
        ("put the ball in the lower-left corner", "region_y", 5 / 6),
    ],
)
def test_numbers_are_shares_of_the_picture(text, name, value):
    assert number(text, name) == pytest.approx(value)


def test_where_things_go():
    (place,) = read("put the ball in the lower-left corner").steps
    (swap,) = read("swap the cat and the red car").steps
    (mirror,) = read("mirror the image").steps
    assert place.target == TO_POINT and not place.of_frame
    assert swap.target == TO_REFERENCE and swap.swaps and swap.phrases[:2] == ("the cat", "the red car")
    assert mirror.scale == (-1.0, 1.0) and mirror.of_frame


def test_it_is_what_the_step_before_was_about():
    first, second = read("move the red ball to the left, then make it larger").steps
    assert first.phrases == second.phrases == ("the red ball", None, None, None)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("make the ball blue", "the blue ball"),
        ("đổi quả bóng sang màu xanh dương", "the blue ball"),
        ("make the green metal ball blue", "the blue metal ball"),
        ("make the largest green ball wooden", "the green wooden ball"),
        ("make it night", "make it night"),
        ("make the ball larger", None),
    ],
)
def test_what_it_will_be_is_a_phrase_where_a_value_is_no_word_of_space(text, becomes):
    (step,) = read(text).steps
    assert step.phrases[3] == becomes


@pytest.mark.parametrize("text", ["make it autumn", "", "asdf jkl", "làm cho bức tranh vui hơn", "x " * 500])
def test_what_has_no_space_in_it_stays_as_it_is(text):
    assert read(text) == Words(text)


def test_arrays_are_padded_and_share_phrases():
    batch = [
        read(text) for text in ("swap the cat and the car", "make it autumn", "remove the cat", "add a cat")
    ]
    made = arrays(batch)
    assert made.present.tolist() == [[n < s for n in range(MAX_STEPS)] for s in (1, 0, 1, 1)]
    assert made.texts == ("the cat", "the car", "cats")
    assert made.phrases[:, 0].tolist() == [[0, 1, -1, -1], [-1] * 4, [0, -1, -1, -1], [2, -1, -1, -1]]
    assert made.grounded[:, 0].tolist() == [[True, True], [False, False], [True, False], [False, False]]
    assert made.ids[0, 0, 0] == KINDS.index("swap") + 1


def test_a_step_follows_the_one_that_has_brought_its_subject_somewhere():
    sentences = ("move the red ball to the left, then make it blue", "make the ball blue, then move it left")
    made = arrays([read(text) for text in sentences])
    assert made.follows.tolist() == [[-1, 0, -1], [-1, -1, -1]]


def test_more_steps_than_fit_are_refused():
    (step,) = read("remove the cat").steps
    with pytest.raises(ValueError, match="4 steps"):
        arrays([Words("", (step,) * 4)])
