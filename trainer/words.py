"""An instruction in words as an editor takes it: a text for the text encoder, and typed steps with their numbers.

Comes from the words alone; nothing of a scene is known here, at training as little as at use.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spatial.expressions import say_expression
from spatial.instruction import (
    DIRECTIONS,
    KINDS,
    REGIONS,
    RELATIONS,
    UNITS,
    VAGUENESS,
    Expression,
    Instruction,
)
from spatial.language import parse_any, say
from spatial.lexicon import Lexicon
from spatial.scene import SpatialError

MAX_STEPS = 3
VALUES = ("in", "out", "larger", "smaller", "row", "column", "toward", "away")
"""Values that mean something in space; of all others ("red", "wood") the text encoder reads the word."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "direction": DIRECTIONS,
    "unit": UNITS,
    "vagueness": VAGUENESS,
    "region": REGIONS,
    "relation": RELATIONS,
    "value": VALUES,
}
FIELD_SIZES = tuple(len(values) + 1 for values in _FIELDS.values())
"""How many ids each field has; 0 is "not said"."""

NUMBERS = ("amount", "shift_x", "shift_y", "log_scale", "turn", "region_x", "region_y")
"""Of a step, each 0 where it does not apply: the amount as said, in hundreds for percents; shares of the picture; the
natural logarithm of a factor; half turns; the middle of the region."""

NEW = ("add", "count")  # kinds whose subject is yet to come
CARRYING = ("move", "place", "relate", "swap", "align", "resize", "duplicate", "mirror")
VACATING = (*CARRYING, "remove")  # kinds after which something else is seen where the subject was, if it left

# Whatever somebody says, a model gets numbers of the size that it was taught with.
_MOST, _LARGEST = 12.0, 20.0
# Shares of the picture that a metre and a degree of the camera are about; by how much, only the picture tells.
_METRE, _DEGREE, _DEGREE_UP = 0.25, 0.0208, 0.0245
# What an open extent is taken for: the middle of what the sampler draws for it, as shares of the picture.
_SLIGHT, _OPEN, _OPEN_PAN = 0.05, 0.11, 0.125
_SLIGHT_FACTOR, _OPEN_FACTOR = 1.15, 1.4
_AMOUNT_SCALE = {
    "percent_width": 100,
    "percent_height": 100,
    "metre": 1,
    "degree": 180,
    "count": 6,
    "factor": 1,
}
_UNIT_VECTOR = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

# Where a thing goes: by a known shift, to a point of the picture, or to where something else is.
BY_SHIFT, TO_POINT, TO_REFERENCE = range(3)


@dataclass(frozen=True, slots=True)
class Step:
    """One typed operation. ids: by `FIELD_SIZES`. numbers: by `NUMBERS`. phrases: of the subject, the reference, the
    second reference, and of what it will be, where a value says that which is no word of space ("the red ball");
    English, None where there is none.

    The rest is the operation as a map of the plane, as far as words tell: what is at `p` afterwards came from
    `c + (p - t) / scale`, where `c` is the middle of the subject (of the picture, if `of_frame`) and `t` is where it
    goes by `target`. scale: (x, y), negative for a mirror. swaps: the reference goes to where the subject was.
    """

    ids: tuple[int, ...]
    numbers: tuple[float, ...]
    phrases: tuple[str | None, str | None, str | None, str | None]
    target: int
    scale: tuple[float, float]
    of_frame: bool
    swaps: bool

    @property
    def kind(self) -> str:
        return KINDS[self.ids[0] - 1]

    @property
    def exact(self) -> bool:
        """Whether the words say to the point by how much the subject is shifted in the picture."""
        units = _FIELDS["unit"].index("percent_width") + 1, _FIELDS["unit"].index("percent_height") + 1
        return self.ids[0] > 0 and self.kind == "move" and self.ids[list(_FIELDS).index("unit")] in units

    @property
    def carries(self) -> bool:
        """Whether the subject is brought to where it will be as it looks now."""
        return self.ids[0] > 0 and self.kind in CARRYING

    @property
    def leaves(self) -> bool:
        """Whether what is seen where the subject is will be something else, unless something arrives."""
        named = self.ids[0] > 0 and self.phrases[0] is not None
        return named and not self.of_frame and self.kind not in (*NEW, "duplicate")

    @property
    def anchored(self) -> bool:
        """Whether its subject grows where it stands: its foot stays."""
        return self.ids[0] > 0 and self.kind == "resize"

    @property
    def vacates(self) -> bool:
        """Whether, of what leaves, nothing is to be seen in its place; a thing that is coloured is still seen."""
        return self.leaves and self.kind in VACATING

    @property
    def frames(self) -> bool:
        """Whether the whole picture is brought somewhere; a camera that goes around sees another one."""
        return self.ids[0] > 0 and self.of_frame and self.kind != "orbit"

    @property
    def lands(self) -> bool:
        """Whether the subject will be somewhere because of this step."""
        named = self.ids[0] > 0 and self.phrases[0] is not None
        return named and not self.of_frame and self.kind != "remove"


@dataclass(frozen=True, slots=True)
class Words:
    """text: what the text encoder reads. steps: at most `MAX_STEPS`; none where the words are beyond the vocabulary."""

    text: str
    steps: tuple[Step, ...] = ()


def read(text: str, lexicon: Lexicon | None = None) -> Words:
    """The words of a person, in English or Vietnamese.

    English is left as it is. Vietnamese that parses becomes English, which text encoders read. What does not parse, or
    can mean two things, stays as it is and has no steps.
    """
    lexicon = lexicon or Lexicon.default()
    try:
        language, said = parse_any(text, lexicon=lexicon)
    except SpatialError:
        return Words(text)
    steps = steps_of(said, lexicon)
    if language == "en":
        return Words(text, steps)
    try:
        return Words(canonical(said, lexicon), steps)
    except SpatialError:  # there are no English words for it
        return Words(text, steps)


def canonical(said: Instruction, lexicon: Lexicon) -> str:
    """English for the instruction, the same each time."""
    return say(said, "en", np.random.default_rng(0), lexicon=lexicon)


def canonical_text(text: str, lexicon: Lexicon | None = None) -> str:
    """The words as one English wording per meaning, where they are understood; else as they are."""
    lexicon = lexicon or Lexicon.default()
    try:
        return canonical(parse_any(text, lexicon=lexicon)[1], lexicon)
    except SpatialError:
        return text


def steps_of(said: Instruction, lexicon: Lexicon) -> tuple[Step, ...]:
    """ "It" is whatever the step before was about."""
    steps: list[Step] = []
    subject: Expression | None = None
    for part in said.parts()[:MAX_STEPS]:
        if part.subject is not None and part.subject.noun == "it" and subject is not None:
            part = replace(part, subject=subject)
        subject = part.subject or subject
        steps.append(_step(part, lexicon))
    return tuple(steps)


def _step(said: Instruction, lexicon: Lexicon) -> Step:
    ids = tuple(
        values.index(value) + 1 if (value := getattr(said, field)) in values else 0
        for field, values in _FIELDS.items()
    )
    shift, factor, turn, region = _shift(said), _factor(said), _turn(said), _middle(said.region)
    amount = 0.0 if said.amount is None or said.unit is None else said.amount / _AMOUNT_SCALE[said.unit]
    said_numbers = (amount, *shift, math.log(factor), turn, *(region or (0.0, 0.0)))
    numbers = tuple(min(_MOST, max(-_MOST, number)) for number in said_numbers)
    factor = min(_LARGEST, max(1 / _LARGEST, factor))
    mirrored = said.kind == "mirror"
    target = BY_SHIFT
    if region is not None and said.kind in ("place", "add"):
        target = TO_POINT
    elif said.reference is not None and said.kind in ("relate", "swap", "align", "add"):
        target = TO_REFERENCE
    named = (_phrase(words, said, lexicon) for words in (said.subject, said.reference, said.reference2))
    return Step(
        ids,
        numbers,
        (*named, _becomes(said, lexicon)),  # type: ignore[arg-type]
        target,
        (-1.0, 1.0) if mirrored else (factor, factor),
        said.kind in ("zoom", "pan", "orbit") or (mirrored and said.subject is None),
        said.kind == "swap",
    )


def _phrase(words: Expression | None, said: Instruction, lexicon: Lexicon) -> str | None:
    """As `spatial` words it: the same phrase for the same meaning, whoever said it in which language."""
    if words is None:
        return None
    new = words is said.subject and said.kind in NEW
    try:
        return say_expression(words, "en", article="plural" if new else "the", lexicon=lexicon)
    except SpatialError:  # what is said to be it has no phrase of its own
        return None


def _becomes(said: Instruction, lexicon: Lexicon) -> str | None:
    """What it will be, in words: "the red ball". A text encoder tells "red" from "blue" by what is red."""
    if said.value is None or said.value in VALUES:
        return None
    if said.subject is not None and said.kind in ("recolor", "material"):
        color, material = said.subject.color, said.subject.material
        if said.kind == "recolor":
            color = said.value
        else:
            material = said.value
        with suppress(SpatialError):
            one = Expression(said.subject.noun, color=color, material=material)
            return say_expression(one, "en", article="the", lexicon=lexicon)
    return f"make it {said.value.replace('_', ' ')}"


def _extent(said: Instruction, slight: float, usual: float) -> float:
    return slight if said.vagueness is not None else usual


def _shift(said: Instruction) -> tuple[float, float]:
    """Shares of the picture that things move by, as far as words tell."""
    if said.direction not in _UNIT_VECTOR or said.kind not in ("move", "pan"):
        return 0.0, 0.0
    x, y = _UNIT_VECTOR[said.direction]
    if said.unit in ("percent_width", "percent_height"):
        by = (said.amount or 0) / 100
    elif said.amount is not None:
        degree = _DEGREE if x else _DEGREE_UP
        by = said.amount * (_METRE if said.unit == "metre" else degree)
    else:
        by = _extent(said, _SLIGHT, _OPEN_PAN if said.kind == "pan" else _OPEN)
    sign = -1 if said.kind == "pan" else 1  # a camera that turns left shows everything further right
    return sign * x * by, sign * y * by


def _factor(said: Instruction) -> float:
    """How many times larger the subject, or the picture, becomes."""
    if said.kind not in ("resize", "zoom"):
        return 1.0
    factor = said.amount if said.amount is not None else _extent(said, _SLIGHT_FACTOR, _OPEN_FACTOR)
    if said.kind == "resize" and said.amount is not None:
        return factor  # says it itself: 0.8 is smaller
    return 1 / factor if said.value in ("out", "smaller") else factor


def _turn(said: Instruction) -> float:
    """Half turns, clockwise from above, or to the right."""
    if said.unit != "degree" or said.amount is None:
        return 0.0
    return (-1 if said.direction in ("counterclockwise", "left", "up") else 1) * said.amount / 180


def _middle(region: str | None) -> tuple[float, float] | None:
    if region is None:
        return None
    column = 0 if "left" in region else 2 if "right" in region else 1
    row = 0 if region.startswith("upper") else 2 if region.startswith("lower") else 1
    return (2 * column + 1) / 6, (2 * row + 1) / 6


@dataclass(frozen=True, slots=True, eq=False)
class WordArrays:
    """Steps of a batch as arrays, padded to `MAX_STEPS`. present: (b, s) bool. ids: (b, s, fields) int64. numbers:
    (b, s, numbers) float32. target: (b, s) int64. scale: (b, s, 2) float32. of_frame, swaps: (b, s) bool. phrases:
    (b, s, 4) int64, numbers of texts in `texts`, -1 for none. texts: all different. grounded: (b, s, 2) bool, whether
    subject and reference are something to be found in the source. lands: (b, s, 2) bool, whether they will be somewhere
    by what the step does to them. exact: (b, s) bool, whether the subject's shift is what the words say.
    carries, leaves, vacates: (b, s, 2) bool, whether subject and reference are brought to where they will be, leave
    where they are, and are not to be seen there any more. frames, anchored: (b, s) bool, whether the whole picture is
    brought somewhere, and whether the subject's foot stays where it is. follows: (b, s) int64, the earlier step that
    has brought the same subject somewhere, -1 for none."""

    present: NDArray[np.bool_]
    ids: NDArray[np.int64]
    numbers: NDArray[np.float32]
    target: NDArray[np.int64]
    scale: NDArray[np.float32]
    of_frame: NDArray[np.bool_]
    swaps: NDArray[np.bool_]
    phrases: NDArray[np.int64]
    grounded: NDArray[np.bool_]
    lands: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    carries: NDArray[np.bool_]
    leaves: NDArray[np.bool_]
    vacates: NDArray[np.bool_]
    frames: NDArray[np.bool_]
    anchored: NDArray[np.bool_]
    follows: NDArray[np.int64]
    texts: tuple[str, ...]


def arrays(batch: list[Words]) -> WordArrays:
    """Raises ValueError for more steps than `MAX_STEPS`."""
    shape = (len(batch), MAX_STEPS)
    made = WordArrays(
        np.zeros(shape, bool), np.zeros((*shape, len(FIELD_SIZES)), np.int64),
        np.zeros((*shape, len(NUMBERS)), np.float32), np.zeros(shape, np.int64), np.ones((*shape, 2), np.float32),
        np.zeros(shape, bool), np.zeros(shape, bool), np.full((*shape, 4), -1, np.int64),
        np.zeros((*shape, 2), bool), np.zeros((*shape, 2), bool), np.zeros(shape, bool),
        np.zeros((*shape, 2), bool), np.zeros((*shape, 2), bool), np.zeros((*shape, 2), bool), np.zeros(shape, bool),
        np.zeros(shape, bool), np.full(shape, -1, np.int64),
        tuple(dict.fromkeys(p for words in batch for step in words.steps for p in step.phrases if p is not None)),
    )  # fmt: skip
    number = {text: n for n, text in enumerate(made.texts)}
    for row, words in enumerate(batch):
        if len(words.steps) > MAX_STEPS:
            raise ValueError(f"{len(words.steps)} steps, more than {MAX_STEPS}: {words.text!r}")
        for place, step in enumerate(words.steps):
            at = (row, place)
            made.present[at] = True
            made.ids[at], made.numbers[at] = step.ids, step.numbers
            made.target[at], made.scale[at] = step.target, step.scale
            made.of_frame[at], made.swaps[at] = step.of_frame, step.swaps
            made.phrases[at] = [-1 if p is None else number[p] for p in step.phrases]
            made.grounded[at] = (
                step.phrases[0] is not None and step.kind not in NEW,
                step.phrases[1] is not None,
            )
            made.lands[at] = step.lands, step.swaps
            made.exact[at] = step.exact
            made.carries[at] = step.carries and not step.of_frame, step.swaps
            made.leaves[at] = step.leaves, step.swaps
            made.vacates[at] = step.vacates, step.swaps
            made.frames[at], made.anchored[at] = step.frames, step.anchored
            for before, earlier in enumerate(words.steps[:place]):
                if earlier.carries and earlier.phrases[0] == step.phrases[0]:
                    made.follows[at] = before
    return made
