"""Thresholds judge the scores of their own model, and leave places and cameras to geometry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filters.profiles import (
    BUILT_IN,
    GEOMETRIC_KINDS,
    ClipProfile,
    ClipThresholds,
    ProfileError,
    Similarities,
    named,
    read,
    similarities,
    write,
)
from filters.weights import ClipWeights
from spatial.instruction import CAMERA_KINDS, KINDS

VIT = ClipWeights("ViT-L-14/openai")
GOOD = Similarities(0.9, 0.25, 0.25, 0.25)


def own(folder: Path, **changes: object) -> ClipProfile:
    limits = ClipThresholds(image=0.5, text_before=0.1, text_after=0.1, direction=0.05)
    profile = ClipProfile.model_validate(
        {"name": "starter", "models": ["sha256:0a"], "preprocessing": "ip2p", "default": limits, **changes}
    )
    write(folder / "thresholds.json", profile)
    return profile


@pytest.mark.parametrize(("name", "image"), [("paper", 0.75), ("code", 0.70)])
def test_published_profiles_have_their_limits(name: str, image: float) -> None:
    profile = named(name, VIT, "ip2p")
    assert profile.default.model_dump() == {
        "image": image, "text_before": 0.2, "text_after": 0.2, "direction": 0.2,
    }  # fmt: skip
    assert profile.fits("ViT-L-14/openai") and profile.fits("ViT-L-14/openai@sha256:ff")
    assert not profile.fits("ViT-B-32/openai") and not profile.fits("sha256:ff")


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (GOOD, ""),
        (Similarities(0.70, 0.2, 0.2, 0.2), ""),
        (Similarities(0.69, 0.1, 0.1, 0.1), "images_unalike"),
        (Similarities(0.9, 0.19, 0.1, 0.1), "caption_before_unmet"),
        (Similarities(0.9, 0.25, 0.19, 0.1), "caption_after_unmet"),
        (Similarities(0.9, 0.25, 0.25, 0.19), "change_unmet"),
        (Similarities(0.9, 0.25, 0.25, float("nan")), "change_unmet"),
        (Similarities(0.9, 0.25, 0.25, None), ""),
    ],
)
def test_first_broken_rule_is_named_and_a_limit_itself_is_enough(scores: Similarities, reason: str) -> None:
    assert BUILT_IN["code"].first_broken("recolor", scores) == reason


def test_places_and_cameras_are_left_to_geometry() -> None:
    nothing = Similarities(-1, -1, -1, -1)
    left = {kind for kind in KINDS if not BUILT_IN["paper"].first_broken(kind, nothing)}
    assert left == GEOMETRIC_KINDS >= CAMERA_KINDS | {"move", "place", "relate", "swap", "align", "rotate"}
    assert {"recolor", "material", "style", "replace", "add", "remove", "background"}.isdisjoint(left)


def test_kinds_may_have_limits_of_their_own(tmp_path: Path) -> None:
    strict = ClipThresholds(image=0.95, text_before=0.1, text_after=0.1, direction=0.05)
    profile = own(tmp_path, kinds={"recolor": strict})
    assert profile.first_broken("recolor", GOOD) == "images_unalike"
    assert profile.first_broken("background", GOOD) == ""


def test_profile_of_another_model_is_refused_and_those_allowed_are_named(tmp_path: Path) -> None:
    model = ClipWeights(f"local-dir:{tmp_path}")
    with pytest.raises(
        ProfileError, match=r"'paper' is for ViT-L-14/openai; allowed with local-dir:.*: none$"
    ):
        named("paper", model, "ip2p")
    own(tmp_path)
    with pytest.raises(ProfileError, match=r"allowed with local-dir:.*: none, starter$"):
        named("code", model, "ip2p")
    with pytest.raises(
        ProfileError, match=r"'papr' is no profile; allowed with ViT-L-14/openai: none, code, paper"
    ):
        named("papr", VIT, "ip2p")
    with pytest.raises(ProfileError, match="'paper' is for ViT-L-14/openai"):
        named("paper", ClipWeights("ViT-B-32/openai"), "ip2p")


def test_folder_brings_its_own_profile_for_its_weights_and_preprocessing(tmp_path: Path) -> None:
    model = ClipWeights(f"local-dir:{tmp_path}")
    written = own(tmp_path, calibration={"roc": [[0.0, 0.5]]})
    assert named("starter", model, "ip2p") == written == read(tmp_path / "thresholds.json")
    assert written.fits("sha256:0a") and not written.fits("sha256:0b")
    with pytest.raises(ProfileError, match=r"'starter' is for clip.preprocessing 'ip2p'"):
        named("starter", model, "open_clip")


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"default": {"image": 2}}, "default.image"), ({"models": []}, "models"), ({"modles": []}, "modles")],
)
def test_broken_thresholds_file_is_one_line_naming_file_and_key(tmp_path: Path, change, expected) -> None:
    own(tmp_path)
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ProfileError, match=expected) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    path.write_text("{")
    with pytest.raises(ProfileError, match="cannot be read"):
        read(path)


def test_row_without_scores_has_no_similarities_and_one_without_direction_has() -> None:
    row = {"clip_image": 0.9, "clip_text_before": 0.2, "clip_text_after": 0.2, "clip_direction": None}
    assert similarities(row) == Similarities(0.9, 0.2, 0.2, None)
    assert similarities(row | {"clip_image": None}) is None
    assert similarities(row | {"clip_text_after": float("nan")}) is None
