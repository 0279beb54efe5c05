from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.fingerprint import fingerprint

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
trees = st.recursive(leaves, lambda t: st.lists(t) | st.dictionaries(st.text(), t), max_leaves=8)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), trees))
def test_the_order_of_keys_does_not_count(parts: dict[str, Any]) -> None:
    assert fingerprint(parts) == fingerprint(dict(reversed(parts.items())))


@pytest.mark.parametrize(
    "other", [{"a": 2}, {"a": "1"}, {"a": True}, {"b": 1}, {"a": [1]}, {"a": 1, "b": None}]
)
def test_every_difference_counts(other: dict[str, Any]) -> None:
    assert fingerprint(other) != fingerprint({"a": 1})


def test_stays_what_it_was() -> None:
    """Another value here would orphan every folder that exists."""
    assert fingerprint({"b": [1, 0.5, "ü"], "a": None}).startswith("c31477f098c7c74e")


class Color(StrEnum):
    RED = "red"


@pytest.mark.parametrize("value", [Path("a"), {1, 2}, b"a", np.float32(1), float("nan"), Color.RED, object()])
def test_what_json_cannot_say_is_refused_by_its_place(value: object) -> None:
    with pytest.raises(TypeError, match=r"parts\.a\[1\]"):
        fingerprint({"a": [0, value]})
    with pytest.raises(TypeError, match="is not a string"):
        fingerprint({"a": {1: 2}})
