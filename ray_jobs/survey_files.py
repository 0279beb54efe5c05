"""A survey made of an evaluation: which edits people are asked about, and the pictures, as the run has them.

What was chosen is written into the run the first time, so that raters who come back, and an editor that is added to the
evaluation later, change nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from evaluation.edit_sets import of_group
from evaluation.survey import OTHER, TRUE, Entry, Survey, Task
from evaluation.votes import Votes, VotesError
from ray_jobs.config import ConfigError
from ray_jobs.evaluate import MADE_OF
from ray_jobs.gallery import enlarged
from shards.images import Pixels, decode
from shards.run import Run
from shards.storage import NotFound
from shards.tables import read_table

FILE, DATABASE = "survey.json", "survey.sqlite"
_EDITS = 40  # of each language
_SIDE = 512  # pixels: pictures are shown no larger
_BOUNDS = ("identity", "oracle", "decoded")  # kinds of editors that nobody needs to be asked about


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A survey and its pictures as WebP files. before, truth: by the entry's place. made: by place and editor."""

    survey: Survey
    before: Mapping[int, bytes]
    truth: Mapping[int, bytes]
    made: Mapping[tuple[int, str], bytes]

    def picture(self, task: Task, place: str) -> bytes | None:
        """place: "before", "a", "b"; None for one that the task does not have."""
        if place == "before":
            return self.before[task.entry]
        number = {"a": 0, "b": 1}.get(place)
        if number is None or number >= len(task.shown):
            return None
        who = task.shown[number]
        if who == TRUE:
            return self.truth[task.entry]
        if who == OTHER:
            assert task.other is not None
            return self.truth[task.other]
        return self.made[task.entry, who]


def open_survey(run: Run) -> Shown:
    """The survey of an evaluation. Raises ConfigError where the run is none, or has no edits to ask about."""
    editors = {
        name: about
        for name, about in (run.config.get("editors") or {}).items()
        if about["kind"] not in _BOUNDS
    }
    if not editors or "sets" not in run.config:
        raise ConfigError(f"{run.storage.uri} is no evaluation of editors: run 'evaluate' first")
    try:
        kept = json.loads(run.storage.read(FILE))
    except NotFound:
        kept = _chosen(run, [*editors])
        run.storage.write(FILE, json.dumps(kept, ensure_ascii=False, indent=1).encode())
    survey = Survey(tuple(Entry(**one) for one in kept["entries"]), tuple(kept["editors"]))
    return _with_pictures(run, survey, kept)


def editors_of(run: Run) -> tuple[str, ...]:
    """The editors that a survey asks about. Raises ConfigError where nobody was asked yet."""
    try:
        return tuple(json.loads(run.storage.read(FILE))["editors"])
    except NotFound:
        raise ConfigError(f"{run.storage.uri} has no survey: open one with 'serve --survey' first") from None


def votes_of(run: Run, url: str | None) -> Votes:
    """The survey's votes. url: of a database; None for a file in the run's folder. Raises ConfigError."""
    if url is None:
        if "://" in run.storage.uri:
            raise ConfigError(
                "--votes: votes are kept in a database; name one for a survey that is in a bucket"
            )
        url = f"sqlite:///{run.storage.uri}/{DATABASE}"
    try:
        return Votes(url)
    except VotesError as error:
        raise ConfigError(f"--votes: {error}") from None


def _chosen(run: Run, editors: list[str]) -> dict[str, Any]:
    """Edits of the first set, kinds by turns, of which every editor made a picture; where set and pictures are is kept
    with them, so that votes are never of two pictures. Raises ConfigError."""
    name = next(iter(run.config["sets"]))
    try:
        made_of = json.loads(run.storage.read(MADE_OF))
        about = made_of["sets"][name]
    except (NotFound, KeyError):
        raise ConfigError(f"{run.storage.uri} has no set {name!r}: run 'evaluate' first") from None
    folders = {
        one["editor"]: one["folder"]
        for one in made_of["results"]
        if one["set"] == name and one["copy"] == 0 and one["editor"] in editors
    }
    pinned = {"set": name, "key": about["key"], "edits": about["edits"], "folders": folders}
    if missing := [editor for editor in editors if editor not in folders]:
        raise ConfigError(f"{run.storage.uri} has no results of {missing[0]}: finish it first")
    there = set.intersection(*(set(_made(run, folders[editor])) for editor in editors))
    taken: dict[str, int] = {}
    turns: dict[tuple[str, str], int] = {}
    order: list[tuple[int, int, Entry]] = []
    for case in _cases(run, pinned):
        language, pair = str(case.row["language"]), str(case.row["pair_id"])
        if pair in there and case.truth is not None:
            turn = turns[language, case.kind] = turns.get((language, case.kind), 0) + 1
            order.append((turn, len(order), Entry(pair, str(case.row["scene_id"]), language, case.text)))
    entries = []
    for _, _, entry in sorted(order, key=lambda one: one[:2]):
        taken[entry.language] = taken.get(entry.language, 0) + 1
        if taken[entry.language] <= _EDITS:
            entries.append(asdict(entry))
    if not any(number >= 2 for number in taken.values()):
        raise ConfigError(
            f"{run.storage.uri} has no edits of which every editor made a picture: finish it first"
        )
    return {**pinned, "editors": editors, "entries": entries}


def _cases(run: Run, pinned: Mapping[str, Any]) -> list[Any]:
    """Of the set that results are of."""
    groups = -(-pinned["edits"] // run.config["unit"])
    return [case for group in range(groups) for case in of_group(run.storage, pinned["key"], group)]


def _made(run: Run, folder: str) -> dict[str, bytes]:
    """Pictures, by pair."""
    found: dict[str, bytes] = {}
    for unit in sorted(run.done(folder)):
        table = read_table(run.storage, run.shard_key(folder, unit), ("pair_id", "edited"))
        found |= {row["pair_id"]: row["edited"]["bytes"] for row in table.to_pylist() if row["edited"]}
    return found


def _with_pictures(run: Run, survey: Survey, pinned: Mapping[str, Any]) -> Shown:
    place = {entry.name: number for number, entry in enumerate(survey.entries)}
    before, truth, made = dict[int, bytes](), dict[int, bytes](), dict[tuple[int, str], bytes]()
    for case in _cases(run, pinned):
        number = place.get(str(case.row["pair_id"]))
        if number is not None:
            before[number], truth[number] = _webp(case.before), _webp(case.truth)
    for editor in survey.editors:
        for pair, picture in _made(run, pinned["folders"][editor]).items():
            if pair in place:
                made[place[pair], editor] = _webp(decode(picture))
    if len(before) < len(survey.entries) or len(made) < len(survey.entries) * len(survey.editors):
        raise ConfigError(
            f"{run.storage.uri}/{FILE} speaks of pictures that are not there any more: the survey ends here; delete "
            "it, and its votes, to begin another"
        )
    return Shown(survey, before, truth, made)


def _webp(picture: Pixels) -> bytes:
    """Every picture through the same encoder: what a file looks like inside must not tell who made it."""
    small = enlarged(picture, _SIDE) if max(picture.shape[:2]) > _SIDE else picture
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "WEBP", quality=92, method=4)
    return buffer.getvalue()
