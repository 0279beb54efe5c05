"""Numbers in words and figures, English and Vietnamese. Decimal arithmetic: 30% larger is exactly 1.3."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

from spatial.scene import SpatialError
from spatial.tokens import Tokens, words

_UNITS = {
    "en": (
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ),
    "vi": ("không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín"),
}  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def exact(value: float, decimals: int, what: str) -> Decimal:
    """The decimal number that `value` is written as. Raises SpatialError when it has more `decimals`."""
    number = Decimal(repr(float(value)))
    if number != round(number, decimals):
        raise SpatialError(
            "unsayable", f"{what} {value!r} has more than {decimals} decimals; round it before saying it"
        )
    return number


def figures(number: Decimal, language: str) -> str:
    """10, 12.5 in English, 12,5 in Vietnamese."""
    text = f"{number.normalize():f}"
    return text.replace(".", ",") if language == "vi" else text


def in_words(number: int, language: str) -> str:
    """A whole number from 0 to 199 in words."""
    if not 0 <= number < 200:
        raise ValueError(f"{number} is not in 0..199")
    if number >= 100:
        rest = number - 100
        if language == "en":
            return "one hundred" + (f" and {in_words(rest, 'en')}" if rest else "")
        if 0 < rest < 10:
            return f"một trăm linh {_UNITS['vi'][rest]}"
        return "một trăm" + (f" {in_words(rest, 'vi')}" if rest else "")
    units = _UNITS[language]
    if number < len(units):
        return units[number]
    tens, rest = divmod(number, 10)
    if language == "en":
        return _TENS[tens] + (f"-{units[rest]}" if rest else "")
    head = "mười" if tens == 1 else f"{units[tens]} mươi"
    if not rest:
        return head
    # 1 and 5 change their sound after a ten: hai mươi mốt, mười lăm.
    last = "lăm" if rest == 5 else "mốt" if rest == 1 and tens > 1 else units[rest]
    return f"{head} {last}"


@cache
def _words(language: str) -> dict[Tokens, Decimal]:
    table = {words(in_words(i, language)): Decimal(i) for i in range(200)}
    if language == "en":
        return (
            table
            | {words(in_words(i, "en").replace(" and ", " ")): Decimal(i) for i in range(101, 200)}
            | {words("a hundred"): Decimal(100)}
        )
    for i in range(20, 100):
        if i % 10 == 4:
            table[(_UNITS["vi"][i // 10], "mươi", "tư")] = Decimal(i)
        if i % 10:  # people drop "mươi": hai lăm, ba mốt
            last = {1: "mốt", 5: "lăm"}.get(i % 10)
            if last:
                table[(_UNITS["vi"][i // 10], last)] = Decimal(i)
    return table


def number_at(tokens: Tokens, start: int, language: str) -> list[tuple[Decimal, int]]:
    """Every number that begins at `start`, as (number, end). Vietnamese takes a decimal comma or point."""
    if start >= len(tokens):
        return []
    token = tokens[start]
    if token[0].isdecimal():
        if "," in token and language == "en":
            return []
        return [(Decimal(token.replace(",", ".")), start + 1)]
    table = _words(language)
    return [
        (table[phrase], start + size)
        for size in range(min(5, len(tokens) - start), 0, -1)
        if (phrase := tokens[start : start + size]) in table
    ]
