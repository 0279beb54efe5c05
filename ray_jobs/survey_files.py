"""A survey made of an evaluation: which edits people are asked about, and the pictures, as the run has them.

What was chosen is written into the run the first time, so that raters who come back, and an editor that is added to the
evaluation later, change nothing. An edit that an editor made no picture of is still asked of the others; how many those
are, and why, is written down, too.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from PIL import Image

from evaluation.edit_sets import every
from evaluation.portraits import NAME as PORTRAITS
from evaluation.results import FAILED, UNASKED
from evaluation.survey import CHECKS_NEEDED, OTHER, TRUE, Entry, Question, Survey, Task
from evaluation.trials import Case, by_turns
from evaluation.votes import Votes, VotesError
from ray_jobs.config import ConfigError
from ray_jobs.evaluate_results import MADE_OF
from ray_jobs.gallery import enlarged
from shards.images import Pixels, decode
from shards.run import Run
from shards.storage import NotFound
from shards.tables import read_table

FILE, DATABASE = "survey.json", "survey.sqlite"
_EDITS = 40  # of each language, for two editors or for one
_SIDE = 512  # pixels: pictures are shown no larger
_BOUNDS = ("identity", "oracle", "decoded")  # kinds of editors that nobody needs to be asked about


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A survey and its pictures as WebP files. before, truth: by the entry's place; of portraits both are the untouched
    one. made: by place and editor."""

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
    """The survey of an evaluation; when it is made, prints what is left out of it. Raises ConfigError where the run is
    none, or has too few edits to ask about."""
    editors = {
        name: about
        for name, about in (run.config.get("editors") or {}).items()
        if about["kind"] not in _BOUNDS
    }
    if not editors or "sets" not in run.config:
        raise ConfigError(f"{run.storage.uri} is no evaluation of editors: run 'evaluate' first")
    try:
        kept, is_new = json.loads(run.storage.read(FILE)), False
    except NotFound:
        kept, is_new = _chosen(run, [*editors]), True
    survey = _survey(kept)
    if not any(survey.enough(language) for language in _languages(survey.entries)):
        need = "of two people" if survey.portraits else "that have a true picture"
        raise ConfigError(
            f"{run.storage.uri} has no language with {CHECKS_NEEDED} edits {need} and one by an editor: finish it, or "
            "evaluate more edits"
        )
    if is_new:
        if not run.storage.create(FILE, json.dumps(kept, ensure_ascii=False, indent=1).encode()):
            return open_survey(run)  # another server was first: both ask the same
        for line in _left_out(kept):
            print(line, flush=True)
    return _with_pictures(run, survey, kept)


def editors_of(run: Run) -> tuple[str, ...]:
    """The editors that a survey asks about. Raises ConfigError where nobody was asked yet."""
    return tuple(_kept(run)["editors"])


def questions_of(run: Run) -> tuple[Question, ...]:
    """What a survey asks of each picture. Raises ConfigError as above."""
    return Survey((), (), portraits=_kept(run).get("portraits", False)).questions


def not_shown(run: Run) -> dict[str, dict[str, Any]]:
    """{editor: {"edits", "failed": {reason: edits}, "not_expressible", "no_result"}}: of how many edits of the set the
    editor made no picture, and why. Empty for a survey that an older version made. Raises ConfigError as above."""
    return dict(_kept(run).get("not_shown", {}))


def not_shown_lines(about: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The same in words; nothing of editors that made every picture."""
    for editor, own in about.items():
        failed = sum(own["failed"].values())
        reasons = ", ".join(f"{reason} {number}" for reason, number in own["failed"].items())
        counts = {
            f"failed ({reasons})": failed,
            "cannot be said to it": own["not_expressible"],
            "without a result yet": own["no_result"],
        }
        if total := sum(counts.values()):
            why = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
            yield f"not shown of {editor}: {total} of {own['edits']} edits: {why}"


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


def _kept(run: Run) -> dict[str, Any]:
    try:
        return dict(json.loads(run.storage.read(FILE)))
    except NotFound:
        raise ConfigError(f"{run.storage.uri} has no survey: open one with 'serve --survey' first") from None


def _survey(kept: Mapping[str, Any]) -> Survey:
    entries = tuple(Entry(**one) for one in kept["entries"])
    place = {entry.name: number for number, entry in enumerate(entries)}
    asked = None  # older versions took only edits of which every editor made a picture
    if "asked" in kept:
        asked = {tuple(one["editors"]): tuple(place[name] for name in one["edits"]) for one in kept["asked"]}
    return Survey(entries, tuple(kept["editors"]), asked=asked, portraits=kept.get("portraits", False))


def _chosen(run: Run, editors: list[str]) -> dict[str, Any]:
    """Edits of the first set, for each two editors those of which both made a picture, for each one those of which it
    did, kinds by turns; where set and pictures are is kept with them, so that votes are never of two pictures. Raises
    ConfigError."""
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
    # Portraits have no true pictures, and need none for the checks.
    people = run.config["sets"][name].get("benchmark") == PORTRAITS
    every = {
        _entry(case): case
        for case in _cases(run, pinned)
        if case.truth is not None or (people and not case.broken)
    }
    outcomes = {editor: _outcomes(run, folders[editor]) for editor in editors}
    made = {
        editor: {pair for pair, (outcome, _) in own.items() if outcome not in (FAILED, UNASKED)}
        for editor, own in outcomes.items()
    }
    asked: dict[tuple[str, ...], list[str]] = {}
    for shown in [*combinations(editors, 2), *((editor,) for editor in editors)]:
        there = [entry for entry in every if all(entry.name in made[editor] for editor in shown)]
        asked[shown] = [
            str(case.row["pair_id"])
            for language in _languages(there)
            for case in by_turns([every[entry] for entry in there if entry.language == language], _EDITS)
        ]
    taken = {pair for pairs in asked.values() for pair in pairs}
    return {
        **pinned, "portraits": people, "editors": editors,
        "entries": [asdict(entry) for entry in every if entry.name in taken],
        "asked": [{"editors": list(shown), "edits": pairs} for shown, pairs in asked.items()],
        "not_shown": {editor: _not_shown([entry.name for entry in every], own) for editor, own in outcomes.items()},
        "left_out": about["edits"] - len(every),
    }  # fmt: skip


def _entry(case: Case) -> Entry:
    return Entry(str(case.row["pair_id"]), str(case.row["scene_id"]), str(case.row["language"]), case.text)


def _languages(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.language for entry in entries))


def _not_shown(pairs: Sequence[str], outcomes: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """An editor's, as `not_shown` gives it."""
    own = [outcomes[pair] for pair in pairs if pair in outcomes]
    failed = Counter(reason for outcome, reason in own if outcome == FAILED)
    return {
        "edits": len(pairs), "failed": dict(failed.most_common()),
        "not_expressible": sum(outcome == UNASKED for outcome, _ in own), "no_result": len(pairs) - len(own),
    }  # fmt: skip


def _left_out(kept: Mapping[str, Any]) -> Iterator[str]:
    if number := kept["left_out"]:
        why = "portrait that opens" if kept["portraits"] else "true picture for the checks"
        yield f"left out: {number} of {kept['edits']} edits, which have no {why}"
    yield from not_shown_lines(kept["not_shown"])


def _cases(run: Run, pinned: Mapping[str, Any]) -> list[Case]:
    """Of the set that results are of."""
    return every(run.storage, pinned["key"])


def _outcomes(run: Run, folder: str) -> dict[str, tuple[str, str]]:
    """(outcome, reason), by pair."""
    found: dict[str, tuple[str, str]] = {}
    for unit in sorted(run.done(folder)):
        table = read_table(run.storage, run.shard_key(folder, unit), ("pair_id", "outcome", "reason"))
        found |= {row["pair_id"]: (row["outcome"], row["reason"] or "unknown") for row in table.to_pylist()}
    return found


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
        if number is not None and (case.truth is not None or survey.portraits):
            before[number] = _webp(case.before)
            truth[number] = before[number] if case.truth is None else _webp(case.truth)
    wanted = survey.pictures()
    for editor in survey.editors:
        for pair, picture in _made(run, pinned["folders"][editor]).items():
            if pair in place and (place[pair], editor) in wanted:
                made[place[pair], editor] = _webp(decode(picture))
    if len(before) < len(survey.entries) or len(made) < len(wanted):
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
