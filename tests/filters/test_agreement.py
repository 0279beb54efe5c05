"""Whether an edited caption is what its instruction makes of the caption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filters.agreement import disagreement, normalised
from filters.relations import not_swapped, said_relations, wrong_relation
from filters.wording import lemma, supported

SEEDS = Path(__file__).parent.parent.parent / "generators" / "seed_edits.jsonl"

GOOD = [
    ("a red mug on a table", "make the mug blue", "a blue mug on a table"),
    ("a red mug", "turn the mug into a ball", "a red ball"),
    ("Photo of a street in Lisbon", "make it snow", "Photo of a snowy street in Lisbon"),
    ("two kittens on a sofa", "only one kitten", "one kitten on a sofa"),
    ("Golden retriever with a ball on the beach", "remove the ball", "Golden retriever on the beach"),
    ("a red mug and a blue cat", "add a green cone", "a red mug, a blue cat and a green cone"),
    ("a pink mug", "what if it were at night", "a pink mug at night"),
    ("a cat on a table", "put the cat under the table", "a cat under a table"),
    ("a lamp to the left of a bed", "swap the lamp and the bed", "a bed to the left of a lamp"),
    ("portrait of a dog", "as an oil painting", "oil painting portrait of a dog"),
    ("knives and forks on linen", "replace the knives with spoons", "spoons and forks on linen"),
    ("a mug and a purple bottle", "swap the bottle for a blue one", "a mug and a blue bottle"),
    ("a mug and a green cube", "an orange cube instead of the green cube", "a mug and an orange cube"),
    ("a mug behind a ball", "move the mug to the front of the ball", "a mug in front of a ball"),
]
BAD = [
    ("a red mug on a table", "make the mug blue", "A red mug, on a table.", "unchanged"),
    ("a red mug on a table", "make the mug blue", "a green mug on a table", "unasked_added"),
    ("a red mug on a table", "make the mug blue", "a blue mug on a table with a dog", "unasked_added"),
    ("a red mug and a cat on a table", "make the mug blue", "a blue mug on a table", "unasked_removed"),
    ("a red mug and a dog", "remove the dog", "a mug and a dog", "unasked_removed"),
    ("a dog with a red ball", "remove the red ball", "a dog with a ball", "not_removed"),
    ("a red mug", "replace the mug with a ball", "a red mug ball", "not_replaced"),
    ("a red mug on a grey floor", "swap the mug for a pink one", "a red mug on a pink floor", "not_replaced"),
    ("a mug and a red cube", "a pink cube instead of the red cube", "a pink mug and a red cube", "not_replaced"),
    ("a cat on a table", "put the cat under the table", "a cat by a table", "wrong_relation"),
    ("a lamp to the left of a bed", "swap the lamp and the bed", "a lamp to the right of a chair", "not_swapped"),
    ("a red house, a tree, a pond and a hill", "make the house blue", "a blue house", "unasked_removed"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "edit", "after"), GOOD)
def test_an_edit_that_does_what_it_says_agrees(before, edit, after):
    assert disagreement(before, edit, after) is None


@pytest.mark.parametrize(("before", "edit", "after", "reason"), BAD)
def test_an_edit_that_does_something_else_is_told_by_the_first_rule_it_breaks(before, edit, after, reason):
    assert disagreement(before, edit, after) == reason


def test_a_model_of_entailment_may_allow_a_word_that_no_list_knows():
    edit = ("a street", "as in a noir film", "a street in high contrast")
    assert disagreement(*edit) == "unasked_added"
    asked: list[tuple[str, str]] = []

    def entails(premise: str, hypothesis: str) -> bool:
        asked.append((premise, hypothesis))
        return True

    assert disagreement(*edit, entails) is None
    assert set(asked) == {("a street as in a noir film", "a street in high contrast")}


WRONGLY_BOUND = [
    ("a red ball, a yellow car", "the car should be purple", "a purple ball, a yellow car", "wrong_thing"),
    ("an orange cone", "add a red ball", "an orange cone and an orange ball", "not_done"),
    ("a red wooden mug", "make the mug out of metal", "a red wooden metal mug", "not_replaced"),
    (
        "a red ball by a green house",
        "turn the house into a cat",
        "a red cat by a green house",
        "not_replaced",
    ),
    (
        "an orange mug next to a ball",
        "put a cat next to the ball",
        "an orange cat next to a ball",
        "unasked_removed",
    ),
    ("a cat, a pink ball", "catch the ball", "a cat", "unasked_removed"),
    ("a beach with palms", "the beach has no palms", "a beach with palms today", "unasked_added"),
    (
        "a red umbrella on a street",
        "rain, but no umbrella",
        "a red umbrella on a rainy street",
        "not_removed",
    ),
]


@pytest.mark.parametrize(("before", "edit", "after", "reason"), WRONGLY_BOUND)
def test_what_is_said_of_one_thing_and_shown_on_another_is_refused(before, edit, after, reason):
    assert disagreement(before, edit, after) == reason


WELL_BOUND = [
    ("a red ball, a yellow car", "the car should be purple", "a red ball, a purple car"),
    ("a red chair by a red cat", "the cat becomes white", "a red chair by a white cat"),
    ("a vase of white roses", "add a red rose", "a vase of white roses and a red rose"),
    ("a red wooden mug", "make the mug out of metal", "a red metal mug"),
    ("a blue cube and a white cube", "change the blue cube into a pink one", "a pink cube and a white cube"),
    ("a cat, a pink ball and a tree", "the pink ball has to go", "a cat and a tree"),
    ("a photo of an orange cone in a city", "make it a cat", "a photo of an orange cat in a city"),
]


@pytest.mark.parametrize(("before", "edit", "after"), WELL_BOUND)
def test_what_is_said_of_a_thing_and_shown_on_it_is_kept(before, edit, after):
    assert disagreement(before, edit, after) is None


def seeds() -> list[dict[str, str]]:
    rows = [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["language"] == "en"]


def test_nearly_every_seed_edit_agrees_with_itself():
    rows = seeds()
    wrong = [row for row in rows if disagreement(row["input"], row["edit"], row["output"]) is not None]
    assert len(wrong) <= 0.08 * len(rows)


def test_hardly_any_seed_edit_agrees_with_the_instruction_of_another():
    rows = seeds()
    others = rows[7:] + rows[:7]
    passed = [
        row for row, other in zip(rows, others, strict=True)
        if disagreement(row["input"], other["edit"], row["output"]) is None
    ]  # fmt: skip
    assert len(passed) <= 0.03 * len(rows)


def test_relations_are_read_with_what_stands_on_either_side():
    (said,) = said_relations("a red mug to the left of a wooden bottle")
    assert (said.relation, said.subject[0], said.reference[-1]) == ("left_of", "mug", "bottle")
    assert [r.relation for r in said_relations("a cup on top of a book behind a vase")] == ["on", "behind"]


def test_a_relation_said_the_other_way_about_is_right():
    assert not wrong_relation(
        "a mug and a ball", "put the mug left of the ball", "a ball to the right of a mug"
    )
    assert wrong_relation("a mug and a ball", "put the mug left of the ball", "a ball to the left of a mug")
    assert not wrong_relation("a mug", "make it red", "a red mug")


def test_swapping_is_judged_by_order_and_replacing_is_not_swapping():
    assert not_swapped("a cat, a dog", "swap the cat and the dog", "a dog, a cat") is False
    assert not_swapped("a cat, a dog", "swap the cat and the dog", "a cat, a dog") is True
    assert not_swapped("a cat, a dog", "swap the cat for a bird", "a bird, a dog") is None


def test_words_are_known_in_all_their_forms():
    assert [lemma(word) for word in ("Knives", "two", "dog's", "leaves")] == ["knife", "2", "dog", "leaf"]
    assert (
        supported("snowy", {"winter"}) and supported("metallic", {"metal"}) and supported("wooden", {"wood"})
    )
    assert not supported("caterpillar", {"cat"}) and not supported("blue", {"red"})
    assert normalised("A red mug, on a table.") == normalised("a Red mug on a table")
