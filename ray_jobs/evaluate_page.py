"""report.json and report.html of an evaluation: the table, curves, and pictures of the same edits by every editor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evaluation import table
from evaluation.edit_sets import of_group
from evaluation.results import MADE, RIGHT, TOLERANCES
from evaluation.rules import ANALYSIS, CHOOSING, JUDGING, rules
from evaluation.spatial import NAMED
from ray_jobs.config_evaluate import EvaluateConfig
from ray_jobs.evaluate_distances import compared, edits_said, names, route_of, share_said
from ray_jobs.evaluate_trade import trade_off
from ray_jobs.gallery import thumbnail
from ray_jobs.templates import template
from shards.images import decode
from shards.run import Run
from shards.storage import NotFound
from shards.tables import read_table

if TYPE_CHECKING:
    from ray_jobs.evaluate_sets import Frozen

VERSION = 1
_SHOWN = 24  # edits of a set
_SIDE = 192  # pixels
_CURVE = (560, 240)  # pixels
_COLOURS = ("#3456d1", "#bf3b30", "#12805c", "#ad6f00", "#7a3fb0", "#0b7a99", "#5d6778")
_MEANINGS = {
    "other_things": "other things are in the picture than should be",
    "unnamed_moved": "a thing that nobody named is not where it was",
    "named_off": "a named thing is not where it should be",
    "wrong_size": "a named thing has another size",
    "wrong_way": "it went the other way, or nowhere",
    "wrong_extent": "it went too far, or not far enough",
    "wrong_region": "it is not in the region",
    "wrong_relation": "it does not stand so to the other thing",
    "wrong_turn": "it is turned otherwise",
    "wrong_material": "it is of another material",
}


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture on the page. right: None for pictures that nobody is judged by."""

    label: str
    uri: str | None
    right: bool | None
    said: str


@dataclass(frozen=True, slots=True)
class Card:
    text: str
    kind: str
    language: str
    shots: list[Shot]


def write(
    run: Run, config: EvaluateConfig, sets: Sequence[Frozen], folders: Mapping[str, str], missing: int = 0
) -> dict[str, Any]:
    """Writes both files over older ones, the page last; the report. folders: of results. missing: units that are not
    there yet. Raises StorageError."""
    rows = [row for folder in folders.values() for row in _rows(run, folder)]
    found = table.summary(rows, [*config.editors]) if rows else {}
    for one in sets:
        if one.name in found:
            apart = compared(run, config, one.name, folders)
            for editor, figures in found[one.name]["editors"].items():
                figures["distances"] = apart[editor]
    whole = {
        one.name: found[one.name] | asdict(one) | {"said": one.said()} for one in sets if one.name in found
    }
    report = {
        "version": VERSION, "run_id": run.id, "written": datetime.now(UTC).isoformat(), "missing": missing,
        "rules": {"judging": rules(JUDGING), "choosing": rules(CHOOSING), "analysis": rules(ANALYSIS)}, "sets": whole,
    }  # fmt: skip
    run.write_report_json(report)
    cards = {one.name: _cards(run, one, config, folders) for one in sets if one.name in found}
    trades = {name: trade_off(config.editors, of["editors"], _CURVE, _COLOURS) for name, of in whole.items()}
    run.write_report_html(render(report, cards, trades))
    return report


def _rows(run: Run, folder: str) -> list[dict[str, Any]]:
    return [
        row
        for unit in sorted(run.done(folder))
        for row in read_table(run.storage, run.shard_key(folder, unit), table.COLUMNS).to_pylist()
    ]


def render(report: Mapping[str, Any], cards: Mapping[str, Sequence[Card]], trades: Mapping[str, Any]) -> str:
    curves = {name: curve(found["editors"]) for name, found in report["sets"].items()}
    page = template(
        "evaluate_page.html",
        percent=lambda share: f"{share:.1%}", points=lambda share: f"{100 * share:+.1f}", words=_words,
        called=names, share=share_said, edits=edits_said,
    )  # fmt: skip
    return page.render(
        report=report,
        cards=cards,
        curves=curves,
        no_lpips=table.no_lpips(report["sets"]),
        trades=trades,
        colours=_COLOURS,
        meanings=_MEANINGS,
        size=_CURVE,
        named=NAMED,
    )


def curve(editors: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """A line of the plot for each editor: its name, colour, and the points of an SVG polyline."""
    width, height = _CURVE
    most = TOLERANCES[-1]
    return [
        {
            "name": name,
            "colour": _COLOURS[number % len(_COLOURS)],
            "points": " ".join(
                f"{point['tolerance'] / most * width:.1f},{(1 - point['share']) * height:.1f}"
                for point in figures["curve"]
            ),
        }
        for number, (name, figures) in enumerate(editors.items())
        if figures["curve"]
    ]


def _words(name: str | None) -> str:
    return (name or "").replace("_", " ")


def _cards(run: Run, one: Frozen, config: EvaluateConfig, folders: Mapping[str, str]) -> list[Card]:
    """The first edits of each kind, in turns, as the first copy of each editor made them."""
    cases = [
        (number, case)
        for group in range(-(-one.edits // config.unit))
        for number, case in enumerate(of_group(run.storage, one.key, group), group * config.unit)
    ]
    turns: dict[str, int] = {}
    order = []
    for number, case in cases:
        turns[case.kind] = turns.get(case.kind, 0) + 1
        order.append((turns[case.kind], number, case))
    cards = []
    made = _Made(run, one, config, folders)
    for _, number, case in sorted(order, key=lambda some: some[:2])[:_SHOWN]:
        shots = [Shot("before", thumbnail(case.before, _SIDE), None, "")]
        shots += [made.shot(editor, number) for editor in config.editors]
        if case.truth is not None:
            shots.append(Shot("as it should be", thumbnail(case.truth, _SIDE), None, ""))
        cards.append(Card(case.text, case.kind, str(case.row["language"]), shots))
    return cards


class _Made:
    """What editors made, a unit's rows in memory for each."""

    def __init__(self, run: Run, one: Frozen, config: EvaluateConfig, folders: Mapping[str, str]) -> None:
        self._run, self._unit = run, config.unit
        self._routes = {name: route_of(one.name, name, folders) for name in config.editors}
        self._folders = folders
        self._read: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def shot(self, editor: str, number: int) -> Shot:
        unit, place = divmod(number, self._unit)
        route = self._routes[editor]
        if (route, unit) not in self._read:
            key = self._run.shard_key(self._folders[route], f"{route}-{unit:07d}")
            try:
                columns = ("edited", "outcome", "reason")
                self._read[route, unit] = read_table(self._run.storage, key, columns).to_pylist()
            except NotFound:  # a unit that is missing
                self._read[route, unit] = []
        rows = self._read[route, unit]
        if place >= len(rows):
            return Shot(editor, None, None, "not made")
        row = rows[place]
        uri = thumbnail(decode(row["edited"]), _SIDE) if row["edited"] else None
        right = row["outcome"] == RIGHT if uri and row["outcome"] != MADE else None
        return Shot(editor, uri, right, "right" if right else _words(row["reason"] or row["outcome"]))
