"""What is understood of free sentences is what was meant; what is not goes the plain path."""

from __future__ import annotations

from collections import Counter

from evaluation.paraphrases import paraphrases, understood


def test_there_are_150_of_each_language_and_no_two_alike():
    found = paraphrases()
    assert Counter(one.language for one in found) == {"en": 150, "vi": 150}
    assert len({one.text for one in found}) == 300


def test_no_free_sentence_is_taken_for_something_else():
    for language in ("en", "vi"):
        figures = understood([one for one in paraphrases() if one.language == language])
        assert figures.right == figures.read > 0.3 * figures.total
