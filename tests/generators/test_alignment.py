"""What two captions share, token by token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from generators.alignment import CaptionError, align, reweighted, tokenized
from tests.generators.diffusion_models import STARTER

TOKENIZER = CLIPTokenizer.from_pretrained(f"{STARTER}/tokenizer")
WORDS = st.sampled_from(["red", "blue", "a", "the", "cat", "snowboarding", "mug", "on", "grass,", "and"])
CAPTION = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


def tokens(text):
    return tokenized(TOKENIZER, text)


def places(found, word):
    return [slice(*span) for name, span in zip(found.words, found.spans, strict=True) if name == word]


def test_words_that_both_have_are_mapped_and_new_ones_keep_their_own():
    before, after = tokens("a red mug on grass"), tokens("a blue metal mug on grass")
    found = align(before, after)
    (was,), (now,) = places(before, "mug"), places(after, "mug")
    assert np.array_equal(found.mapped[was, now], np.eye(was.stop - was.start))
    (new,) = places(after, "metal")
    assert found.own[new].all() and not found.mapped[:, new].any()
    assert found.changed[1, new].all() and not found.changed[:, now].any()
    (old,) = places(before, "red")
    assert found.changed[0, old].all()


def test_replacing_gives_the_new_word_the_place_of_the_old():
    before, after = tokens("a red mug"), tokens("a snowboarding mug")
    (old,), (new,) = places(before, "red"), places(after, "snowboarding")
    found = align(before, after, "replace")
    assert np.allclose(found.mapped[old, new].sum(axis=0), 1) and not found.own[new].any()
    assert align(before, after, "refine").own[new].all()


@settings(max_examples=60)
@given(CAPTION, CAPTION, st.sampled_from(["refine", "replace"]))
def test_every_token_is_taken_over_whole_or_keeps_its_own(one, other, mode):
    try:
        found = align(tokens(one), tokens(other), mode)
    except CaptionError as error:
        assert error.reason == "nothing_shared"
        assert not set(one.replace(",", "").split()) & set(other.replace(",", "").split())
        return
    sums = found.mapped.sum(axis=0)
    assert np.allclose(sums + found.own, 1, atol=1e-6) and ((sums < 1e-6) | (sums > 1 - 1e-6)).all()


@settings(max_examples=30)
@given(CAPTION)
def test_a_caption_and_itself_map_each_token_to_itself(caption):
    found = align(tokens(caption), tokens(caption))
    assert np.array_equal(found.mapped, np.eye(len(found.own), dtype=np.float32))
    assert not found.changed.any() and not found.own.any()


def test_captions_that_share_no_word_are_no_edit():
    with pytest.raises(CaptionError, match="no word in common") as caught:
        align(tokens("red mug, grass"), tokens("blue cat, house"))
    assert caught.value.reason == "nothing_shared"


def test_a_caption_beyond_the_text_model_is_refused_and_not_cut():
    with pytest.raises(CaptionError, match="tokens, and the text model reads 48") as caught:
        tokens("a red mug and " * 30)
    assert caught.value.reason == "too_long"
    with pytest.raises(CaptionError, match="empty"):
        tokens("  ")


def test_an_unknown_word_cannot_be_weighed():
    after = tokens("a blue mug")
    with pytest.raises(CaptionError, match="no word 'cat'"):
        reweighted(align(tokens("a red mug"), after), after, ["cat"], 2.0)
