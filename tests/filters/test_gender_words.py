"""Counterparts are found where embeddings have a direction of gender, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from filters.bias import Lexicon, learned_pairs
from filters.gender_words import learned
from filters.mending import Exchange

KNOWN = [("man", "woman"), ("boy", "girl"), ("king", "queen")]


def space(seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Known pairs, two that are to be found, and words without a gender."""
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(64)
    direction *= 0.5 / np.linalg.norm(direction)
    words, vectors = [], []
    for masculine, feminine in [*KNOWN, ("uncle", "aunt"), ("monk", "nun")]:
        middle = rng.standard_normal(64) / 8
        words += [masculine, feminine]
        vectors += [middle - direction, middle + direction]
    for number in range(200):
        words.append(f"thing{number}")
        vectors.append(rng.standard_normal(64) / 8)
    return words, np.asarray(vectors, np.float32)


def test_pairs_that_were_not_named_are_found_and_nothing_else():
    assert sorted(learned(*space(), KNOWN)) == [("monk", "nun"), ("uncle", "aunt")]


def test_without_known_pairs_there_is_no_direction():
    with pytest.raises(ValueError, match="no direction"):
        learned(*space(), [("man", "woman"), ("lad", "lass")])


def test_learned_words_are_new_and_are_exchanged():
    known = {word for pair in Lexicon.named("mend").pairs for word in pair}
    assert not known & {word for pair in learned_pairs() for word in pair}
    assert Exchange.default().applied("His brother, an Uncle") == "Her sister, an Aunt"
