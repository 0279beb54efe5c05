"""What the benchmarks of the pair engine share: the starter models, as a run loads them."""

from __future__ import annotations

from pathlib import Path

from filters.clip import ClipJudge
from filters.profiles import ClipProfile, read
from filters.reader import Reader
from filters.weights import ClipWeights
from generators.diffusion import Diffusion, ModelSettings
from generators.judging import ByClip

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "models" / "starter" / "weights"


def starter_model() -> Diffusion:
    return Diffusion(ModelSettings(str(WEIGHTS / "diffusion")))


def starter_judge(slack: float = 0.15) -> ByClip:
    """The starter CLIP with its thresholds for pairs made from words."""
    weights = ClipWeights(f"local-dir:{WEIGHTS / 'clip'}")
    return ByClip(ClipJudge(weights), starter_profile(), slack)


def starter_profile() -> ClipProfile:
    return read(WEIGHTS / "clip" / "thresholds-starter-p2p.json")


def starter_reader() -> Reader:
    return Reader.load(WEIGHTS / "reader")
