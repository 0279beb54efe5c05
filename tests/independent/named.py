"""Is the thing that is named the thing that is meant, and does everything else stay?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.independent.edits import Report
from tests.independent.pictures import State, Thing
from tests.independent.sentence import expressions
from tests.independent.words import Phrase

Row = Mapping[str, Any]

# What an operation may change of its subject (and of the reference of a swap).
CHANGES: dict[str, frozenset[str]] = {
    "move": frozenset({"position"}),
    "place": frozenset({"position"}),
    "relate": frozenset({"position"}),
    "swap": frozenset({"position"}),
    "align": frozenset({"position"}),
    "rotate": frozenset({"quaternion"}),
    "resize": frozenset({"size"}),
    "recolor": frozenset({"color"}),
    "material": frozenset({"material"}),
    "mirror": frozenset({"quaternion", "shape"}),
}
SHAPES = frozenset({"position", "quaternion", "size", "shape"})


@dataclass(frozen=True)
class Known:
    """An object as a listener knows it at some step of a sequence. stirred: it was moved, turned or resized."""

    id: str
    noun: str
    color: str | None
    material: str | None
    thing: Thing
    stirred: bool = False

    def fits(self, phrase: Phrase) -> bool:
        return (
            self.noun == phrase.noun and phrase.color <= {self.color} and phrase.material <= {self.material}
        )  # fmt: skip


def listen(language: str, said: Sequence[Row], done: Sequence[Row], before: State, after: State) -> list[str]:
    """Complaints about what the noun phrases of every step point at, step by step."""
    known = {t.id: Known(t.id, t.name, t.color, t.material, t) for t in before.things.values()}
    bad: list[str] = []
    for words, operation in zip(said, done):
        phrases = expressions(words, language)
        ids = [operation[name] for name in ("subject", "reference", "reference2")]
        if operation["kind"] in ("add", "count"):
            bad += _described(next(iter(phrases), None), operation, known, after)
            phrases, ids = phrases[1:], ids[1:]
        for phrase, key in zip(phrases, (key for key in ids if key is not None)):
            bad += (
                [f"unreadable phrase for {key}"] if phrase is None else _points_at(phrase, key, known, before)
            )
        _learn(known, operation, after)
    return bad


def _points_at(phrase: Phrase, key: str, known: Mapping[str, Known], before: State) -> list[str]:
    if key not in known:
        return [f"{key} is not there when it is named"]
    fitting = [thing for thing in known.values() if thing.fits(phrase)]
    if not known[key].fits(phrase):
        return [f"{phrase} does not fit {key}"]
    if not (phrase.comparison or phrase.place):
        others = [thing.id for thing in fitting if thing.id != key]
        return [f"{phrase} fits {others} as well as {key}"] if others else []
    if any(thing.stirred for thing in fitting):
        return []  # where it stands or how large it is now was never pictured
    for word in phrase.comparison | phrase.place:
        order = sorted(fitting, key=lambda thing: _measure(word, thing.thing, before))
        if order[-1].id != key:
            return [f"the {word} of {[t.id for t in fitting]} is {order[-1].id}, not {key}"]
        if word in phrase.comparison:  # who sees only the picture must choose the same
            shown = sorted(fitting, key=lambda thing: _measure(word, thing.thing, before, shown=True))
            if shown[-1].id != key:
                return [f"{key} is the {word} one, but {shown[-1].id} looks it"]
        if word in ("larger", "smaller") and len(fitting) != 2:
            return [f"{word} chooses of two, not of {len(fitting)}"]
    return []


def _measure(word: str, thing: Thing, before: State, shown: bool = False) -> float:
    """The larger, the better does the word fit. shown: by pixels, what is hidden made up for, not by metres."""
    if word in ("larger", "largest", "smaller", "smallest"):
        size = float(thing.mask.sum()) / max(thing.visible, 0.01) if shown else float(np.prod(thing.size))
        return size * (1 if word.startswith("la") else -1)
    if word in ("leftmost", "rightmost"):
        return float(thing.centre[0]) * (1 if word == "rightmost" else -1)
    return before.eye.depth(thing.position) * (1 if word == "farthest" else -1)


def _described(phrase: Phrase | None, operation: Row, known: Mapping[str, Known], after: State) -> list[str]:
    """Objects added or removed fit their description; a count is right."""
    if phrase is None:
        return ["unreadable description"]
    bad = []
    new = {t.id: Known(t.id, t.name, t.color, t.material, t) for t in after.things.values()}
    for key in operation["objects"]:
        thing = new.get(key) or known.get(key)
        if thing is None or not thing.fits(phrase):
            bad.append(f"{key} does not fit {phrase}")
    if operation["kind"] == "count":
        there = sum(thing.fits(phrase) for thing in new.values())
        if there != operation["amount"]:
            bad.append(f"{there} objects fit {phrase}, {operation['amount']:g} asked")
    return bad


def _learn(known: dict[str, Known], operation: Row, after: State) -> None:
    """Bring what is known up to the next step."""
    kind, key = operation["kind"], operation["subject"]
    for other in operation["objects"]:
        if other in known:
            del known[other]
        elif other in after.things:
            thing = after.things[other]
            known[other] = Known(other, thing.name, thing.color, thing.material, thing, stirred=True)
    if key in known:
        old = known[key]
        known[key] = Known(
            key, old.noun,
            operation["value"] if kind == "recolor" else old.color,
            operation["value"] if kind == "material" else old.material,
            old.thing, stirred=bool(CHANGES.get(kind, frozenset()) & SHAPES),
        )  # fmt: skip


def stays(done: Sequence[Row], before: State, after: State, report: Report) -> None:
    """Everything not named is the same object, with the same pose, and shows the same pixels unless covered."""
    if any(step["kind"] == "mirror" and step["subject"] is None for step in done):
        report.hold(set(before.things) == set(after.things), "objects came or went")
        return
    allowed: dict[str, set[str]] = {}
    passing: set[str] = set()
    for step in done:
        keys = [step["subject"]] + ([step["reference"]] if step["kind"] == "swap" else [])
        for key in keys:
            allowed.setdefault(key, set()).update(CHANGES.get(step["kind"], frozenset()))
        passing.update(step["objects"])
    camera = any(step["kind"] in ("orbit", "pan", "zoom") for step in done)
    came = set(before.things) ^ set(after.things)
    report.hold(came == passing, f"{sorted(came)} came or went, {sorted(passing)} named")
    loose = passing | {key for key, changes in allowed.items() if changes & SHAPES}
    cover = before.covered(loose), after.covered(loose)
    for key in set(before.things) & set(after.things):
        a, b, changes = before.things[key], after.things[key], allowed.get(key, set())
        _same(a, b, changes, report)
        if not camera and key not in loose:
            came_up, went = b.mask & ~a.mask & ~cover[0], a.mask & ~b.mask & ~cover[1]
            report.within("unnamed mask pixels changed", float((came_up | went).sum()), 0)
    if not camera:
        _same_eye(before, after, report)


def _same(a: Thing, b: Thing, changes: Iterable[str], report: Report) -> None:
    changed = {
        "position": float(np.abs(a.position - b.position).max()),
        "quaternion": float(np.abs(a.rotation - b.rotation).max()),
        "size": float(np.abs(a.size - b.size).max()),
    }
    for name, difference in changed.items():
        if name not in changes:
            report.within(f"unasked change of {name}", difference, 1e-6)
    for name, was, now in (("colour", a.color, b.color), ("material", a.material, b.material)):
        if {"colour": "color"}.get(name, name) not in changes:
            report.hold(was == now, f"{a.id}: {name} went from {was} to {now}")
    report.hold(a.name == b.name, f"{a.id} was {a.name}, is {b.name}")


def _same_eye(before: State, after: State, report: Report) -> None:
    a, b = before.eye, after.eye
    moved = max(
        float(np.abs(a.rotation - b.rotation).max()), float(np.abs(a.translation - b.translation).max())
    )
    report.within("camera moved", max(moved, abs(a.fx - b.fx)), 1e-6)


def stands(shown: State, report: Report) -> None:
    """Of any state: masks lie within the posed boxes, and nothing floats or sinks."""
    things = list(shown.things.values())
    for thing in things:
        report.hold(bool(thing.mask.any()), f"{thing.id} has no pixel")
        if not thing.mask.any():
            continue
        corners = shown.eye.project(thing.corners)
        reach = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        out = max(*(reach[:2] - thing.box[:2]), *(thing.box[2:] - reach[2:]), 0.0)
        report.within("mask outside the posed box px", out, 2.0)
        tops = [0.0, *(float(o.position[2] + o.size[2]) for o in things if o.id != thing.id)]
        report.within("floats or sinks metres", min(abs(thing.position[2] - top) for top in tops), 0.005)
