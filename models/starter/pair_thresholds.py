"""Choosing the CLIP profile `starter-p2p`, for pairs made from words: on draws that the reader has judged.

The profile `starter` was chosen on renders, and diffused pictures score lower. Four thresholds chosen freely for each
kind fit the draws that they are chosen on and fail on others. So a kind has one knob: the share of its draws that each
score alone refuses. It is the smallest with which the named change happened, and the rest stayed, in at least
`TARGET` of what is accepted; where none does, the best. A direction of at least `LEAST_DIRECTION` is always asked
for: of times and places the reader cannot say whether they changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.profiles import ClipProfile, ClipThresholds, Similarities, write
from filters.weights import LOCAL_DIR, THRESHOLDS, ClipWeights
from generators.seeds import KINDS as KINDS_OF_PAIRS
from models.starter.draws import Row

NAME = "starter-p2p"
TARGET = 0.85
LEAST_DIRECTION = 0.2  # InstructPix2Pix's
LEAST_DRAWS = 20  # accepted, to say anything of a share
STEPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # shares of the draws that a score may refuse
WHOLE = ("time", "background")  # kinds of the whole picture, whose things stay where the pictures are alike
_COSINES = ("clip_image", "clip_text_before", "clip_text_after", "clip_direction")


@dataclass(frozen=True, slots=True)
class Chosen:
    """step: of `STEPS`. accepted, changed, stayed: shares of the draws that the thresholds were chosen on."""

    thresholds: ClipThresholds
    step: float
    accepted: float
    changed: float | None
    stayed: float | None


def choose(rows: Sequence[Row]) -> Chosen:
    """Thresholds for one kind of edit. Raises ValueError for too few draws."""
    scores, changed, stayed = _columns(rows)
    best: tuple[float, Chosen] | None = None
    for step in STEPS:
        limits = _limits(scores, step, rows[0].kind)
        accepted = (scores >= limits).all(axis=1)
        if accepted.sum() < LEAST_DRAWS:
            break
        reached = min(_cautious(changed[accepted]), _cautious(stayed[accepted]))
        if best is None or reached > best[0]:
            values = dict(zip(ClipThresholds.model_fields, map(float, limits), strict=True))
            shares = _share(changed[accepted]), _share(stayed[accepted])
            best = reached, Chosen(ClipThresholds(**values), step, float(accepted.mean()), *shares)
        if reached >= TARGET:
            break
    if best is None:
        raise ValueError(f"{len(rows)} draws of {rows[0].kind} are too few to choose thresholds by")
    return best[1]


def choose_all(rows: Sequence[Row], folder: Path) -> ClipProfile:
    """Writes thresholds-starter-p2p.json beside the model, with what they do, to halves that did not choose too."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    found = {kind: choose([row for row in rows if row.kind == kind]) for kind in kinds}
    limits = {KINDS_OF_PAIRS[kind]: one.thresholds for kind, one in found.items()}
    fields = ClipThresholds.model_fields
    middle = {f: float(np.median([getattr(one, f) for one in limits.values()])) for f in fields}
    profile = ClipProfile(
        name=NAME,
        models=(ClipWeights(f"{LOCAL_DIR}{folder}").identity(),),
        preprocessing="ip2p",
        default=ClipThresholds(**middle),  # of kinds that nothing is known of
        kinds=limits,
        calibration={
            kind: {
                "draws": sum(row.kind == kind for row in rows),
                "step": one.step,
                "accepted": one.accepted,
                "changed": one.changed,
                "stayed": one.stayed,
                "held_out": _held_out([row for row in rows if row.kind == kind]),
            }
            for kind, one in found.items()
        },
    )
    write(folder / f"{THRESHOLDS}-{NAME}.json", profile)
    return profile


def _held_out(rows: Sequence[Row]) -> dict[str, Any]:
    """Each half judged by what the other half chose; halves by edit, so that no edit is in both."""
    passed: list[Row] = []
    for half in (0, 1):
        try:
            limits = choose([row for row in rows if row.edit // 7 % 2 == half]).thresholds
        except ValueError:
            continue
        others = [row for row in rows if row.edit // 7 % 2 != half]
        passed += [row for row in others if not limits.first_below(Similarities(**row.scores))]  # type: ignore[arg-type]
    _, changed, stayed = _columns(passed)
    return {"accepted": len(passed) / len(rows), "changed": _share(changed), "stayed": _share(stayed)}


_Floats = NDArray[np.float64]


def _limits(scores: _Floats, step: float, kind: str) -> _Floats:
    limits: _Floats = np.floor(np.quantile(scores, step, axis=0) * 1e4) / 1e4
    if kind in WHOLE:
        limits[3] = LEAST_DIRECTION
    else:
        limits[0], limits[3] = -1.0, max(limits[3], LEAST_DIRECTION)
    return limits


def _columns(rows: Sequence[Row]) -> tuple[_Floats, _Floats, _Floats]:
    """Scores (n, 4), where one does not apply 1, which breaks no limit; changed and stayed, (n,), NaN for neither."""
    scores = [[1.0 if (value := row.scores[name]) is None else value for name in _COSINES] for row in rows]
    told = [
        [np.nan if value is None else float(value) for value in (row.changed, row.stayed)] for row in rows
    ]
    both = np.array(told, float).reshape(-1, 2)
    return np.array(scores, float).reshape(-1, 4), both[:, 0], both[:, 1]


def _cautious(values: _Floats) -> float:
    """A share, with a third of a failure more than there was: few draws prove little."""
    known = values[np.isfinite(values)]
    return float((known.sum() + 1) / (len(known) + 4 / 3)) if len(known) else 1.0


def _share(values: _Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
