"""What the reader's sightings say of a pair, and thresholds chosen on that."""

from __future__ import annotations

import numpy as np
import pytest

from filters.profiles import read
from filters.reader import Sighting
from generators.composed import ComposedEdit
from models.starter.draws import Row, load, write
from models.starter.measure_edits import judged
from models.starter.pair_thresholds import choose
from models.starter.recipes import WEIGHTS
from spatial.instruction import Expression

MUG, BLUE_MUG, BALL = (
    Expression("mug", color="red"),
    Expression("mug", color="blue"),
    Expression("ball", color="green"),
)


def seen(kind, color, x=40.0, material="matte"):
    return Sighting(
        kind, color, material, (x - 10, 40, x + 10, 60), (x, 50.0), None, 0.9, 0.9, 0.9, 0.9, None
    )


def edit(kind, before, after, place):
    return ComposedEdit("a", "b", "c", kind, before, after, place)


RECOLOR = edit("recolor", (MUG, BALL), (BLUE_MUG, BALL), 0)
BEFORE = [seen("mug", "red"), seen("ball", "green", 90.0)]


@pytest.mark.parametrize(
    ("after", "changed", "stayed"),
    [
        ([seen("mug", "blue"), seen("ball", "green", 92.0)], True, True),
        ([seen("mug", "red"), seen("ball", "green", 90.0)], False, True),
        ([seen("mug", "blue"), seen("mug", "red", 10.0), seen("ball", "green", 90.0)], False, True),
        ([seen("mug", "blue"), seen("ball", "green", 110.0)], True, False),
        ([seen("mug", "blue")], True, False),
        ([seen("mug", "blue"), seen("ball", "blue", 90.0)], True, True),  # kind and place, as far as is asked
    ],
)
def test_a_recoloured_thing_and_the_one_beside_it(after, changed, stayed):
    found = judged(RECOLOR, BEFORE, after)
    assert (found.changed, found.stayed, found.asked) == (changed, stayed, True)


def test_what_the_picture_before_does_not_show_cannot_stay():
    found = judged(RECOLOR, [seen("mug", "red")], [seen("mug", "blue")])
    assert (found.changed, found.stayed, found.asked) == (True, None, False)


def test_adding_removing_and_materials_are_counted():
    add = edit("add", (MUG,), (MUG, BALL), 1)
    assert judged(add, BEFORE[:1], BEFORE).changed and not judged(add, BEFORE, BEFORE).changed
    assert judged(add, BEFORE[:1], BEFORE).stayed
    remove = edit("remove", (MUG, BALL), (MUG,), 1)
    assert judged(remove, BEFORE, BEFORE[:1]).changed and not judged(remove, BEFORE[:1], BEFORE[:1]).changed
    metal = Expression("mug", color="red", material="metal")
    material = edit("material", (MUG,), (metal,), 0)
    assert judged(material, BEFORE[:1], [seen("mug", "red", material="metal")]).changed
    assert not judged(material, BEFORE[:1], BEFORE[:1]).changed


def test_times_of_day_are_beyond_the_reader_and_all_things_must_stay():
    time = edit("time", (MUG, BALL), (MUG, BALL), None)
    found = judged(time, BEFORE, BEFORE)
    assert found.changed is None and found.stayed
    assert judged(time, BEFORE, BEFORE[:1]).stayed is False


def rows(number, rng, kind="recolor"):
    """Draws that are right where their scores are high."""
    found = []
    for place in range(number):
        good = bool(rng.random() < 0.6)
        low = 0.3 if not good else 0.6
        scores = {name: float(low + 0.3 * rng.random())
                  for name in ("clip_image", "clip_text_before", "clip_text_after", "clip_direction")}  # fmt: skip
        found.append(Row(place, kind, 0, 80, "rejected", "", scores, 0.0, good, True, True))
    return found


def test_the_loosest_thresholds_that_are_good_enough_are_chosen():
    found = choose(rows(300, np.random.default_rng(1)))
    assert found.changed >= 0.85 and found.stayed == 1.0 and 0.3 < found.accepted <= 0.7
    assert found.thresholds.image == -1.0 and found.thresholds.direction >= 0.2
    with pytest.raises(ValueError, match="too few to choose"):
        choose(rows(10, np.random.default_rng(1)))


def test_draws_are_kept_as_they_were(tmp_path):
    some = rows(5, np.random.default_rng(2))
    write(tmp_path / "draws.jsonl", some, {"draws": 1})
    assert load(tmp_path / "draws.jsonl") == ({"draws": 1}, some)


def test_the_profile_that_comes_with_the_starter_clip_is_for_it_and_says_where_it_is_from():
    from filters.weights import ClipWeights

    profile = read(WEIGHTS / "clip" / "thresholds-starter-p2p.json")
    assert profile.name == "starter-p2p"
    assert profile.fits(ClipWeights(f"local-dir:{WEIGHTS / 'clip'}").identity())
    assert {"recolor", "replace", "material", "add", "remove", "lighting", "background"} == set(profile.kinds)
    assert all(one["draws"] >= 100 for one in profile.calibration.values())
