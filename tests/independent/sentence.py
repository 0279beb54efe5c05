"""Does the sentence say what the operation does? Read with plain regular expressions, English and Vietnamese.

Every check appends to a list of complaints; an empty list is agreement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.independent.words import COLORS, MATERIALS, Phrase, Reading, found, plain, read

Row = Mapping[str, Any]

# How the steps of a sequence are joined.
AND = {"en": "and", "vi": "và"}
JOINTS = {
    "en": "then|after that|afterwards|finally|lastly|next(?! to)",
    "vi": "rồi sau đó|rồi cuối cùng|sau đó|rồi|tiếp đó|tiếp theo|cuối cùng",
}
FIRST = {"en": r"^(?:first|to begin with),?\s+", "vi": r"^(?:đầu tiên|trước tiên|trước hết),?\s+"}

# What a sentence of a kind must mention; a sentence of another kind that slipped in is caught here.
MENTIONS: dict[str, dict[str, str]] = {
    "en": {
        "swap": r"swap|exchange|interchange|switch|trade|change places|take the place",
        "align": r"\balign|\blin(?:e|ed) |in a (?:row|column)|side by side|(?:one|1) behind the other",
        "rotate": r"rotat|turn|spin|face the|180 degrees|90 degrees",
        "orbit": r"(?:orbit|circle|around the scene|rotate).*|(?:camera|view).*(?:orbit|circle|around the scene)",
        "pan": r"\bpan|turn|\baim|point|look",
        "zoom": r"zoom",
        "add": r"\badd|insert|appear|\bput\b|place|to have",
        "duplicate": r"duplicat|cop(?:y|ied|ies)",
        "remove": r"remove|delete|erase|get rid|gone|vanish|disappear|tak(?:e|en) away",
        "count": r"\bthere\b|number of|exactly|have|make it|contain|show",
        "lighting": r"light|bright|dark|dim|warm|cool|scene|image|picture",
        "background": r"background|floor|scene in",
        "mirror": r"mirror|flip|swap left and right",
    },
    "vi": {
        "swap": r"đổi chỗ|hoán đổi|tráo|thế chỗ|đổi vị trí",
        "align": r"hàng ngang|hàng dọc",
        "rotate": r"xoay|quay|180 độ",
        "orbit": r"quanh|xoay|quay",
        "pan": r"lia|hướng",
        "zoom": r"zoom|phóng to|thu nhỏ",
        "add": r"thêm|xuất hiện",
        "duplicate": r"nhân bản|sao chép|bản sao|nhân đôi",
        "remove": r"xoá|xóa|bỏ|biến mất",
        "count": r"\bcó\b|số",
        "lighting": r"sáng|tối|mờ|ấm|lạnh|cảnh|ảnh|chiếu",
        "background": r"nền|sàn|cảnh",
        "mirror": r"lật|gương|đảo",
    },
}
CAMERA_WORDS = {
    "en": r"\b(?:camera|view|viewpoint)\b",
    "vi": r"camera|máy quay|góc nhìn|khung nhìn|khung hình",
}
_VI_SIDE = r"(?:sang|qua|về|bên|phía)(?: bên| phía)*"
MOVES: dict[str, dict[str, str]] = {
    "en": {
        "toward": r"(?:towards?|(?:closer|nearer) to|direction of|to) §",
        "away": r"away from §",
        "forward": r"\bforwards?\b|(?:towards?|closer to|nearer to) the (?:viewer|camera)",
        "backward": r"\bbackwards?\b|away from the (?:viewer|camera)",
        "left": r"\bleft\b",
        "right": r"\bright\b",
        "up": r"\bup(?:wards?)?\b",
        "down": r"\bdown(?:wards?)?\b",
    },
    "vi": {
        "toward": r"(?:về phía|(?:lại |tới )?gần|gần lại) §",
        "away": r"xa (?:khỏi )?§",
        "forward": r"(?:về phía|lại gần) (?:người xem|máy quay)|ra (?:phía )?trước|tới trước|về phía trước",
        "backward": r"ra (?:phía )?sau|về (?:phía )?sau|\blùi\b|xa (?:người xem|máy quay)",
        "left": rf"{_VI_SIDE} trái\b",
        "right": rf"{_VI_SIDE} phải\b",
        "up": r"\blên\b",
        "down": r"\bxuống\b",
    },
}
TURNS = {
    "en": {"clockwise": r"\bclockwise", "counterclockwise": r"\b(?:counter|anti)-?clockwise"},
    "vi": {
        "clockwise": r"(?:theo|thuận|cùng) chiều kim đồng hồ",
        "counterclockwise": r"(?:ngược chiều|ngược|trái chiều) kim đồng hồ",
    },
}
RELATIONS: dict[str, dict[str, str]] = {
    "en": {
        "left_of": r"left of §",
        "right_of": r"right of §",
        "in_front_of": r"in front of §",
        "behind": r"behind §",
        "on": r"\b(?:on|onto|on top of) §",
        "next_to": r"(?:next to|beside|near|by|close to|alongside) §",
        "between": r"between § and §",
    },
    "vi": {
        "left_of": r"trái (?:của )?§|cách § .*trái",
        "right_of": rf"{_VI_SIDE} phải (?:của )?§|cách § .*{_VI_SIDE} phải",
        "in_front_of": r"trước (?:mặt )?§|cách § .*trước",
        "behind": r"\bsau (?:lưng )?§|cách § .*sau",
        "on": r"trên(?: mặt)? §",
        "next_to": r"(?:cạnh|gần|kế) §",
        "between": r"giữa § và §",
    },
}
VALUES: dict[str, dict[str, dict[str, str]]] = {
    "lighting": {
        "en": {
            "sunrise": "sunrise|dawn", "sunset": "sunset|dusk", "night": "night|nighttime", "studio": "studio",
            "brighter": "brighter", "dimmer": "dimmer|darker", "warmer": "warmer", "cooler": "cooler|colder",
            "side": "from the (?:left|right)",
        },
        "vi": {
            "sunrise": "bình minh|rạng đông", "sunset": "hoàng hôn", "night": "ban đêm|buổi tối",
            "studio": "phòng chụp|studio|trường quay", "brighter": "sáng hơn|sáng lên|sáng thêm",
            "dimmer": "tối hơn|mờ hơn|tối đi|tối bớt|dịu hơn|yếu hơn", "warmer": "ấm hơn|ấm lên",
            "cooler": "lạnh hơn|mát hơn|lạnh đi", "side": "từ (?:phía )?(?:bên )?(?:trái|phải)",
        },
    },
    "background": {
        "en": {
            "city": "city", "courtyard": "courtyard", "forest": "forest|woods", "interior": "interior|room",
            "floor:wood": "wooden|wood", "floor:tiles": "tiled|tiles?", "floor:concrete": "concrete",
            "floor:grass": "grass", "floor:sand": "sand", "floor:checkered": "checkered|chequered",
            "floor:carpet": "carpet|carpeted",
        },
        "vi": {
            "city": "thành phố", "courtyard": "sân trong|khoảng sân", "forest": "khu rừng|rừng",
            "interior": "căn phòng|phòng|trong nhà|nội thất", "floor:wood": "gỗ", "floor:tiles": "gạch(?: lát)?",
            "floor:concrete": "bê tông", "floor:grass": "cỏ", "floor:sand": "cát",
            "floor:checkered": "kẻ ca-rô|ca-rô|kẻ ô", "floor:carpet": "trải thảm|thảm",
        },
    },
    "recolor": COLORS,
    "material": MATERIALS,
    "zoom": {
        "en": {"in": r"zoom\w*(?: the \w+)? in", "out": r"zoom\w*(?: the \w+)? out"},
        "vi": {"in": "phóng to|zoom vào|zoom gần|gần lại", "out": "thu nhỏ|zoom ra|zoom xa|xa ra"},
    },
    "resize": {
        "en": {
            "larger": "larger|bigger|enlarge|grow|scale(?: § |d | )up|increase|scale up",
            "smaller": "smaller|shrink|scale(?: § |d | )down|reduce|decrease|halve|0.5 size",
        },
        "vi": {
            "larger": "lớn hơn|to hơn|to ra|phóng to|tăng|lớn lên|to lên|lớn ra",
            "smaller": "nhỏ hơn|bé hơn|thu nhỏ|giảm|nhỏ lại|nhỏ đi|bé lại|bé đi",
        },
    },
    "align": {
        "en": {"row": "in a row|side by side", "column": "in a column|1 behind the other"},
        "vi": {"row": "hàng ngang", "column": "hàng dọc"},
    },
}  # fmt: skip
VAGUE = {"en": r"slightly|\ba (?:little|bit|tad)\b|little bit", "vi": r"slightly|một chút|chút ít|một ít"}
# Bands for what a vague or open sentence may come to: (slightly), (nothing said).
BANDS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "percent_width": ((2, 15), (4, 40)),
    "percent_height": ((2, 15), (3, 40)),
    "metre": ((0.05, 0.6), (0.1, 2.0)),
    "rotate": ((5, 35), (20, 180)),
    "orbit": ((3, 25), (10, 90)),
    "pan": ((1, 6), (2, 15)),
    "zoom": ((1.03, 1.25), (1.1, 2.0)),
    "larger": ((1.05, 1.35), (1.15, 2.0)),
    "smaller": ((0.74, 0.95), (0.45, 0.87)),
}


def split(text: str, language: str, steps: int) -> list[str]:
    """The parts of a sequence, or the whole sentence where there is one step."""
    text = plain(text)
    if steps == 1:
        return [text]
    joint = rf"(?:\s*[.,;]\s*|\s+)(?:{AND[language]} )?(?:{JOINTS[language]})\b,?\s*(?:{AND[language]} )?"
    return re.split(joint, re.sub(FIRST[language], "", text))


def check(text: str, language: str, said: Row, done: Row) -> list[str]:
    """Complaints about one step: its words against its instruction and its operation."""
    kind = done["kind"]
    if said["kind"] != kind:
        return [f"said is {said['kind']}, done is {kind}"]
    reading = read(text, language)
    bad = _phrases(reading, language, said, done)
    mention = MENTIONS[language].get(kind)
    if mention and not re.search(mention, reading.text):
        bad.append(f"no word of {kind}")
    if kind in ("orbit", "pan") and not re.search(CAMERA_WORDS[language], reading.text):
        bad.append("does not say that the camera moves")
    bad += _direction(reading, language, said, done)
    bad += _named_values(reading, language, said, done)
    bad += _amount(reading, language, said, done)
    return bad


def expressions(said: Row, language: str) -> list[Phrase | None]:
    """subject, reference, reference2 as read; None where one cannot be read as a plain noun phrase."""
    texts = [said[name] for name in ("subject", "reference", "reference2") if said.get(name)]
    readings = [read(text, language) for text in texts]
    return [r.phrases[0] if len(r.phrases) == 1 and r.rest == "§" else None for r in readings]


def _phrases(reading: Reading, language: str, said: Row, done: Row) -> list[str]:
    """The noun phrases of the sentence are those of the instruction, in order."""
    wanted = [phrase for phrase in expressions(said, language) if phrase is not None]
    if len(wanted) < sum(said[name] is not None for name in ("subject", "reference", "reference2")):
        return [f"cannot read the expressions of {said['subject']!r}"]
    heard = list(reading.phrases)
    if len(heard) != len(wanted):
        return [f"heard {len(heard)} noun phrases, the instruction has {len(wanted)}"]
    either_first = done["kind"] in ("swap", "align") or done["relation"] == "between"
    if either_first and not heard[-1].same_words(wanted[-1]):
        heard[-2:] = reversed(heard[-2:])
    return [
        f"heard {h} for {w}" for h, w in zip(heard, wanted)
        if not _without_value(h, w, done).same_words(w)
    ]  # fmt: skip


def _without_value(heard: Phrase, wanted: Phrase, done: Row) -> Phrase:
    """Vietnamese says the new look right behind the noun: take it off before comparing."""
    value = frozenset({done["value"]})
    return Phrase(
        heard.noun,
        heard.color - value if done["kind"] == "recolor" and not wanted.color & value else heard.color,
        heard.material - value
        if done["kind"] == "material" and not wanted.material & value
        else heard.material,
        heard.comparison - value
        if done["kind"] == "resize" and not wanted.comparison & value
        else heard.comparison,
        heard.place,
        heard.number,
    )


def _only(name: str, heard: set[str], wanted: str | None) -> list[str]:
    return (
        [] if heard == ({wanted} if wanted else set()) else [f"{name}: heard {sorted(heard)}, done {wanted}"]
    )


def _direction(reading: Reading, language: str, said: Row, done: Row) -> list[str]:
    kind, rest = done["kind"], reading.rest
    heard = {key for key, pattern in MOVES[language].items() if re.search(pattern, rest)}
    bad = []
    if said["direction"] is not None and said["direction"] != done["direction"]:
        bad.append(f"direction: said {said['direction']}, done {done['direction']}")
    if kind == "move":
        bad += _only("direction", heard, done["direction"] or done["value"])
    elif kind in ("orbit", "pan"):
        bad += _only("direction", heard - {"forward", "backward"}, said["direction"])
    elif kind == "rotate":
        turns = {key for key, pattern in TURNS[language].items() if re.search(pattern, rest)}
        bad += _only("turn", turns, said["direction"])
    elif kind == "lighting" and done["value"] == "side":
        side = {"en": r"from the {}", "vi": r"từ (?:phía )?(?:bên )?{}"}[language]
        words = {"left": "left", "right": "right"} if language == "en" else {"left": "trái", "right": "phải"}
        sides = {key for key, word in words.items() if re.search(side.format(word), rest)}
        bad += _only("side", sides, done["direction"])
    if kind in ("relate", "add"):
        relations = {key for key, pattern in RELATIONS[language].items() if re.search(pattern, rest)}
        bad += _only("relation", relations, done["relation"])
    if kind == "place" or (kind == "add" and not done["relation"]):
        region = _region(rest, language)
        bad += _only("region", {region} if region else set(), done["region"])
    for name in ("subject", "reference", "reference2"):
        new = name == "subject" and kind in ("add", "count")  # described, with no object to point at
        if not new and (said[name] is None) != (done[name] is None):
            bad.append(f"{name}: said {said[name]}, done {done[name]}")
    for name in ("region", "relation", "value"):
        if said[name] != done[name]:
            bad.append(f"{name}: said {said[name]}, done {done[name]}")
    return bad


def _region(rest: str, language: str) -> str | None:
    """One of the nine regions, or None."""
    if language == "en":
        upper, lower = re.search(r"\b(?:upper|top)\b", rest), re.search(r"\b(?:lower|bottom)\b", rest)
        left, right = re.search(r"\bleft\b", rest), re.search(r"\bright\b", rest)
        centre = re.search(r"\b(?:middle|cent(?:er|re))\b", rest)
    else:
        upper, lower = re.search(r"\btrên\b", rest), re.search(r"\bdưới\b", rest)
        left, right = re.search(r"\btrái\b", rest), re.search(r"(?:bên|phía|góc) phải\b", rest)
        centre = re.search(r"giữa|trung tâm|\btâm\b", rest)
    parts = ["upper"] if upper else ["lower"] if lower else []
    parts += ["left"] if left else ["right"] if right else []
    return "-".join(parts) or ("centre" if centre else None)


def _named_values(reading: Reading, language: str, said: Row, done: Row) -> list[str]:
    kind = done["kind"]
    if kind not in VALUES:
        return []
    heard = found(reading.rest, VALUES[kind][language])
    if kind == "background" and not re.search(r"floor|sàn", reading.rest):
        heard = {key for key in heard if not key.startswith("floor:")}
    if kind == "resize":
        heard |= {
            k
            for k in ("larger", "smaller")
            if reading.rest and re.search(VALUES[kind][language][k], reading.rest)
        }
        if not heard:  # "60% of its size", "1.5x as large": the figure alone says which
            heard = {
                "larger" if v > 1 else "smaller"
                for v, unit in reading.quantities
                if unit in ("size", "times")
            }
    subject = next(iter(expressions(said, language)), None)
    if reading.phrases and subject:
        own = reading.phrases[0]
        extra = {"recolor": own.color - subject.color, "material": own.material - subject.material,
                 "resize": own.comparison - subject.comparison}  # fmt: skip
        heard |= extra.get(kind, frozenset())
    return _only("value", heard, done["value"])


def _amount(reading: Reading, language: str, said: Row, done: Row) -> list[str]:
    """Figures of the sentence against those of the operation, or the band of a vague sentence."""
    kind, amount, unit = done["kind"], done["amount"], done["unit"]
    if kind == "zoom" and done["value"] == "out":  # said as how many times, done to the focal length
        amount = 1 / amount
    if kind in ("add", "duplicate", "count"):
        number = _count(reading, language, kind)
        return [] if number == amount else [f"number: heard {number}, done {amount}"]
    if amount is None:
        return [f"heard {reading.quantities}, nothing done"] if reading.quantities else []
    if len(reading.quantities) > 1:
        return [f"heard several figures {reading.quantities}"]
    if reading.quantities:
        heard = _factor(*reading.quantities[0], done) if unit == "factor" else reading.quantities[0][0]
        fits = {"percent_width": "percent", "percent_height": "percent", "metre": "metre", "degree": "degree"}
        if unit in fits and reading.quantities[0][1] != fits[unit]:
            return [f"unit: heard {reading.quantities[0][1]}, done {unit}"]
        side = {"percent_width": r"height|chiều cao", "percent_height": r"width|chiều rộng"}.get(unit)
        bad = [f"share of the wrong side for {unit}"] if side and re.search(side, reading.rest) else []
        return bad + ([] if abs(heard - amount) < 1e-3 else [f"amount: heard {heard:g}, done {amount:g}"])
    if said["kind"] == "relate":
        return ["amount done but none said"]
    low, high = _band(kind, unit, done["value"])[0 if re.search(VAGUE[language], reading.text) else 1]
    return (
        []
        if low <= amount <= high
        else [f"amount {amount:g} {unit} is not in {low}..{high} for this wording"]
    )


def _band(kind: str, unit: str, value: str | None) -> tuple[tuple[float, float], tuple[float, float]]:
    key = kind if kind in BANDS else value if kind == "resize" else unit
    return BANDS[str(key)]


def _factor(value: float, unit: str, done: Row) -> float:
    """A share or multiple as a factor of lengths (of the focal length, of the way)."""
    if unit == "percent":
        share = value / 100
        return 1 - share if done["value"] == "smaller" else 1 + share
    return value


def _count(reading: Reading, language: str, kind: str) -> float | None:
    if kind == "duplicate":
        pattern = {"en": r"(\d+|\ban?) (?:cop|duplicat|times)", "vi": r"(\d+) (?:bản sao|lần)"}[language]
        match = re.search(pattern, reading.rest)
        return 1.0 if match is None or match[1] in ("a", "an") else float(match[1])
    if reading.phrases and reading.phrases[0].number is not None:
        return float(reading.phrases[0].number)
    match = re.search(r"(?:thành|là|\bto|\bbe) (\d+)\b", reading.rest)
    return float(match[1]) if match else None
