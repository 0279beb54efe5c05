"""Which pairs of pictures are accepted, by CLIP, while they are made.

Masks know where things are in a render; of a picture that a diffusion model made only its captions are known. So every
kind of edit is judged by the four similarities (`filters.profiles`), those too that geometry judges elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from filters.clip import ClipJudge, Pair, Scored
from filters.profiles import ClipProfile, Similarities
from generators.pairs import Candidate, Judged


@dataclass(frozen=True, slots=True, eq=False)
class ByClip:
    """Judges by `profile`; previews by the same limits, each lower by `slack`: part-way pictures are blurred."""

    judge: ClipJudge
    profile: ClipProfile
    slack: float = 0.15

    def __call__(self, some: Sequence[Candidate]) -> list[Judged]:
        pairs = [Pair(one.before, one.after, one.prompt.before, one.prompt.after) for one in some]
        answers = self.judge.score(pairs)
        return [self._judged(one, answer) for one, answer in zip(some, answers, strict=True)]

    def _judged(self, candidate: Candidate, answer: object) -> Judged:
        if not isinstance(answer, Scored):
            return Judged("failed", getattr(answer, "reason", "not_scored"))
        found = answer.similarities
        slack = self.slack if candidate.preview else 0.0
        reason = self.profile.first_broken_of_picture(candidate.prompt.kind, _raised(found, slack))
        rank = found.clip_direction if found.clip_direction is not None else 0.0
        return Judged("rejected" if reason else "accepted", reason, asdict(found), rank)


def _raised(found: Similarities, by: float) -> Similarities:
    direction = None if found.clip_direction is None else found.clip_direction + by
    return Similarities(
        found.clip_image + by, found.clip_text_before + by, found.clip_text_after + by, direction
    )
