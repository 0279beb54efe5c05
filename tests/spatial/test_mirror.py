"""Words in a mirror: left for right in all that is said of places, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial.instruction import DIRECTIONS, LANGUAGES, PLACES, REGIONS, RELATIONS
from spatial.language import parse, say
from spatial.mirror import mirrored, other_side
from tests.spatial.strategies import instructions


@given(instructions)
def test_a_mirror_in_a_mirror_shows_the_same(said):
    assert mirrored(mirrored(said)) == said


@given(instructions, st.sampled_from(LANGUAGES), st.integers(0, 2**32))
def test_what_is_seen_in_a_mirror_can_be_said(said, language, seed):
    other = mirrored(said)
    assert parse(say(other, language, np.random.default_rng(seed)), language) == other


@pytest.mark.parametrize("words", [DIRECTIONS, REGIONS, RELATIONS, PLACES], ids=lambda words: words[0])
def test_every_word_of_a_side_has_its_other_side(words):
    for word in words:
        other = other_side(word)
        assert other in words and other_side(other) == word
        assert (other == word) == ("left" not in word and "right" not in word and "clockwise" not in word)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("move the leftmost ball 10% to the right", "move the rightmost ball 10% to the left"),
        ("put the ball in the upper-left corner", "put the ball in the upper-right corner"),
        ("put the ball to the left of the cube", "put the ball to the right of the cube"),
        ("rotate the chair 90 degrees clockwise", "rotate the chair 90 degrees counterclockwise"),
        ("pan the camera left, then zoom in", "pan the camera right, then zoom in"),
        ("remove the ball behind the cube", "remove the ball behind the cube"),
    ],
)
def test_sentences(text, wanted):
    assert mirrored(parse(text, "en")) == parse(wanted, "en")
