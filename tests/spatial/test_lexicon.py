"""Every key has words in both languages, and no word of a section means two things."""

from __future__ import annotations

import pytest

from spatial import vocabulary
from spatial.expressions import parse_expression, say_expression
from spatial.instruction import COMPARISONS, LANGUAGES, PLACES, REGIONS, RELATIONS, Expression
from spatial.language import parse
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError
from spatial.tokens import tokenize, words

SECTIONS = {
    "colors": vocabulary.COLORS,
    "materials": vocabulary.MATERIALS,
    "times": vocabulary.TIMES,
    "environments": vocabulary.PLACES,
    "floors": tuple(f"floor:{floor}" for floor in vocabulary.FLOORS),
    "grounds": tuple(f"floor:{floor}" for floor in vocabulary.FLOORS),
    "walls": vocabulary.WALLS,
    "brightness": ("brighter", "dimmer", "warmer", "cooler"),
    "regions": REGIONS,
    "region_places": REGIONS,
    "directions": ("left", "right", "up", "down", "forward", "backward"),
    "camera_directions": ("left", "right", "up", "down"),
    "turns": ("clockwise", "counterclockwise"),
    "relations": tuple(relation for relation in RELATIONS if relation != "between"),
    "relative_relations": tuple(relation for relation in RELATIONS if relation != "between"),
    "comparisons": COMPARISONS,
    "places": PLACES,
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_has_words_and_no_word_has_two_meanings(section: str, language: str) -> None:
    table = Lexicon.default().tables[language][section]
    assert set(table) == set(SECTIONS[section])
    meanings: dict[tuple[str, ...], str] = {}
    for key, forms in table.items():
        assert forms.said
        for word in forms:
            assert meanings.setdefault(words(word), key) == key, word


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_noun_has_words_of_its_own(language: str) -> None:
    lexicon = Lexicon.default()
    assert set(vocabulary.NOUNS) | {"object", "it"} == set(lexicon.nouns[language])
    meanings: dict[str, str] = {}
    for key, noun in lexicon.nouns[language].items():
        for word in noun.one:
            assert meanings.setdefault(word, key) == key, word


def test_green_and_blue_are_never_plain_xanh() -> None:
    colors = Lexicon.default().tables["vi"]["colors"]
    assert "xanh" not in [word for forms in colors.values() for word in forms]
    assert colors["green"].said == ("xanh lá",)
    assert colors["blue"].said == ("xanh dương",)


@pytest.mark.parametrize(
    ("key", "vietnamese"),
    [
        ("ball", "quả bóng"), ("mug", "cái cốc"), ("cat", "con mèo"), ("cube", "khối lập phương"),
        ("car", "chiếc xe hơi"), ("book", "quyển sách"), ("snowman", "người tuyết"), ("tree", "cái cây"),
    ],
)  # fmt: skip
def test_vietnamese_nouns_come_with_their_classifier(key: str, vietnamese: str) -> None:
    assert say_expression(Expression(key), "vi") == vietnamese


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("trái bóng", "ball"), ("trái banh", "ball"), ("cái ly", "mug"), ("tô", "bowl"), ("ô tô", "car"),
        ("cuốn sách", "book"), ("cái lọ hoa", "vase"), ("hình lập phương", "cube"), ("căn nhà", "house"),
    ],
)  # fmt: skip
def test_regional_synonyms_are_understood(text: str, key: str) -> None:
    assert parse_expression(text, "vi") == Expression(key)


def test_a_registered_noun_is_said_and_understood_and_the_default_stays_as_it_was() -> None:
    lexicon = Lexicon.default().with_noun(
        "stool", en="stool", en_plural="stools", vi="ghế đẩu", vi_classifier="cái"
    )
    stool = Expression("stool", color="red")
    assert say_expression(stool, "en", count=2, lexicon=lexicon) == "two red stools"
    assert say_expression(stool, "vi", count=2, lexicon=lexicon) == "hai cái ghế đẩu đỏ"
    assert parse("remove the red stool", "en", lexicon=lexicon).subject == stool
    assert parse("xoá cái ghế đẩu đỏ", "vi", lexicon=lexicon).subject == stool
    with pytest.raises(SpatialError):
        parse("remove the red stool", "en")
    with pytest.raises(SpatialError, match=r"with_noun"):
        say_expression(stool, "en")


@pytest.mark.parametrize(("key", "en"), [("ball", "orb"), ("orb", "sphere")])
def test_a_noun_whose_key_or_word_is_taken_is_refused(key: str, en: str) -> None:
    with pytest.raises(SpatialError) as error:
        Lexicon.default().with_noun(key, en=en, en_plural="orbs", vi="quả cầu tròn")
    assert error.value.reason == "bad_noun"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("xoá", "xóa"), ("hoà", "hòa"), ("thuỷ tinh", "thủy tinh"), ("lower-left", "lower left"),
        ("10%", "10 %"), ("Bóng", "bóng"),
    ],
)  # fmt: skip
def test_spellings_of_one_word_are_the_same_tokens(one: str, other: str) -> None:
    assert tokenize(one) == tokenize(other)


@pytest.mark.parametrize("text", ["hoàn", "quý", "toán", "khoảng"])
def test_tones_stay_where_only_one_placement_exists(text: str) -> None:
    assert tokenize(text) == (text,)
