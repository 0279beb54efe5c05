"""All checks of an edit in words, one reason each."""

from __future__ import annotations

import pytest

from filters.edits import EditChecks, TextEdit
from filters.moderation import offence
from filters.near_duplicates import NearDuplicates

GOOD = TextEdit("a red mug on a table", "make the mug blue", "a blue mug on a table")


def test_a_good_edit_passes():
    assert EditChecks().reason(GOOD) is None


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (TextEdit("a red mug", "", "a blue mug"), "empty"),
        (TextEdit("a red mug", "make it blue", "the"), "empty"),
        (TextEdit("a red mug", "Instruction: make it blue", "a blue mug"), "not_an_edit"),
        (TextEdit("a red mug", "make it blue", '{"output": "a blue mug"}'), "not_an_edit"),
        (TextEdit("a red mug", "a red mug", "a blue mug"), "not_an_edit"),
        (TextEdit("a red mug", "made it blue", "a blue mug"), "not_an_edit"),
        (TextEdit("a red mug", "make it red", "A red mug."), "unchanged"),
        (TextEdit("a red mug", "make it blue " * 20, "a blue mug"), "length"),
        (TextEdit("a red mug", "make it blue", "a blue mug " * 12), "length"),
        (TextEdit("a red mug", "làm cái cốc màu xanh dương", "a blue mug"), "language"),
        (TextEdit("a red mug", "make it blue", "a blue mug", "vi"), "language"),
        (TextEdit("a red mug", "сделай синей", "a blue mug"), "language"),
        (TextEdit("a red mug", "add a nude woman", "a red mug and a nude woman"), "moderation_sexual"),
        (TextEdit("a red mug", "make it blue", "a green mug"), "unasked_added"),
    ],
)
def test_each_fault_has_its_reason(edit, reason):
    assert EditChecks().reason(edit) == reason


def test_vietnamese_instructions_are_judged_by_what_stays():
    said = "làm cho cái cốc thành màu xanh dương"
    assert EditChecks().reason(TextEdit("a red mug on grass", said, "a blue mug on grass", "vi")) is None
    lost = TextEdit("a red mug, a cat and a tree on grass", said, "six boats", "vi")
    assert EditChecks().reason(lost) == "not_kept"


def test_the_same_edit_in_nearly_the_same_words_is_told_once():
    checks = EditChecks(is_new=NearDuplicates().is_new)
    assert checks.reason(GOOD) is None
    again = TextEdit("A red mug, on a table", "Make the mug blue!", "A blue mug, on a table")
    assert checks.reason(again) == "duplicate"
    assert (
        checks.reason(TextEdit("a red mug on a table", "add a cat", "a red mug and a cat on a table")) is None
    )


def test_a_classifier_is_asked_beside_the_list():
    assert offence("a quiet street") is None
    assert offence("a quiet street", lambda text: "dull" if "quiet" in text else None) == "dull"
    assert EditChecks(moderator=lambda _: "bad").reason(GOOD) == "moderation_bad"


@pytest.mark.parametrize(
    "text", ["Essex coast", "a classic car", "Scunthorpe station", "gay couple in a park"]
)
def test_words_that_only_look_like_others_and_names_of_people_are_no_offence(text):
    assert offence(text) is None
