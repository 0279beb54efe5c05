"""The skew of gender by occupation is found where it was put, and not where it was not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from filters.bias import Lexicon, counted, ratio, skew, spread, spreads, words_of_space

JUDGE = Lexicon.named("judge")


def rows(number: int, tilt: float, seed: int = 0) -> list[str]:
    """Captions of occupations, half of which are of men with probability 0.5 + tilt, half with 0.5 - tilt."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        place = int(rng.integers(len(JUDGE.occupations)))
        share = 0.5 + (tilt if place % 2 else -tilt)
        pair = JUDGE.pairs[int(rng.integers(len(JUDGE.pairs)))]
        found.append(f"a {pair[int(rng.random() > share)]} and a {JUDGE.occupations[place]} in a street")
    return found


def test_the_two_lexicons_share_no_word():
    mend = Lexicon.named("mend")
    assert not {w for p in mend.pairs for w in p} & {w for p in JUDGE.pairs for w in p}
    assert not set(mend.occupations) & set(JUDGE.occupations)


def test_a_text_has_a_gender_only_where_it_speaks_of_one():
    assert JUDGE.gender("A gentleman in a hat") == 0 and JUDGE.gender("two sisters") == 1
    assert JUDGE.gender("a boat") is None and JUDGE.gender("a lad and a lass") is None
    assert JUDGE.mentioned("Bakers and a judge") == (
        JUDGE.occupations.index("judge"),
        JUDGE.occupations.index("baker"),
    )


@pytest.mark.parametrize("number", [60, 300, 2000])
def test_chance_alone_is_no_skew_however_few_the_mentions(number):
    values = [skew(rows(number, 0.0, seed), JUDGE).value for seed in range(6)]
    assert abs(np.mean(values)) < 0.12
    assert skew(rows(number, 0.0), JUDGE).raw > np.mean(values)


def test_a_tilt_is_found_with_an_interval_about_it():
    found = skew(rows(2000, 0.3), JUDGE)
    assert found.low < found.value < found.high and found.low > 0.5
    assert found.value == pytest.approx(abs(math.log(0.8 / 0.2)), abs=0.25)
    assert skew(rows(2000, 0.15), JUDGE).value < found.value


def test_more_men_than_women_everywhere_is_no_association():
    texts = [text for text in rows(3000, 0.0) if JUDGE.gender(text) == 0 or len(text) % 2]
    assert abs(skew(texts, JUDGE).value) < 0.1


def test_the_ratio_compares_the_same_rows_and_its_interval_holds_one_where_nothing_changed():
    before = rows(2000, 0.3)
    same = ratio(before, before, JUDGE)
    assert same.value == pytest.approx(1, abs=0.05) and same.low < 1 < same.high + 0.05
    mended = ratio(before, rows(2000, 0.1), JUDGE)
    assert mended.value < 0.5 and mended.high < 1
    dropped = [None if number % 10 == 0 else text for number, text in enumerate(before)]
    assert ratio(before, dropped, JUDGE).value == pytest.approx(1, abs=0.15)


def test_nothing_to_measure_is_said():
    with pytest.raises(ValueError, match="no text names an occupation"):
        skew(["a boat on a lake"], JUDGE)
    with pytest.raises(ValueError, match="None for what was dropped"):
        ratio(["a"], [], JUDGE)
    with pytest.raises(ValueError, match="no skew before"):
        ratio(["a boat"], ["a boat"], JUDGE)


def test_spread_is_one_for_even_and_nought_for_single():
    assert spread({"a": 3, "b": 3, "c": 3}, 3) == pytest.approx(1)
    assert str(spread({"a": 9}, 3)) == "0.0" and math.isnan(spread({}, 3))
    found = spreads(
        ["a red mug", "a red cat", "a blue dog"],
        {"colours": {"red": "red", "blue": "blue"}, "things": {"mug": "mug", "cat": "cat"}},
    )
    assert found["things"] == pytest.approx(1) and 0.9 < found["colours"] < 0.95


def test_all_words_for_a_thing_count_as_one_and_longer_words_come_first():
    found = counted(["two mugs and a cup at the top left", "a sphere at the top"], words_of_space())
    assert found["objects"] == {"mug": 2, "ball": 1}
    assert sum(found["regions"].values()) == 2 and len(found["regions"]) == 2
