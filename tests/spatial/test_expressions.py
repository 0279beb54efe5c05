"""Noun phrases in every form, and numbers in words."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial.expressions import parse_expression, say_expression
from spatial.instruction import LANGUAGES, Expression
from spatial.numbers import figures, in_words, number_at
from spatial.scene import SpatialError
from spatial.tokens import words
from tests.spatial.strategies import definite, described

RED_BALL = Expression("ball", "red")


@settings(max_examples=500)
@given(definite, st.sampled_from(LANGUAGES), st.integers(0, 2**32) | st.none())
def test_noun_phrases_are_read_back(expression: Expression, language: str, seed: int | None) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    text = say_expression(expression, language, rng=rng)
    assert parse_expression(text, language) == expression, text


@settings(max_examples=200)
@given(described, st.sampled_from(LANGUAGES), st.integers(1, 6))
def test_counted_and_indefinite_phrases_are_read_back(
    expression: Expression, language: str, count: int
) -> None:
    for text in (
        say_expression(expression, language, count=count),
        say_expression(expression, language, article="a"),
        say_expression(expression, language, article="plural"),
    ):
        assert parse_expression(text, language) == expression, text


@pytest.mark.parametrize(
    ("expression", "english", "vietnamese"),
    [
        (RED_BALL, "the red ball", "quả bóng đỏ"),
        (Expression("ball", "red", comparison="larger"), "the larger red ball", "quả bóng đỏ lớn hơn"),
        (Expression("mug", "red", "metal"), "the red metal mug", "cái cốc kim loại màu đỏ"),
        (Expression("cat", place="leftmost"), "the leftmost cat", "con mèo ngoài cùng bên trái"),
        (
            Expression("ball", relation="behind", reference=Expression("cube", "blue")),
            "the ball that is behind the blue cube",
            "quả bóng nằm phía sau khối lập phương xanh dương",
        ),
        (Expression("object", "green"), "the green object", "vật xanh lá"),
        (Expression("it"), "it", "nó"),
    ],
)
def test_definite_phrases(expression: Expression, english: str, vietnamese: str) -> None:
    assert say_expression(expression, "en") == english
    assert say_expression(expression, "vi") == vietnamese


@pytest.mark.parametrize(
    ("count", "english", "vietnamese"),
    [(1, "a red ball", "một quả bóng đỏ"), (2, "two red balls", "hai quả bóng đỏ")],
)
def test_counted_phrases(count: int, english: str, vietnamese: str) -> None:
    assert say_expression(RED_BALL, "en", count=count) == english
    assert say_expression(RED_BALL, "vi", count=count) == vietnamese


def test_english_articles_follow_the_sound_and_plurals_the_noun() -> None:
    assert say_expression(Expression("cube", "orange"), "en", article="a") == "an orange cube"
    assert say_expression(Expression("snowman"), "en", count=3) == "three snowmen"
    assert say_expression(Expression("cactus"), "en", article="plural") == "cacti"


@pytest.mark.parametrize(
    ("text", "language", "expression"),
    [
        ("red ball", "en", RED_BALL),
        ("the red, big... ball", "en", None),
        ("the shiny red sphere", "en", Expression("ball", "red", "glossy")),
        ("the metallic red cup", "en", Expression("mug", "red", "metal")),
        ("the ball behind the cube", "en", Expression("ball", relation="behind", reference=Expression("cube"))),
        ("the ball on the left", "en", Expression("ball", place="leftmost")),
        ("the closest thing", "en", Expression("object", place="nearest")),
        ("quả bóng màu đỏ kia", "vi", RED_BALL),
        ("cái cốc màu đỏ bằng kim loại", "vi", Expression("mug", "red", "metal")),
        ("con mèo trắng ở sau cái bàn", "vi",
         Expression("cat", "white", relation="behind", reference=Expression("table"))),
        ("vật thể to nhất", "vi", Expression("object", comparison="largest")),
    ],
)  # fmt: skip
def test_free_noun_phrases(text: str, language: str, expression: Expression | None) -> None:
    if expression is None:
        with pytest.raises(SpatialError) as error:
            parse_expression(text, language)
        assert error.value.reason == "unparsed"
    else:
        assert parse_expression(text, language) == expression


@pytest.mark.parametrize(
    "expression",
    [
        Expression("it", color="red"),
        Expression("ball", relation="between", reference=Expression("cube")),
    ],
)
def test_what_no_noun_phrase_says_is_refused(expression: Expression) -> None:
    with pytest.raises(SpatialError) as error:
        say_expression(expression, "en")
    assert error.value.reason == "bad_expression"


@pytest.mark.parametrize("language", LANGUAGES)
def test_whole_numbers_in_words_are_read_back(language: str) -> None:
    for number in range(200):
        tokens = words(in_words(number, language))
        assert (Decimal(number), len(tokens)) in number_at(tokens, 0, language)


@pytest.mark.parametrize(
    ("number", "english", "vietnamese"),
    [
        (15, "fifteen", "mười lăm"),
        (21, "twenty-one", "hai mươi mốt"),
        (105, "one hundred and five", "một trăm linh năm"),
    ],
)
def test_number_words(number: int, english: str, vietnamese: str) -> None:
    assert in_words(number, "en") == english
    assert in_words(number, "vi") == vietnamese


def test_decimal_comma_and_point() -> None:
    assert figures(Decimal("12.50"), "vi") == "12,5"
    assert figures(Decimal("12.50"), "en") == "12.5"
    assert figures(Decimal("100"), "en") == "100"
    assert number_at(("0,5",), 0, "vi") == number_at(("0.5",), 0, "vi") == [(Decimal("0.5"), 1)]
    assert number_at(("0,5",), 0, "en") == []
