from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.schedule import wanted
from spatial.propose import SCENE_KINDS

BOTH = {"en": 1.0, "vi": 1.0}


@given(st.integers(0, 10**6))
def test_any_64_rows_in_a_row_have_every_kind_in_both_languages(start: int) -> None:
    kinds = dict.fromkeys(SCENE_KINDS, 1.0)
    assert len({wanted(row, kinds, BOTH) for row in range(start, start + 64)}) == 2 * len(SCENE_KINDS)


def test_long_runs_keep_the_asked_proportions_and_skip_weight_zero() -> None:
    counts = Counter(wanted(row, {"move": 3, "swap": 1, "add": 0}, {"en": 4, "vi": 1}) for row in range(4000))
    assert counts["move", "en"] == pytest.approx(2400, abs=5)
    assert counts["swap", "vi"] == pytest.approx(200, abs=5)
    assert not any(kind == "add" for kind, _ in counts)
