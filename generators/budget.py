"""How many pictures a prompt is worth: as many as it takes, and no more than it can be expected to pay back.

InstructPix2Pix draws 100 pairs for every prompt and keeps at most four. Most prompts have theirs after a handful, and
some never will.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """want: pairs to accept of a prompt; None draws all `most` of them, as the reference does. most: draws at most.
    least_odds: no further draw where the odds that it is accepted, by Laplace's rule of succession (accepted + 1) /
    (judged + 2), are below; 0 never gives up."""

    want: int | None = 4
    most: int = 100
    least_odds: float = 0.0

    def __post_init__(self) -> None:
        if self.most < 1 or (self.want is not None and self.want < 1) or not 0 <= self.least_odds < 1:
            raise ValueError(f"a budget needs want and most of at least 1 and odds in 0..1, not {self}")

    def over(self, judged: int, accepted: int) -> bool:
        """Whether a prompt needs no more after so many draws."""
        if judged >= self.most or (self.want is not None and accepted >= self.want):
            return True
        return _odds(judged, accepted) < self.least_odds

    def at_once(self, judged: int, accepted: int) -> int:
        """How many draws may be under way: as many as it should take, so that few come too late to be needed."""
        left = self.most - judged
        if self.want is None:
            return left
        return min(left, math.ceil((self.want - accepted) / _odds(judged, accepted)))


def _odds(judged: int, accepted: int) -> float:
    return (accepted + 1) / (judged + 2)
