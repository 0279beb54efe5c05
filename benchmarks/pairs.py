"""What a kept pair costs: python -m benchmarks.pairs [--cache FILE] [--plain-draws 10].

The engine, by the demo's settings but for the budget, against InstructPix2Pix's protocol (`benchmarks.pairs_yield`,
whose draws are cached), on the same starter models, prompts and thresholds: sample-forwards of the UNet and seconds per
kept pair, how many prompts keep a pair at all, how often the reader finds the named change in what is kept, and the
mean direction similarity. Then where the saving comes from, lever by lever. The plain reference is timed on three
prompts.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.pairs_data import starter_judge, starter_model, starter_profile
from benchmarks.pairs_edits import demo_settings, run, share
from benchmarks.pairs_reference import Reference
from benchmarks.pairs_yield import CACHE, REFERENCE
from filters.profiles import ClipProfile, Similarities
from generators.budget import Budget
from generators.diffusion import rounded
from generators.pairs import Candidate, Preview, drawn
from generators.seeds import KINDS
from models.starter.draws import Row, edits, load, prompts

KEPT = 4
OFTEN = 0.30  # of a prompt's draws are accepted
BARS = {"often": 1 / 50, "all": 1 / 20, "prompts": 0.95, "success": -0.03}
PREVIEW, SLACK = 0.5, 0.2  # share of the steps, and how far below the limits a pair may be by then
BUDGET = Budget(want=KEPT, most=100, least_odds=0.02)
PLAIN_PROMPTS = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """forwards: sample-forwards, by prompt. rows: of the pairs that are kept. prompts: that keep a pair."""

    forwards: dict[int, int]
    rows: list[Row]

    @property
    def prompts(self) -> set[int]:
        return {row.edit for row in self.rows}

    @property
    def each(self) -> float:
        """Sample-forwards per kept pair."""
        return sum(self.forwards.values()) / len(self.rows) if self.rows else float("inf")

    def of(self, some: set[int]) -> Cost:
        """The part that these prompts have."""
        forwards = {edit: number for edit, number in self.forwards.items() if edit in some}
        return Cost(forwards, [row for row in self.rows if row.edit in some])


def protocol(rows: Sequence[Row]) -> Cost:
    """All draws, the best four of each prompt by direction."""
    kept: list[Row] = []
    forwards = Counter[int]()
    for edit in {row.edit for row in rows}:
        drawn_of = [row for row in rows if row.edit == edit]
        good = [row for row in drawn_of if row.verdict == "accepted"]
        kept += sorted(good, key=lambda row: -row.rank)[:KEPT]
        forwards[edit] = sum(row.forwards for row in drawn_of)
    return Cost(dict(forwards), kept)


def stopped(rows: Sequence[Row]) -> Cost:
    """The same draws, one after the other, until four are accepted."""
    forwards, kept = Counter[int](), list[Row]()
    for edit in {row.edit for row in rows}:
        found = 0
        for row in sorted((row for row in rows if row.edit == edit), key=lambda row: row.number):
            forwards[edit] += row.forwards
            if row.verdict == "accepted":
                kept.append(row)
                found += 1
                if found == KEPT:
                    break
    return Cost(dict(forwards), kept)


def engine(
    number: int, budget: Budget, *, preview: float | None = None, **changes: Any
) -> tuple[Cost, float]:
    """What the engine makes of the first prompts, and its seconds. changes: of the demo's settings, which have no
    preview."""
    settings, _, _, _, slots = demo_settings()
    settings = replace(settings, **changes)
    look = Preview(preview) if preview is not None else None
    rows, clock, forwards = run(settings, budget, look, SLACK, slots, number)
    return Cost(forwards, [row for row in rows if row.verdict == "accepted"]), clock.total


def plain_seconds(draws: int) -> float:
    """Seconds of the plain reference for a draw, decoded and judged, over three prompts."""
    model, judge = Reference(starter_model(), REFERENCE.steps), starter_judge()
    began = time.monotonic()
    for prompt in prompts(edits(PLAIN_PROMPTS)):
        for number in range(draws):
            draw = drawn(prompt, number, REFERENCE)
            pictures = rounded(model.model.decode(model.pair(prompt, draw)))
            judge([Candidate(prompt, draw, pictures[0], pictures[1])])
    return (time.monotonic() - began) / (PLAIN_PROMPTS * draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help="of benchmarks.pairs_yield")
    parser.add_argument(
        "--plain-draws", type=int, default=10, help="of each prompt that the reference is timed on"
    )
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if not options.cache.exists():
        raise SystemExit(f"{options.cache}: is not there; make it with python -m benchmarks.pairs_yield")
    about, rows = load(options.cache)
    profile = starter_profile()
    rows = [_again(row, profile) for row in rows]
    number = len({row.edit for row in rows})
    theirs = protocol(rows)
    rate = {
        edit: np.mean([row.verdict == "accepted" for row in rows if row.edit == edit])
        for edit in range(number)
    }
    often = {edit for edit, found in rate.items() if found >= OFTEN}
    ours, seconds = engine(number, BUDGET)
    draw_s = plain_seconds(options.plain_draws)
    theirs_s = draw_s * len(rows)

    print(
        f"{number} prompts, {about['draws']} draws each by the protocol; at most {KEPT} pairs a prompt are kept"
    )
    print(f"{'':34} {'protocol':>12} {'engine':>12} {'ratio':>9}   bar")
    _line("sample-forwards per kept pair", theirs.each, ours.each, f"1/{1 / BARS['all']:.0f}")
    _line(
        f"  the {len(often)} prompts of {OFTEN:.0%} and more",
        theirs.of(often).each,
        ours.of(often).each,
        f"1/{1 / BARS['often']:.0f}",
    )
    _line("seconds per kept pair", theirs_s / len(theirs.rows), seconds / len(ours.rows), "")
    kept = len(ours.prompts & theirs.prompts) / len(theirs.prompts)
    print(
        f"{'prompts with a pair':34} {len(theirs.prompts):12} {len(ours.prompts):12} {kept:9.1%}   "
        f"{BARS['prompts']:.0%} of the protocol's"
    )
    print(f"{'kept pairs':34} {len(theirs.rows):12} {len(ours.rows):12}")
    print(
        f"{'changed as asked, by the reader':34} {share(theirs.rows, lambda r: r.changed):>12} "
        f"{share(ours.rows, lambda r: r.changed):>12} {'':9}   at most 3 points lower"
    )
    print(
        f"{'the rest stayed':34} {share(theirs.rows, lambda r: r.stayed):>12} "
        f"{share(ours.rows, lambda r: r.stayed):>12}"
    )
    print(f"{'mean direction similarity':34} {_direction(theirs.rows):12.3f} {_direction(ours.rows):12.3f}")
    print(
        f"seconds of the protocol: extrapolated from {PLAIN_PROMPTS} prompts x {options.plain_draws} draws, "
        f"{draw_s:.1f} s a draw"
    )
    print("\nlever by lever, sample-forwards per kept pair:")
    four = stopped(rows)
    settings = demo_settings()[0]
    fewer = four.each * settings.steps / REFERENCE.steps
    patient = replace(BUDGET, least_odds=0.0)
    alone, _ = engine(number, patient, share=REFERENCE.share, cross=(0.0, 0.0))
    both, _ = engine(number, patient)
    levers = [
        ("the protocol", theirs.each),
        ("stop at four", four.each),
        (f"{settings.steps} steps, were as many accepted", fewer),
        (f"{settings.sampler}, self-attention alone", alone.each),
        ("cross-attention too", both.each),
        ("giving up: the engine as measured above", ours.each),
        ("a preview half-way, off by default", engine(number, BUDGET, preview=PREVIEW)[0].each),
    ]
    for (name, value), (_, before) in zip(levers, levers[:1] + levers[:-1], strict=True):
        print(f"  {name:40} {value:10.0f}   x {value / before:.2f}")


def _again(row: Row, profile: ClipProfile) -> Row:
    """Judged by the thresholds of today: what is cached is the figures."""
    found = Similarities(**row.scores)  # type: ignore[arg-type]
    reason = profile.first_broken_of_picture(KINDS[row.kind], found)
    return replace(row, verdict="rejected" if reason else "accepted", reason=reason)


def _line(name: str, theirs: float, ours: float, bar: str) -> None:
    print(f"{name:34} {theirs:12.1f} {ours:12.1f} {'1/' + format(theirs / ours, '.1f'):>9}   {bar}")


def _direction(rows: Sequence[Row]) -> float:
    known = [row.scores["clip_direction"] for row in rows if row.scores.get("clip_direction") is not None]
    return float(np.mean(np.array(known, float))) if known else float("nan")


if __name__ == "__main__":
    main()
