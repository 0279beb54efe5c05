"""Which similarities are good enough: thresholds of CLIP, each for the model that they were chosen with.

A cosine of 0.2 between picture and caption is good for one model and poor for another, so a profile names the
models that it is for, and using it with another is an error. `paper` and `code` are InstructPix2Pix's, for
ViT-L/14; a model in a folder brings its own in thresholds.json, which `filters.calibrate` makes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from filters.weights import THRESHOLDS, ClipWeights
from spatial.instruction import CAMERA_KINDS

Cosine = Annotated[float, Field(ge=-1, le=1)]
Preprocessing = Literal["ip2p", "open_clip"]
NONE = "none"

# Where things are and how large, and what the camera does: masks and depth know, CLIP hardly does.
GEOMETRIC_KINDS = CAMERA_KINDS | {
    "move", "place", "relate", "swap", "align", "rotate", "resize", "mirror", "sequence",
}  # fmt: skip


class ProfileError(ValueError):
    """The profile cannot be used; one line that says which can."""


@dataclass(frozen=True, slots=True)
class Similarities:
    """Four cosines of a pair, -1..1, named as the columns are.

    clip_image: of the two pictures. clip_text_before, clip_text_after: of each picture and its caption.
    clip_direction: of the change of the pictures and the change of the captions; None where the captions are
    the same to the model, 0 where the pictures are.
    """

    clip_image: float
    clip_text_before: float
    clip_text_after: float
    clip_direction: float | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClipThresholds(_Model):
    """Least similarities; fields as in `Similarities`, without "clip_"."""

    image: Cosine
    text_before: Cosine
    text_after: Cosine
    direction: Cosine

    def first_below(self, scores: Similarities) -> str:
        """The first rule that the scores break, "" for none. A score that does not apply breaks none."""
        rules = (
            ("images_unalike", scores.clip_image, self.image),
            ("caption_before_unmet", scores.clip_text_before, self.text_before),
            ("caption_after_unmet", scores.clip_text_after, self.text_after),
            ("change_unmet", scores.clip_direction, self.direction),
        )
        return next((reason for reason, score, limit in rules if _below(score, limit)), "")


class ClipProfile(_Model):
    """Thresholds under a name.

    models: identities, or names that weights of any origin may have ("ViT-L-14/openai"). preprocessing: how
    pictures must have been prepared; None for either way. kinds: other thresholds for some kinds of edit.
    calibration: where the numbers come from, for people.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    preprocessing: Preprocessing | None = None
    default: ClipThresholds
    kinds: dict[str, ClipThresholds] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)

    def fits(self, identity: str) -> bool:
        """Whether the thresholds are for the model of this identity."""
        return identity in self.models or identity.partition("@")[0] in self.models

    def first_broken(self, kind: str, scores: Similarities) -> str:
        """The first rule that the pair breaks; "" for none, and for kinds that geometry decides."""
        return "" if kind in GEOMETRIC_KINDS else self.first_broken_of_picture(kind, scores)

    def first_broken_of_picture(self, kind: str, scores: Similarities) -> str:
        """The same where nothing but pictures is known, so that geometry decides nothing."""
        return self.kinds.get(kind, self.default).first_below(scores)


def _below(score: float | None, limit: float) -> bool:
    # Scores are stored as float32: a score of exactly the limit must not fall below it by the conversion.
    return score is not None and not score >= limit - 1e-6


_VIT_L_14 = ("ViT-L-14/openai", "ViT-L-14-quickgelu/openai")


def _of_ip2p(name: str, image: float) -> ClipProfile:
    limits = ClipThresholds(image=image, text_before=0.2, text_after=0.2, direction=0.2)
    return ClipProfile(name=name, models=_VIT_L_14, default=limits)


# The paper says 0.75; the script that its authors released, and that made their data, has 0.7.
BUILT_IN = {profile.name: profile for profile in (_of_ip2p("paper", 0.75), _of_ip2p("code", 0.70))}


def named(name: str, weights: ClipWeights, preprocessing: Preprocessing) -> ClipProfile:
    """The profile of this name for this model. Raises ProfileError, naming those that there are.

    Reads thresholds*.json beside the weights, and not the weights: whether it was made with these very weights
    is for the caller to ask (`fits`), who knows their identity.
    """
    found = {key: profile for key, profile in BUILT_IN.items() if profile.fits(weights.model)}
    if weights.folder is not None:
        own = [read(path) for path in sorted(weights.folder.glob(f"{THRESHOLDS}*.json"))]
        found |= {profile.name: profile for profile in own}
    if name not in found:
        allowed = ", ".join([NONE, *sorted(found)])
        why = f" is for {BUILT_IN[name].models[0]}" if name in BUILT_IN else " is no profile"
        raise ProfileError(f"{name!r}{why}; allowed with {weights.model}: {allowed}")
    profile = found[name]
    if profile.preprocessing not in (None, preprocessing):
        raise ProfileError(
            f"{name!r} is for clip.preprocessing {profile.preprocessing!r}, not {preprocessing!r}"
        )
    return profile


def read(path: Path) -> ClipProfile:
    """The profile in a thresholds.json. Raises ProfileError."""
    try:
        return ClipProfile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ProfileError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from None


def write(path: Path, profile: ClipProfile) -> None:
    """The profile as thresholds.json, for `read`."""
    text = json.dumps(profile.model_dump(mode="json"), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def similarities(row: Mapping[str, Any]) -> Similarities | None:
    """Of a row of `scores`; None where it was not scored."""
    values: dict[str, Any] = {name: row.get(name) for name in Similarities.__dataclass_fields__}
    if any(value is None or math.isnan(value) for name, value in values.items() if name != "clip_direction"):
        return None
    return Similarities(**values)
