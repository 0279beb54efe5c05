"""Exchanging genders keeps the language right and takes the skew away; quotas even things out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from filters.bias import Lexicon, ratio, skew, spread
from filters.mending import Exchange, exchanged, quota

LEXICON = Lexicon.named("mend")
EXCHANGE = Exchange(LEXICON.pairs)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("A man and his dog", "A woman and her dog"),
        ("a waitress with her tray", "a waiter with his tray"),
        ("a boat beside her and a lamp", "a boat beside him and a lamp"),
        ("He waits. SHE smiles", "She waits. HE smiles"),
        ("Portrait of a Businesswoman", "Portrait of a Businessman"),
        ("a man-made lake, a human face", "a man-made lake, a human face"),
        ("Her Majesty the queen", "His Majesty the king"),
    ],
)
def test_genders_are_exchanged_and_the_rest_stays(text, other):
    assert EXCHANGE.applied(text) == other


def test_a_row_is_turned_whole_or_not_at_all_and_always_alike():
    rows = [
        (f"a man and his dog {n}", "give him a hat", f"a man with a hat and his dog {n}") for n in range(400)
    ]
    mended = exchanged(rows, EXCHANGE, 1)
    genders = [tuple(LEXICON.gender(text) for text in row) for row in mended]
    assert set(genders) == {(0, 0, 0), (1, 1, 1)}
    assert 150 < sum(gender[0] == 1 for gender in genders) < 250
    assert mended == exchanged(rows, EXCHANGE, 1) != exchanged(rows, EXCHANGE, 2)


def test_the_skew_of_occupations_that_no_list_names_goes_too():
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(2500):
        place = int(rng.integers(10))
        pair = LEXICON.pairs[int(rng.integers(10))]
        word = pair[int(rng.random() > (0.85 if place % 2 else 0.15))]
        rows.append((f"{word} beside a {LEXICON.occupations[place]}", "at night", f"{word} at night"))
    before = [" ".join(row) for row in rows]
    after = [" ".join(row) for row in exchanged(rows, EXCHANGE)]
    assert skew(before, LEXICON).low > 0.5
    found = ratio(before, after, LEXICON)
    assert found.value < 0.2 and found.high < 0.5


def test_a_quota_evens_out_what_it_names_and_keeps_its_promise():
    rows = ["left"] * 700 + ["right"] * 250 + ["other"] * 50
    kept = quota(rows, str, {"left": 0.5, "right": 0.5}, keep=0.7)
    counts = Counter(row for row in kept if row is not None)
    assert len(kept) == 1000 and sum(counts.values()) >= 700
    assert counts["right"] == 250 and counts["other"] == 50 and counts["left"] == 400
    before, after = Counter(rows[:950]), Counter({k: counts[k] for k in ("left", "right")})
    assert spread(after, 2) > spread(before, 2)
    assert quota(["left", "right"], str, {"left": 0.5, "right": 0.5}) == ["left", "right"]
    with pytest.raises(ValueError, match="above 0"):
        quota(rows, str, {"left": 0.0})
