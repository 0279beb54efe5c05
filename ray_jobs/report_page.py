"""The page of a run's report: figures from `ray_jobs.report`, pictures of a few pairs, one HTML file.

The page asks nobody for anything: styles are inline, pictures are data URIs, there is no script, and a
content security policy says so to the browser. All text is escaped by the template engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ray_jobs.gallery import Mark, marks, svg_path, thumbnail
from ray_jobs.progress import duration
from ray_jobs.survey import Line, Survey, fetch, message_of
from ray_jobs.templates import template
from shards.images import decode
from shards.run import Run
from shards.schema import CLIP_SCORES
from spatial.instruction import CAMERA_KINDS

FAILED_SHOWN = 50
_COLUMNS = (
    "original_image", "edited_image", "original_prompt", "edit_prompt", "edited_prompt", "operations",
    "objects_before", "objects_after", "width", "height", "scores",
)  # fmt: skip
_MESSAGE = ("provenance",)
LANGUAGES = {"en": "English", "vi": "Vietnamese"}
# What the rules of the judge, and the commonest ends of a scene, mean.
REASONS = {
    "subject_hidden_before": "the subject is not in full view before the edit",
    "subject_hidden_after": "the subject is not in full view after the edit",
    "others_hidden": "another object is hidden",
    "wrong_place": "the subject's centre is not where it should be",
    "wrong_amount": "the measured amount is not the one asked for",
    "wrong_number": "the number of objects is not the one asked for",
    "not_so": "the asked region, relation or view does not hold",
    "others_moved": "an object that was not named moved",
    "others_reshaped": "the shape of an object that was not named changed",
    "nothing_to_see": "the pictures hardly differ where they should",
    "background_changed": "the pictures differ where they should not",
    "seam_shows": "what was put into the photo stands out by its edge",
    "images_unalike": "the pictures have too little in common (CLIP)",
    "caption_before_unmet": "the picture before does not show what its caption says (CLIP)",
    "caption_after_unmet": "the picture after does not show what its caption says (CLIP)",
    "change_unmet": "the pictures do not change as the captions do (CLIP)",
    "preview": "hopeless when it was looked at part-way",
    "too_long": "a caption has more tokens than the text model reads",
    "nothing_shared": "the two captions have no word in common",
    "empty_caption": "a caption is empty",
    "no_caption": "a caption is empty, so CLIP has nothing to compare",
    "bad_picture": "a picture cannot be read",
    "not_finite": "latents or CLIP's figures are not finite",
    "not_scored": "CLIP's figures are missing",
    "collision": "two things would stand in each other",
    "out_of_frame": "a thing would leave the picture",
    "hidden": "a thing would be hidden",
    "no_room": "there is no room for it",
    "no_change": "nothing would change",
    "no_layout": "no scene was found within the allowed tries",
    "unfit_scene": "the scene does not suit the kind of edit",
    "off_floor": "a thing would leave the floor",
    "off_support": "a thing would leave what it stands on",
    "carries_others": "something stands on the thing that is to move",
    "out_of_stock": "the edit would show what the configuration leaves out",
    "unreachable": "no place gives the asked amount",
    "indescribable": "no words fit this thing alone",
    "ambiguous_reference": "the words fit more than one thing",
    "ambiguous_frame": "the thing's own front and the viewer disagree",
    "nothing_free": "nothing in the photo may be touched",
    "no_region": "the thing lies between two regions",
    "unlike": "the two things differ in size or ground line",
    "image_missing": "the photo's file is not there",
    "image_empty": "the photo's file is empty",
    "image_truncated": "the photo's file ends too early",
    "image_broken": "the photo's file is damaged",
    "image_too_large": "the photo has too many pixels",
    "image_not_supported": "the file is no picture of a known format",
    "size_differs": "the annotation is for a picture of another size",
    "mask_too_large": "a mask is larger than its photo",
    "blender_crashed": "Blender crashed twice on the scene",
    "gave_up": "its worker died too often",
    "killed_its_worker": "its worker died on it twice",
}
_UNITS = {
    "percent_width": "{:.4g} % of the width",
    "percent_height": "{:.4g} % of the height",
    "metre": "{:.2f} m",
    "degree": "{:.4g}°",
    "factor": "×{:.3g}",
    "count": "{:.0f}",
}
_VERBS = {"relate": "put", "place": "put at"}
_RELATIONS = {
    "left_of": "left of", "right_of": "right of", "in_front_of": "in front of", "behind": "behind", "on": "on",
    "next_to": "next to", "between": "between",
}  # fmt: skip


COUNTED_KINDS = frozenset({"add", "duplicate", "remove", "count"})


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with outlines. uri: data URI. paths: SVG paths with their classes."""

    uri: str
    paths: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Card:
    """A pair on the page."""

    line: Line
    row: Mapping[str, Any]
    before: Picture
    after: Picture
    operations: list[str]
    measured: str
    figures: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of the survival table. share: of the first line of its table. level: "stage" or a verdict."""

    name: str
    meaning: str
    count: int
    share: float
    level: str


def render(run: Run, report: Mapping[str, Any], surveys: Mapping[str, Survey]) -> str:
    """The page. report: as `report.json`. Reads the rows of the pairs shown, a unit at a time."""
    routes = {}
    for name, part in report["routes"].items():
        folder, found = part["folders"]["pairs"], surveys[name]
        cards = {
            (card.line.kind, card.line.language): card
            for card in _cards(run, folder, found.examples.values())
        }
        routes[name] = {
            "part": part,
            "scenes": scene_bars(part["scenes"]),
            "pairs": pair_bars(part),
            "kinds": _halves(_table(part["by_kind"])),
            "clip_scores": CLIP_SCORES,
            "languages": sorted({cell["language"] for cell in part["by_kind"]}),
            "cards": [cards[cell["kind"], cell["language"]] for cell in part["by_kind"]
                      if (cell["kind"], cell["language"]) in cards],
            "rejects": list(_cards(run, folder, found.rejects.values())),
            "failed": [(line, message_of(row))
                       for line, row in fetch(run, folder, found.failed[:FAILED_SHOWN], _MESSAGE)],
        }  # fmt: skip
    page = template(
        "report_page.html",
        duration=duration, percent=percent, language=lambda code: LANGUAGES.get(code, code), bytes=file_size,
    )  # fmt: skip
    return page.render(report=report, routes=routes)


def scene_bars(scenes: Mapping[str, Any]) -> list[Bar]:
    """From scenes drawn to scenes rendered; empty where no unit reported."""
    drawn = scenes["drawn"]
    if not drawn:
        return []
    lost = [_bar(reason, number, drawn, "lost") for reason, number in scenes["reasons"].items()]
    return [
        _bar("scenes drawn", drawn, drawn, "stage"),
        *lost,
        _bar("scenes rendered", scenes["made"], drawn, "stage"),
    ]


def pair_bars(part: Mapping[str, Any]) -> list[Bar]:
    """From pairs asked for to pairs accepted, and every reason between; shares are of those asked for."""
    pairs, tried = part["pairs"], part["pairs"]["tried"]

    def reasons(verdict: str, made: bool) -> Iterable[Bar]:
        unmade = part["unmade"][verdict]
        for reason, number in part["reasons"][verdict].items():
            number = number - unmade.get(reason, 0) if made else unmade.get(reason, 0)
            if number:
                yield _bar(reason, number, tried, verdict)

    undecided = [_bar("undecided", pairs["undecided"], tried, "lost")] if pairs["undecided"] else []
    return [
        _bar("pairs drawn" if part["engine"] else "pairs asked for", tried, tried, "stage"),
        *reasons("rejected", made=False),
        *reasons("failed", made=False),
        _bar("with pictures" if part["engine"] else "rendered", pairs["made"], tried, "stage"),
        *reasons("rejected", made=True),
        *reasons("failed", made=True),
        *undecided,
        _bar("accepted", pairs["accepted"], tried, "accepted"),
    ]


def operation_words(step: Mapping[str, Any]) -> str:
    """An operation in short words: "mug-1: move left 25 % of the width"."""
    objects = ", ".join(step["objects"] or ())
    subject = step["subject"] or objects
    words = [
        _VERBS.get(step["kind"], step["kind"]),
        None if step["value"] in ("toward", "away") else (step["value"] or "").replace(":", " "),
        step["direction"],
        (step["region"] or "").replace("-", " "),
        _amount(step["unit"], step["amount"]),
        _near(step),
        f"({objects})" if objects not in ("", subject) else None,
    ]
    return (f"{subject}: " if subject else "") + " ".join(word for word in words if word)


def _near(step: Mapping[str, Any]) -> str:
    """How it stands to other things: "left of cube-1", "with cube-1", "away from cube-1"."""
    names = " and ".join(name for name in (step["reference"], step["reference2"]) if name)
    if not names:
        return ""
    toward = {"toward": "toward", "away": "away from"}.get(step["value"] or "", "with")
    return f"{_RELATIONS.get(step['relation'] or '', toward)} {names}"


def _amount(unit: str | None, amount: float | None) -> str:
    return "" if unit is None or amount is None else _UNITS.get(unit, "{:.4g}").format(amount)


def measured(row: Mapping[str, Any]) -> str:
    """What the judge measured on the masks, for the first operation that has an amount; "" if nothing."""
    scores = row["scores"] or {}
    first: Mapping[str, Any] = next(iter(row["operations"] or ()), {})
    if amount := _amount(first.get("unit"), scores.get("amount_measured")):
        return f"measured {amount}"
    if first.get("kind") in COUNTED_KINDS and scores.get("count_error") is not None:
        return "counted: exact" if not scores["count_error"] else f"counted: {scores['count_error']:+.0f}"
    if scores.get("holds") is None:
        return ""
    if first.get("kind") in CAMERA_KINDS:
        return f"{percent(scores['holds'])} of points land right"
    return "checked: holds" if scores["holds"] == 1 else f"holds {percent(scores['holds'])}"


def percent(share: float | None) -> str:
    """For example "93 %", "0.4 %"; "–" for None."""
    if share is None:
        return "–"
    return f"{share * 100:.0f} %" if share >= 0.0995 or not share else f"{share * 100:.1f} %"


def file_size(count: int) -> str:
    """For example "5.1 MB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _cards(run: Run, folder: str, lines: Iterable[Line]) -> Iterable[Card]:
    for line, row in fetch(run, folder, list(lines), _COLUMNS):
        before, after = marks(row)
        clip = zip(CLIP_SCORES, line.clip.figures, strict=True) if line.clip is not None else ()
        known = {**(row["scores"] or {}), **dict(clip)}
        scores = {name: value for name, value in known.items() if value is not None}
        yield Card(
            line=line,
            row=row,
            before=_picture(row["original_image"], before),
            after=_picture(row["edited_image"], after),
            operations=[operation_words(step) for step in row["operations"] or ()],
            measured=measured(row),
            figures=list(scores.items()),
        )


def _picture(image: Mapping[str, Any], found: Iterable[Mark]) -> Picture:
    paths = [(f"{mark.role} was" if mark.was else mark.role, svg_path(mark.mask)) for mark in found]
    return Picture(thumbnail(decode(image)), [(kind, path) for kind, path in paths if path])


def _table(cells: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, int]]]:
    """{kind: {language: {"accepted": n, "tried": n}}}."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    for cell in cells:
        tried = sum(cell[verdict] for verdict in ("accepted", "rejected", "failed", "undecided"))
        table.setdefault(cell["kind"], {})[cell["language"]] = {"accepted": cell["accepted"], "tried": tried}
    return table


def _halves(table: Mapping[str, Any]) -> list[list[tuple[str, Any]]]:
    """The table's lines in two lists, to stand beside each other where there is room."""
    lines = list(table.items())
    middle = (len(lines) + 1) // 2
    return [half for half in (lines[:middle], lines[middle:]) if half]


def _bar(name: str, count: int, whole: int, level: str) -> Bar:
    return Bar(name.replace("_", " "), REASONS.get(name, ""), count, count / whole if whole else 0.0, level)
