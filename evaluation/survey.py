"""What people are asked about edited pictures, and in which order; nothing here knows a page or a database.

Each rater gets a list of tasks of their own, drawn by their number: pictures of two editors side by side, of which one
is to be chosen, single pictures to be rated, and among the former checks with a known answer, the true picture against
one of another edit. Which editor made a picture is never said; sides and order are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Kind = Literal["pair", "rate", "check"]
TRUE, OTHER = "true picture", "another edit"
"""What stands in a check in the place of editors."""
CHOICES = ("a", "equal", "b")
RATINGS = (1, 2, 3, 4, 5)


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


@dataclass(frozen=True, slots=True)
class Entry:
    """An edit that people are asked about. name: of the pair. language: of the text."""

    name: str
    scene: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Survey:
    """entries: edits of which every one of `editors` made a picture. pairs, rates, checks: tasks of a rater."""

    entries: tuple[Entry, ...]
    editors: tuple[str, ...]
    pairs: int = 14
    rates: int = 10
    checks: int = 6

    def of(self, language: str) -> list[int]:
        """Places of the entries in this language."""
        return [place for place, entry in enumerate(self.entries) if entry.language == language]


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
    """The rater's list, the same whenever it is asked for. Pairs of editors come as evenly as they can. Raises
    ValueError where there are too few edits in this language for a check."""
    rng = random.Random(f"{seed} {language}")
    own = survey.of(language)
    if len(own) < 2:
        raise ValueError(
            f"a survey needs at least two edits in a language, and there are {len(own)} in {language!r}"
        )
    both = list(combinations(survey.editors, 2))
    edits: dict[tuple[str, ...], list[int]] = {}

    def edit_of(shown: tuple[str, ...]) -> int:
        """One that this rater was not asked about of these editors, as long as there is one."""
        if not edits.get(shown):
            edits[shown] = rng.sample(own, len(own))
        return edits[shown].pop()

    drawn: list[tuple[Kind, int, tuple[str, ...], int | None]] = [
        ("pair", edit_of(shown), shown, None)
        for shown in _evenly(both, min(survey.pairs, len(both) * len(own)), rng)
    ]
    single = [(name,) for name in survey.editors]
    drawn += [
        ("rate", edit_of(shown), shown, None)
        for shown in _evenly(single, min(survey.rates, len(single) * len(own)), rng)
    ]
    for entry in rng.sample(own, min(survey.checks, len(own))):
        other = rng.choice([place for place in own if place != entry])
        drawn.append(("check", entry, (TRUE, OTHER), other))
    rng.shuffle(drawn)
    return [
        Task(number, kind, entry, tuple(rng.sample(shown, len(shown))), other)
        for number, (kind, entry, shown, other) in enumerate(drawn)
    ]


def _evenly(some: Sequence[tuple[str, ...]], count: int, rng: random.Random) -> list[tuple[str, ...]]:
    """So many of them, each as often as the others but for one."""
    found: list[tuple[str, ...]] = []
    while len(found) < count:
        found += rng.sample(some, min(len(some), count - len(found)))
    return found
