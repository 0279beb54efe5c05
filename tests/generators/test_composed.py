"""Composed edits say one thing, do it, and leave the rest as it was."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from filters.edits import EditChecks, TextEdit
from filters.wording import words
from generators.composed import KINDS, Composer
from generators.seeds import KINDS as SEED_KINDS

STOCK = {
    "nouns": ["ball", "cube", "mug", "tree", "cat"],
    "colors": ["red", "orange", "green", "blue"],
    "materials": ["matte", "metal", "wood"],
    "floors": ["plain", "grass", "carpet"],
    "never": ["mug red", "ball green"],
}


@pytest.fixture(scope="module")
def some():
    return list(islice(Composer(STOCK).edits(5), 210))


def test_kinds_come_by_turns_and_are_kinds_of_seed_edits(some):
    assert Counter(edit.kind for edit in some) == dict.fromkeys(KINDS, 30)
    assert set(KINDS) <= SEED_KINDS.keys()


def test_the_same_seed_gives_the_same_edits_and_no_two_are_alike(some):
    assert list(islice(Composer(STOCK).edits(5), 21)) == some[:21]
    assert list(islice(Composer(STOCK).edits(6), 21)) != some[:21]
    assert len({(edit.before, edit.edit) for edit in some}) == len(some)


def test_a_stock_that_is_used_up_is_an_error_and_not_a_hang():
    small = {"nouns": ["mug"], "colors": ["red"], "materials": ["matte"], "floors": ["grass"]}
    with pytest.raises(ValueError, match="name more words"):
        list(Composer(small).edits(1, kinds=("recolor", "material")))


def test_every_edit_passes_the_checks_of_edits_in_words(some):
    checks = EditChecks()
    assert [e for e in some if checks.reason(TextEdit(e.before, e.edit, e.after)) is not None] == []


def test_what_is_never_to_be_shown_is_never_said(some):
    for edit in some:
        for caption in (edit.before, edit.after):
            assert "red mug" not in caption.lower() and "red cup" not in caption.lower()
        for thing in (*edit.things_before, *edit.things_after):
            assert (thing.noun, thing.color) not in {("mug", "red"), ("ball", "green")}


def test_things_differ_by_what_the_kind_says_and_by_nothing_else(some):
    for edit in some:
        before, after = edit.things_before, edit.things_after
        if edit.kind in ("time", "background"):
            assert before == after and edit.environment[1] and edit.place is None
            continue
        assert edit.place is not None
        if edit.kind in ("add", "remove"):
            longer, shorter = (after, before) if edit.kind == "add" else (before, after)
            assert longer[: edit.place] + longer[edit.place + 1 :] == shorter
            continue
        field = {"recolor": "color", "replace": "noun", "material": "material"}[edit.kind]
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            if place != edit.place:
                assert old == new
                continue
            changed = {
                name for name in ("noun", "color", "material") if getattr(old, name) != getattr(new, name)
            }
            assert changed == {field}


def test_captions_differ_by_the_change_word_for_word(some):
    most = {"recolor": 1, "replace": 1, "material": 1}
    for edit in some:
        if edit.kind in most:
            gone = Counter(words(edit.before)) - Counter(words(edit.after))
            come = Counter(words(edit.after)) - Counter(words(edit.before))
            assert sum(gone.values()) <= 2 and 1 <= sum(come.values()) <= 2, (edit.before, edit.after)


def test_articles_fit_the_word_that_follows(some):
    for edit in some:
        for caption in (edit.before, edit.after):
            assert not any(f" a {vowel}" in f" {caption.lower()}" for vowel in ("orange", "interior")), (
                caption
            )
            assert not any(
                f" an {word}" in f" {caption.lower()}" for word in ("red", "blue", "green", "metal")
            )
