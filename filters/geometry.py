"""The geometric judge: was the operation really done, as far as masks, depth and pixels show?

`measure` turns an operation and two views into figures, `decide` turns figures into a verdict. The figures
are kept, so that a later profile of thresholds judges again without touching an image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from filters import evidence
from filters.evidence import Figures
from filters.thresholds import GeometryThresholds
from spatial.instruction import Instruction
from spatial.operation import Operation
from spatial.view import View


@dataclass(frozen=True, slots=True)
class GeometryScores:
    """Every figure of the judge; None where it does not apply to the kind of edit.

    centre_error: how far the named object's centre is from where it should be, as a share of the width.
    amount_measured: of the first step, in its operation's unit. percent_error (points of the width or
    height), metre_error, degree_error, factor_error (share of the factor): how far from the asked amount.
    holds: 1 where the asked predicate (region, relation, order, brighter, redder for a sunset ...) is true, else
    0; a change to sunrise or studio has none. For moves in metres, turns, flips and camera edits it is the least
    share of an object's surface points that reappear where the edit must take them.
    count_error: objects too many (+) or too few (-).
    unnamed_shift: largest movement of an unnamed object's pose, metres. unnamed_mask: largest 1 - IoU of an
    unnamed object's amodal mask before and after.
    change_inside, change_outside: mean absolute difference of pixels, 0..1, where something changes, and where
    nothing may (no mask, halo or reflective surface).
    visible_before, visible_after: least visible share of a named object. visible_others: of any other.
    seam: of photos: how much more the edge of what was put down stands out than where it stood; 1 for the same.
    """

    centre_error: float | None = None
    amount_measured: float | None = None
    percent_error: float | None = None
    metre_error: float | None = None
    degree_error: float | None = None
    factor_error: float | None = None
    holds: float | None = None
    count_error: float | None = None
    unnamed_shift: float | None = None
    unnamed_mask: float | None = None
    change_inside: float | None = None
    change_outside: float | None = None
    visible_before: float | None = None
    visible_after: float | None = None
    visible_others: float | None = None
    seam: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Decision:
    """verdict: "accepted" or "rejected"; reason: the first failing rule, "" when accepted."""

    verdict: str
    reason: str = ""


def measure(said: Instruction, operation: Operation, before: View, after: View) -> GeometryScores:
    """All figures that the views allow; those of pixels stay None while a view has no image."""
    figures = Figures()
    for words, step in zip(said.parts(), operation.parts(), strict=True):
        figures.merge(evidence.CHECKS[step.kind](words, step, before, after))
    figures.merge(evidence.bystanders(operation, before, after))
    figures.merge(evidence.visibility(operation, before, after))
    figures.merge(evidence.pixels(operation, before, after))
    known = {field.name for field in fields(GeometryScores)}
    return GeometryScores(**{name: value for name, value in figures.items() if name in known})


def decide(kind: str, scores: GeometryScores, limits: GeometryThresholds) -> Decision:
    """The first failing rule, in the order in which a person would look. kind: the pair's edit kind."""
    least_visible = limits.visible_new if kind in ("add", "duplicate", "count") else limits.visible_subject
    rules = (
        ("subject_hidden_before", _below(scores.visible_before, limits.visible_subject)),
        ("subject_hidden_after", _below(scores.visible_after, least_visible)),
        ("others_hidden", _below(scores.visible_others, limits.visible_others)),
        ("wrong_place", _above(scores.centre_error, limits.centre_error)),
        ("wrong_amount", _above(scores.percent_error, limits.percent_error)),
        ("wrong_amount", _above(scores.metre_error, limits.metre_error)),
        ("wrong_amount", _above(scores.degree_error, limits.degree_error)),
        ("wrong_amount", _above(scores.factor_error, limits.factor_error)),
        ("wrong_number", _above(None if scores.count_error is None else abs(scores.count_error), 0.5)),
        ("not_so", _below(scores.holds, limits.holds)),
        ("others_moved", _above(scores.unnamed_shift, limits.unnamed_shift)),
        ("others_reshaped", _above(scores.unnamed_mask, limits.unnamed_mask)),
        ("nothing_to_see", _below(scores.change_inside, limits.change_inside)),
        ("background_changed", _above(scores.change_outside, limits.change_outside)),
        ("seam_shows", _above(scores.seam, limits.seam)),
    )
    for reason, broken in rules:
        if broken:
            return Decision("rejected", reason)
    return Decision("accepted")


def _below(value: float | None, limit: float) -> bool:
    return value is not None and not value >= limit  # NaN breaks the rule


def _above(value: float | None, limit: float) -> bool:
    return value is not None and not value <= limit + np.finfo(np.float32).eps
