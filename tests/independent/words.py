"""Words for things, colours, materials and numbers in English and Vietnamese, written down afresh.

Nothing here is taken from the project's own lexicon: a word that means one thing there and another here shows
as a disagreement.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

NOUNS: dict[str, dict[str, str]] = {
    "en": {
        "ball": "balls?", "cube": "cubes?", "cone": "cones?", "cylinder": "cylinders?", "mug": "mugs?|cups?",
        "bottle": "bottles?", "bowl": "bowls?", "vase": "vases?", "teapot": "teapots?|tea pots?",
        "table": "tables?", "chair": "chairs?", "lamp": "lamps?", "book": "books?", "candle": "candles?",
        "tree": "trees?", "cactus": "cactus|cacti|cactuses", "mushroom": "mushrooms?", "house": "houses?",
        "car": "cars?", "truck": "trucks?|lorr(?:y|ies)", "boat": "boats?", "rocket": "rockets?",
        "cat": "cats?", "dog": "dogs?", "duck": "ducks?", "snowman": "snowm[ae]n",
    },
    "vi": {
        "ball": "(?<!sáng )bóng(?! loáng)|banh", "cube": "lập phương|hình vuông", "cone": "chóp nón|nón|hình nón",
        "cylinder": "(?:hình )?trụ", "mug": "cốc|ly|tách", "bottle": "chai", "bowl": "bát|(?<=cái )tô|chén",
        "vase": "bình hoa|lọ hoa|bình bông", "teapot": "ấm trà|bình trà|ấm(?! hơn| lên)",
        "table": "bàn", "chair": "ghế", "lamp": "(?<!chiếu )(?:đèn bàn|đèn(?! cầy))", "book": "sách",
        "candle": "nến|đèn cầy", "cactus": "xương rồng", "mushroom": "nấm",
        "tree": "cây(?! nến| nấm| xương| đèn)", "house": "(?<!trong )nhà", "car": "xe hơi|xe ô tô|ô tô|xe con",
        "truck": "xe tải", "boat": "thuyền|tàu|ghe", "rocket": "tên lửa|hoả tiễn|hỏa tiễn", "cat": "mèo",
        "dog": "chó", "duck": "vịt", "snowman": "người tuyết",
    },
}  # fmt: skip
COLORS: dict[str, dict[str, str]] = {
    "en": {
        "red": "red", "orange": "orange", "yellow": "yellow", "green": "green", "blue": "blue",
        "purple": "purple|violet", "pink": "pink", "brown": "brown", "white": "white", "black": "black",
        "gray": "gr[ae]y",
    },
    "vi": {
        "red": "đỏ", "orange": "da cam|cam", "yellow": "vàng", "green": "xanh lá cây|xanh lá|xanh lục",
        "blue": "xanh dương|xanh da trời|xanh nước biển|xanh lam", "purple": "tím", "pink": "hồng",
        "brown": "nâu", "white": "trắng", "black": "đen", "gray": "xám",
    },
}  # fmt: skip
MATERIALS: dict[str, dict[str, str]] = {
    "en": {
        "matte": "matte?", "glossy": "glossy|shiny", "metal": "metallic|metal", "glass": "glass",
        "wood": "wooden|wood", "checkered": "checkered|chequered|checked", "stone": "stone",
    },
    "vi": {
        "matte": "nhám|mờ(?! hơn)|lì", "glossy": "sáng bóng|bóng loáng", "metal": "kim loại",
        "glass": "thuỷ tinh|thủy tinh|kính", "wood": "gỗ", "checkered": "kẻ ca-rô|ca-rô|kẻ ô", "stone": "đá",
    },
}  # fmt: skip
COMPARISONS: dict[str, dict[str, str]] = {
    "en": {"larger": "larger|bigger", "smaller": "smaller", "largest": "largest|biggest", "smallest": "smallest"},
    "vi": {
        "larger": "lớn hơn|to hơn", "smaller": "nhỏ hơn|bé hơn",
        "largest": "lớn nhất|to nhất", "smallest": "nhỏ nhất|bé nhất",
    },
}  # fmt: skip
PLACES: dict[str, dict[str, str]] = {
    "en": {
        "leftmost": "leftmost", "rightmost": "rightmost", "nearest": "nearest|closest",
        "farthest": "farthest|furthest",
    },
    "vi": {
        "leftmost": "ngoài cùng bên trái", "rightmost": "ngoài cùng bên phải", "nearest": "gần nhất",
        "farthest": "xa nhất",
    },
}  # fmt: skip
CLASSIFIERS = "cái|chiếc|con|quả|trái|khối|hình|cây|ngôi|căn|quyển|cuốn|ngọn"

_EN_ONES = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_EN_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_VI_ONES = {"một": 1, "hai": 2, "ba": 3, "bốn": 4, "năm": 5, "sáu": 6, "bảy": 7, "tám": 8, "chín": 9}
_VI_LAST = _VI_ONES | {"mốt": 1, "tư": 4, "lăm": 5}

# Fixed turns of phrase, rewritten as a figure and a unit before single number words are.
_PHRASES: dict[str, tuple[tuple[str, str], ...]] = {
    "en": (
        (r"one and a half", "1.5"),
        (r"half an? (?=met)", "0.5 "),
        (r"half of the way|half the way|halfway", "0.5 way"),
        (r"(?:a )?quarter (?:of a )?turn", "90 degrees"),
        (r"half (?:a )?turn|turn(?:ed)? around|the other way(?! round)", "180 degrees"),
        (r"(turn|spin|rotate) (.*) around$", r"\1 \2 180 degrees"),
        (r"half the size|half (?:as|its) \w+|halve|by half\b", "0.5 size"),
        (r"double the size|twice (?:as|its) \w+", "2 size"),
        (r"\bonce\b", "1 times"),
        (r"\btwice\b", "2 times"),
        (r"\ban? (?=met(?:re|er)\b)", "1 "),
    ),
    "vi": (
        (r"một phần tư vòng", "90 độ"),
        (r"nửa vòng", "180 độ"),
        (r"hướng ngược lại|(?:quay|xoay) ngược(?! chiều| kim)|ngược lại", "180 độ"),
        (r"một (lần|mét) rưỡi", r"1,5 \1"),
        (r"gấp rưỡi", "1,5 lần"),
        (r"gấp đôi", "2 lần"),
        (r"nửa mét", "0,5 mét"),
        (r"nửa (?:quãng )?đường", "0,5 way"),
        (r"một nửa", "0,5 size"),
        (r"một chút|một ít|chút ít|đôi chút", "slightly"),
    ),
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase as read here. number: said before the noun; "a" counts as 1, "the" as None."""

    noun: str
    color: frozenset[str] = frozenset()
    material: frozenset[str] = frozenset()
    comparison: frozenset[str] = frozenset()
    place: frozenset[str] = frozenset()
    number: int | None = None

    def same_words(self, other: Phrase) -> bool:
        return (self.noun, self.color, self.material, self.comparison, self.place) == (
            other.noun, other.color, other.material, other.comparison, other.place,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """A sentence in figures: `rest` is its text with every noun phrase replaced by "§"."""

    text: str
    rest: str
    phrases: tuple[Phrase, ...]
    quantities: tuple[tuple[float, str], ...] = field(default=())


def plain(text: str) -> str:
    """Lower case, NFC, single spaces, no final punctuation or courtesy."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text).lower()).strip()
    text = re.sub(r"[\s?.!]+$", "", text)
    return re.sub(r",? please$| nhé$| được không$", "", text)


def figures(text: str, language: str) -> str:
    """Number words become digits, fixed phrases a digit and a unit."""
    for pattern, figure in _PHRASES[language]:
        text = re.sub(pattern, figure, text)
    if language == "en":
        ones, tens = "|".join(sorted(_EN_ONES, key=len, reverse=True)), "|".join(_EN_TENS)
        return re.sub(
            rf"\b(?:({tens})(?:[- ]({ones}))?|({ones}))\b",
            lambda m: str(_EN_TENS.get(m[1], 0) + _EN_ONES.get(m[2] or m[3], 0)),
            text,
        )
    ones, last = "|".join(_VI_ONES), "|".join(_VI_LAST)
    text = re.sub(
        rf"\b({ones}) mươi(?: ({last}))?\b",
        lambda m: str(10 * _VI_ONES[m[1]] + _VI_LAST.get(m[2], 0)),
        text,
    )
    text = re.sub(rf"\bmười(?: ({last}))?\b", lambda m: str(10 + _VI_LAST.get(m[1], 0)), text)
    return re.sub(rf"\b({ones})\b", lambda m: str(_VI_ONES[m[1]]), text)


def read(text: str, language: str) -> Reading:
    """Noun phrases, figures with their units, and what is left of a sentence."""
    text = figures(plain(text), language)
    phrases: list[Phrase] = []

    def note(match: re.Match[str]) -> str:
        phrases.append(_phrase(match, language))
        return "§"

    rest = _PATTERNS[language].sub(note, text)
    return Reading(text, rest, tuple(phrases), tuple(_quantities(rest)))


def found(text: str, table: dict[str, str]) -> set[str]:
    """Keys whose words stand in the text; a longer match hides the shorter ones within it."""
    hits: list[tuple[int, int, str]] = []
    for key, pattern in table.items():
        hits += [(m.start(), m.end(), key) for m in re.finditer(rf"\b(?:{pattern})\b", text)]
    return {
        key for a, b, key in hits if not any(c <= a and b <= d and d - c > b - a for c, d, _ in hits)
    }  # fmt: skip


def _any(*tables: dict[str, str]) -> str:
    return "|".join(word for table in tables for word in table.values())


def _pattern(language: str) -> re.Pattern[str]:
    nouns = "|".join(f"(?P<{key}>{words})" for key, words in NOUNS[language].items())
    if language == "en":
        described = _any(COLORS["en"], MATERIALS["en"], COMPARISONS["en"], PLACES["en"])
        return re.compile(
            rf"\b(?:(?P<number>the|an?|another|\d+) )?(?P<before>(?:(?:{described}) )*)(?:{nouns})\b(?P<after>)"
        )
    described = "|".join(
        (
            rf"(?:màu )?(?:{_any(COLORS['vi'])})",
            rf"(?:bằng )?(?:{_any(MATERIALS['vi'])})",
            _any(COMPARISONS["vi"], PLACES["vi"]),
        )
    )
    return re.compile(
        rf"\b(?:(?P<number>\d+) )?(?P<before>(?:(?:{CLASSIFIERS}) )?)(?:{nouns})\b(?P<after>(?: (?:{described})\b)*)"
    )


_PATTERNS = {language: _pattern(language) for language in ("en", "vi")}


def _phrase(match: re.Match[str], language: str) -> Phrase:
    words = match["before"] + " " + match["after"] if language == "en" else match["after"]
    number = match["number"]
    return Phrase(
        noun=next(key for key in NOUNS[language] if match[key]),
        color=frozenset(found(words, COLORS[language])),
        material=frozenset(found(words, MATERIALS[language])),
        comparison=frozenset(found(words, COMPARISONS[language])),
        place=frozenset(found(words, PLACES[language])),
        number=int(number)
        if number and number.isdigit()
        else 1
        if number in ("a", "an", "another")
        else None,
    )


_UNITS = {
    "degree": "°|degrees?|độ",
    "centimetre": "cm|xăng-ti-mét|centimet(?:re|er)s?",
    "metre": "met(?:re|er)s?|mét|m",
    "way": "(?:percent|%|phần trăm) (?:of the way|quãng đường)|way",
    "size": "(?:percent|%|phần trăm) (?:of its (?:\\w+ )?size|kích thước (?:cũ|ban đầu))|size",
    "percent": "%|percent|phần trăm",
    "times": "x|times|lần",
}


def _quantities(text: str) -> list[tuple[float, str]]:
    units = "|".join(f"(?P<{name}>{words})" for name, words in _UNITS.items())
    quantities = []
    for match in re.finditer(rf"(?P<figure>\d+(?:[.,]\d+)?)\s*(?:{units})(?!\w)", text):
        unit = next(name for name in _UNITS if match[name])
        value = float(match["figure"].replace(",", "."))
        if unit in ("way", "size") and re.match("%|percent|phần", match[unit]):
            value /= 100
        if unit == "centimetre":
            value, unit = value / 100, "metre"
        quantities.append((value, unit))
    quantities += [(float(v), "times") for v in re.findall(r"factor of (\d+(?:\.\d+)?)", text)]
    return quantities
