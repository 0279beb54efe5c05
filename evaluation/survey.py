"""What people are asked about edited pictures, and in which order; nothing here knows a page or a database.

Each rater gets a list of tasks of their own, drawn by their number: pictures of two editors side by side, of which one
is to be chosen, single pictures to be rated, and among the former checks with a known answer, the true picture against
one of another edit. Which editor made a picture is never said; sides and order are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Kind = Literal["pair", "rate", "check"]
TRUE, OTHER = "true picture", "another edit"
"""What stands in a check in the place of editors."""
CHOICES = ("a", "equal", "b")
RATINGS = (1, 2, 3, 4, 5)
CHECKS_NEEDED = 4
"""A rater who answered fewer checks cannot be told from a careless one; so many edits a survey needs in a language."""


def checked(asked: Collection[str]) -> str:
    """Which of a survey's questions, by key, a check has a known answer to: an untouched portrait follows nothing."""
    return "person" if "person" in asked else "follows"


@dataclass(frozen=True, slots=True)
class Question:
    """key: in the table of votes. text: by language. ends: what the ends of the scale mean, by language."""

    key: str
    text: dict[str, str]
    ends: dict[str, tuple[str, str]]


QUESTIONS = (
    Question(
        "follows",
        {"en": "Does it follow the instruction?", "vi": "Ảnh có làm đúng yêu cầu không?"},
        {"en": ("not at all", "exactly"), "vi": ("hoàn toàn không", "rất đúng")},
    ),
    Question(
        "kept",
        {"en": "Is everything else kept as it was?", "vi": "Mọi thứ khác có được giữ nguyên không?"},
        {"en": ("nothing is", "all is"), "vi": ("không giữ gì", "giữ hết")},
    ),
    Question(
        "looks",
        {"en": "Does the picture look right?", "vi": "Bức ảnh trông có tự nhiên không?"},
        {"en": ("broken", "flawless"), "vi": ("bị hỏng", "hoàn hảo")},
    ),
)

OF_PORTRAITS = (
    Question(
        "person",
        {"en": "Is it still the same person?", "vi": "Có còn là cùng một người không?"},
        {"en": ("someone else", "surely"), "vi": ("người khác", "chắc chắn")},
    ),
    Question(
        "traits",
        {
            "en": "Are gender, skin tone and age as they were?",
            "vi": "Giới tính, màu da và tuổi có như trước không?",
        },
        {"en": ("all changed", "all the same"), "vi": ("đều khác", "đều như trước")},
    ),
)
"""Beside the others, of people: what CLIP, or any model, sees of them is its opinion."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An edit that people are asked about. name: of the pair. language: of the text."""

    name: str
    scene: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Survey:
    """entries: edits that people are asked about. asked: {two editors, in the order of `editors`, or one: places of
    the entries that are asked of them, of which each of them made a picture}; None where all made a picture of each.
    pairs, rates, checks: tasks of a rater. portraits: entries are edits of people, a scene being a person; they have no
    true pictures, and in a check the untouched portrait stands in its place, against that of somebody else."""

    entries: tuple[Entry, ...]
    editors: tuple[str, ...]
    pairs: int = 14
    rates: int = 10
    checks: int = 6
    asked: Mapping[tuple[str, ...], tuple[int, ...]] | None = None
    portraits: bool = False

    @property
    def questions(self) -> tuple[Question, ...]:
        return QUESTIONS + OF_PORTRAITS if self.portraits else QUESTIONS

    def of(self, language: str, shown: tuple[str, ...] | None = None) -> list[int]:
        """Places of the entries in this language; with `shown`, of those that are asked of these editors."""
        places: Sequence[int] = range(len(self.entries))
        if shown is not None and self.asked is not None:
            places = self.asked.get(shown, ())
        return [place for place in places if self.entries[place].language == language]

    def enough(self, language: str) -> bool:
        """Whether there are edits for the checks."""
        own = self.of(language)
        scenes = {self.entries[place].scene for place in own}
        return len(own) >= CHECKS_NEEDED and (not self.portraits or len(scenes) > 1)

    def others(self, entry: int) -> list[int]:
        """Places of the entries in the same language that a check may show against this one."""
        one = self.entries[entry]
        return [
            place
            for place in self.of(one.language)
            if place != entry and not (self.portraits and self.entries[place].scene == one.scene)
        ]

    def pictures(self) -> set[tuple[int, str]]:
        """(place, editor) of all that may be shown."""
        if self.asked is None:
            return {(place, editor) for place in range(len(self.entries)) for editor in self.editors}
        return {
            (place, editor) for shown, places in self.asked.items() for place in places for editor in shown
        }


@dataclass(frozen=True, slots=True)
class Task:
    """number: in the rater's list. entry: its place. shown: editors, or `TRUE` and `OTHER`, left first; of a rating the
    one that is rated. other: place of the entry that `OTHER` shows."""

    number: int
    kind: Kind
    entry: int
    shown: tuple[str, ...]
    other: int | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(map(str, RATINGS)) if self.kind == "rate" else CHOICES


def tasks(survey: Survey, seed: int, language: str) -> list[Task]:
    """The rater's list, the same whenever it is asked for. Pairs of editors come as evenly as they can, none
    oftener than it has edits. Raises ValueError where there are too few edits in this language for
    the checks."""
    rng = random.Random(f"{seed} {language}")
    own = survey.of(language)
    if not survey.enough(language):
        two = ", of two people," if survey.portraits else ""
        raise ValueError(
            f"a survey needs at least {CHECKS_NEEDED} edits{two} in a language, "
            f"and there are {len(own)} in {language!r}"
        )
    edits: dict[tuple[str, ...], list[int]] = {}

    def evenly(some: Iterable[tuple[str, ...]], count: int) -> list[tuple[str, ...]]:
        return _evenly({shown: len(survey.of(language, shown)) for shown in some}, count, rng)

    def edit_of(shown: tuple[str, ...]) -> int:
        """One that this rater was not asked about of these editors."""
        if shown not in edits:
            there = survey.of(language, shown)
            edits[shown] = rng.sample(there, len(there))
        return edits[shown].pop()

    drawn: list[tuple[Kind, int, tuple[str, ...], int | None]] = [
        ("pair", edit_of(shown), shown, None)
        for shown in evenly(combinations(survey.editors, 2), survey.pairs)
    ]
    single = [(name,) for name in survey.editors]
    drawn += [("rate", edit_of(shown), shown, None) for shown in evenly(single, survey.rates)]
    for number, entry in enumerate(rng.sample(own, min(survey.checks, len(own)))):
        other = rng.choice(survey.others(entry))
        # As often on the one side as on the other: who always answers the same is found out.
        drawn.append(("check", entry, (TRUE, OTHER) if number % 2 else (OTHER, TRUE), other))
    rng.shuffle(drawn)
    return [
        Task(number, kind, entry, shown if kind == "check" else tuple(rng.sample(shown, len(shown))), other)
        for number, (kind, entry, shown, other) in enumerate(drawn)
    ]


def _evenly(room: Mapping[tuple[str, ...], int], count: int, rng: random.Random) -> list[tuple[str, ...]]:
    """So many of them, or as many as there is room for: each as often as the others but for one, while it has room.
    room: how often each can come."""
    left, found = dict(room), list[tuple[str, ...]]()
    while len(found) < count and (some := [shown for shown, number in left.items() if number]):
        drawn = rng.sample(some, min(len(some), count - len(found)))
        for shown in drawn:
            left[shown] -= 1
        found += drawn
    return found
