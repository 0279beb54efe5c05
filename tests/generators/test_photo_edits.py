"""Edits of photos do what they say, by masks that are measured anew, and leave all other pixels as they were."""

from __future__ import annotations

import numpy as np
import pytest

from filters.geometry import decide
from filters.photo_geometry import measure
from filters.thresholds import GeometryThresholds
from generators.inpainting import OpenCv
from generators.photo_edits import PHOTO_KINDS, Edit, make, mirrored
from generators.photo_nouns import PhotoNoun, photo_lexicon
from generators.photo_sources import Photo, PhotoObject
from generators.photo_stills import Still, prepare
from generators.photo_words import Thing, colour_of, describe
from spatial.instruction import Expression
from spatial.language import parse, say
from spatial.scene import SpatialError

HEIGHT, WIDTH = 240, 320
NOUNS = {
    name: PhotoNoun(name, "person" if name == "person" else "ground")
    for name in ("mug", "ball", "cat", "person")
}
COLOURS = {"red": (200, 30, 30), "blue": (30, 60, 200), "green": (40, 140, 50), "white": (240, 240, 240)}


def blob(x: int, foot: int, size: int, lean: int = 0):
    """A leaning box: its mirror image is another."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    up = foot - rows
    return (up > 0) & (up <= size) & (abs(columns - x - lean * up / size) < size * (0.45 - 0.2 * up / size))


def photo_of(*things, seed=0) -> tuple[Photo, list[PhotoObject]]:
    """things: (name, colour, x, foot, size)."""
    rng = np.random.default_rng(seed)
    rgb = np.clip(130 + 10 * rng.standard_normal((HEIGHT, WIDTH, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    objects = []
    for number, (name, colour, x, foot, size) in enumerate(things):
        mask = blob(x, foot, size, lean=10)
        rgb[mask] = COLOURS[colour]
        rgb[mask & (np.arange(WIDTH) > x)] = np.array(COLOURS[colour]) * 0.8
        rows, columns = np.nonzero(mask)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        objects.append(PhotoObject(f"{name}-{number}", name, tuple(map(float, box)), mask=mask))
    return Photo(rgb, 1, (WIDTH, HEIGHT)), objects


def still_of(*things, side=WIDTH) -> Still:
    return prepare(*photo_of(*things), NOUNS.get, side, OpenCv(), 0)


@pytest.fixture(scope="module")
def still() -> Still:
    return still_of(
        ("mug", "red", 60, 225, 40), ("ball", "blue", 230, 228, 44), ("cat", "white", 155, 90, 36)
    )


def made(kind: str, still: Still, wanted: int = 4) -> list[Edit]:
    found = []
    for seed in range(60):
        try:
            found.append(make(kind, still, np.random.default_rng(seed)))
        except SpatialError:
            continue
        if len(found) == wanted:
            return found
    raise AssertionError(f"{kind}: {len(found)}")


def figures(edit: Edit):
    masks = [{t.id: t.mask for t in things} for things in (edit.things_before, edit.things_after)]
    return measure(edit.done, *masks, (edit.before, edit.after), edit.changed)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("kind", PHOTO_KINDS)
def test_every_kind_does_what_it_says_and_changes_nothing_else(kind, flip, still):
    for edit in made(kind, still):
        seen = mirrored(edit) if flip else edit
        found = figures(seen)
        assert decide(kind, found, GeometryThresholds()).reason == ""
        if seen.changed is not None:
            assert np.array_equal(seen.before[~seen.changed], seen.after[~seen.changed])
            assert found.change_outside == 0
        assert seen.before.shape == seen.after.shape == still.rgb.shape
        for language in ("en", "vi"):
            text = say(seen.said, language, np.random.default_rng(0), lexicon=photo_lexicon())
            assert parse(text, language, lexicon=photo_lexicon()) == seen.said


@pytest.mark.parametrize("kind", ["move", "place", "swap", "resize", "mirror", "add"])
def test_the_photo_as_taken_is_the_target(kind, still):
    for edit in made(kind, still):
        assert edit.real == "after" and np.array_equal(edit.after, still.rgb)


@pytest.mark.parametrize("kind", ["remove", "duplicate"])
def test_where_no_photo_of_the_target_can_be_it_is_the_input(kind, still):
    for edit in made(kind, still):
        assert edit.real == "before" and np.array_equal(edit.before, still.rgb)


def test_a_lie_is_seen(still):
    """The judge measures: another amount, another direction, a pixel elsewhere are all rejected."""
    (edit,) = made("move", still, 1)
    masks = [{t.id: t.mask for t in things} for things in (edit.things_before, edit.things_after)]
    limits = GeometryThresholds()
    for lie, reason in (
        ({"amount": edit.done["amount"] + 3}, "wrong_amount"),
        ({"direction": "up"}, "wrong_amount"),
    ):
        scores = measure({**edit.done, **lie}, *masks, (edit.before, edit.after), edit.changed)
        assert decide("move", scores, limits).reason == reason
    after = edit.after.copy()
    y, x = np.argwhere(~edit.changed)[0]
    after[y, x] ^= 128
    scores = measure(edit.done, *masks, (edit.before, after), edit.changed)
    assert decide("move", scores, limits).reason == "background_changed"


def test_a_turned_amount_means_the_other_direction(still):
    (edit,) = made("move", still, 1)
    turned = mirrored(edit)
    assert {edit.said.direction, turned.said.direction} == {"left", "right"}
    assert turned.done["amount"] == edit.done["amount"]
    assert np.array_equal(turned.after, edit.after[:, ::-1])


@pytest.mark.parametrize(
    ("things", "reason"),
    [
        ([("person", "red", 90, 180, 60)], "person"),
        ([("mug", "red", 90, 180, 12)], "tiny"),
        ([("mug", "red", 6, 180, 40)], "truncated"),
        ([("mug", "red", 160, 230, 190)], "too_large"),
        ([("mug", "red", 90, 180, 40), ("ball", "blue", 112, 182, 40)], "occluded"),
    ],
)
def test_things_that_may_not_be_touched_are_left_alone_with_a_reason(things, reason):
    still = still_of(*things)
    assert still.excluded[f"{things[0][0]}-0"] == reason
    with pytest.raises(SpatialError, match="may be touched"):
        make("remove", still, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("flag", "reason"), [("crowd", "crowd"), ("truncated", "truncated"), ("occluded", "occluded")]
)
def test_what_the_annotation_says_of_a_thing_counts(flag, reason):
    photo, (thing,) = photo_of(("mug", "red", 90, 180, 40))
    values = {name: getattr(thing, name) for name in ("id", "name", "box", "mask")}
    still = prepare(photo, [PhotoObject(**values, **{flag: True})], NOUNS.get, WIDTH, OpenCv(), 0)
    assert still.excluded == {"mug-0": reason}


def test_things_without_a_mask_or_a_word_are_counted():
    photo, (thing,) = photo_of(("mug", "red", 90, 180, 40))
    values = {name: getattr(thing, name) for name in ("id", "box")}
    things = [PhotoObject(name="mug", **values), PhotoObject(name="gizmo", mask=thing.mask, **values)]
    still = prepare(photo, things, NOUNS.get, WIDTH, OpenCv(), 0)
    assert still.things == () and still.unknown == {"no_mask": 1, "unknown_noun": 1}


def test_a_large_photo_is_made_smaller_once_with_its_masks():
    still = still_of(("mug", "red", 90, 180, 40), side=160)
    assert still.rgb.shape == (120, 160, 3) and still.native.shape == (HEIGHT, WIDTH, 3)
    x, y = still.things[0].centre
    assert abs(x - 92) / 2 < 25 and abs(y - 80) < 3


# --- words ----------------------------------------------------------------------------------------------------


def thing(id, x, size, color="red", noun="mug"):
    return Thing(id, noun, color, blob(x, 180, size))


@pytest.mark.parametrize(
    ("things", "words"),
    [
        ([thing("a", 60, 40)], {Expression("mug")}),
        ([thing("a", 60, 40), thing("b", 200, 40, "blue")], {Expression("mug", color="red")}),
        (
            [thing("a", 60, 40), thing("b", 200, 20)],
            {Expression("mug", comparison="larger"), Expression("mug", place="leftmost")},
        ),
        (
            [thing("a", 60, 40), thing("b", 140, 40), thing("c", 230, 40, None)],
            {Expression("mug", place="leftmost")},
        ),
    ],
)
def test_a_thing_is_named_by_the_fewest_words_that_mean_it_alone(things, words):
    found = {describe(things[0], things, np.random.default_rng(seed)) for seed in range(20)}
    assert found == words


def test_a_thing_among_its_like_has_no_name():
    things = [thing("a", 150, 40), thing("b", 140, 40), thing("c", 160, 40)]
    with pytest.raises(SpatialError, match="no short expression"):
        describe(things[0], things, np.random.default_rng(0))


@pytest.mark.parametrize("colour", COLOURS)
def test_a_plain_colour_is_measured(colour):
    photo, (one,) = photo_of(("mug", colour, 90, 180, 60))
    assert colour_of(photo.rgb, one.mask) == colour


def test_a_thing_of_two_colours_has_none():
    photo, (one,) = photo_of(("mug", "red", 90, 180, 60))
    rgb = photo.rgb.copy()
    rgb[:, 97:] = COLOURS["blue"]
    assert colour_of(rgb, one.mask) is None
