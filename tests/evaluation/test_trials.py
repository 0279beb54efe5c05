"""A test set says what is asked; editors that do nothing fail it; differences are sure or not."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.trials import (
    IDLE,
    UNSEEN,
    Case,
    Interval,
    by_kind,
    by_turns,
    cases,
    chance,
    digest,
    interval,
    judgeable,
    share_interval,
    sifted,
    tried,
    worded,
)
from shards.dataset import open_dataset
from shards.storage import open_storage
from spatial.language import parse, say
from tests.datasets import pair, publish
from tests.readers import Sees

WORDS = "move the mug 25% to the right"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("editing")
    rows = [pair(n, edit_prompt=WORDS, language="en") for n in range(5)]
    publish(
        open_storage(str(folder)), {"test": [*rows, pair(5, kind="lighting", edit_prompt="make it night")]}
    )
    return open_dataset(str(folder))


def test_who_does_nothing_fails_and_who_makes_the_true_picture_succeeds(dataset):
    reader = Sees(dataset)
    chosen = judgeable(list(cases(dataset)), reader)
    assert len(chosen) == 5, "a change of light is nothing that a reader of things can judge"
    truth = {case.before.tobytes(): case.truth for case in chosen}
    for edit, wanted in ((lambda b, t, s: b, 0), (lambda b, t, s: [truth[one.tobytes()] for one in b], 5)):
        results = [result for *_, result in tried(edit, chosen, reader, batch=2)]
        assert by_kind(results) == {"move": (wanted, 5)}
        assert [one.pair_id for one in results] == [case.row["pair_id"] for case in chosen]


def test_pictures_that_were_scaled_are_judged_as_those_of_the_dataset_are(dataset):
    reader = Sees(dataset, side=32)  # half of what the rows speak of
    chosen = judgeable(list(cases(dataset, side=32)), reader)
    assert len(chosen) == 5 and {case.before.shape for case in chosen} == {(32, 32, 3)}
    truth = {case.before.tobytes(): case.truth for case in chosen}
    made = tried(lambda before, texts, seeds: [truth[one.tobytes()] for one in before], chosen, reader)
    assert all(result.success for *_, result in made)


def test_what_the_reader_cannot_read_in_the_true_picture_is_left_out(dataset):
    name = next(cases(dataset)).row["pair_id"]
    assert name not in {
        case.row["pair_id"] for case in judgeable(list(cases(dataset)), Sees(dataset, (name,)))
    }


def test_what_a_picture_that_nobody_touched_passes_is_left_out(tmp_path):
    idle = pair(7, edit_prompt=WORDS, language="en")
    idle |= {"objects_after": idle["objects_before"], "edited_image": idle["original_image"]}
    idle["operations"] = [dict(step, kind="recolor") for step in idle["operations"]]
    rows = [
        pair(6, edit_prompt=WORDS, language="en"),
        idle,
        pair(5, kind="lighting", edit_prompt="make it night"),
    ]
    publish(open_storage(str(tmp_path)), {"test": rows})
    there = open_dataset(str(tmp_path))
    found = {case.row["pair_id"][-1]: why for case, why in sifted(list(cases(there)), Sees(there))}
    assert found == {"6": None, "7": IDLE, "5": UNSEEN}


def test_words_are_said_anew_by_withheld_phrasings_the_same_each_time(dataset):
    asked = [case.text for case in cases(dataset, templates="held_out")][:5]
    assert asked == [case.text for case in cases(dataset, templates="held_out")][:5]
    meant = parse(WORDS, "en")
    taught = {say(meant, "en", np.random.default_rng(n), templates="train") for n in range(300)}
    assert not set(asked) & taught and all(parse(text, "en") == meant for text in asked)


def test_a_frozen_set_has_another_figure_when_a_word_or_a_pixel_differs(dataset):
    chosen = list(cases(dataset))
    assert digest(chosen) == digest(chosen[::-1]) == digest(list(cases(dataset)))
    assert digest(chosen) != digest(list(cases(dataset, templates="held_out")))
    assert digest(chosen) != digest(chosen[1:])
    first = chosen[0]
    corrected = dict(first.row, operations=[dict(first.row["operations"][0], subject="cube-1")])
    other = Case(corrected, first.text, first.before, first.truth, first.yaws)
    assert digest(chosen) != digest([other, *chosen[1:]]), "what is true of the same pictures is other"


def test_an_edit_that_is_said_in_two_languages_is_two_edits(dataset):
    chosen = list(cases(dataset))[:2]
    name = str(chosen[0].row["pair_id"])
    both = worded(chosen, [(name, "en", "move it"), (name, "vi", "dời nó đi"), ("nobody", "en", "x")])
    assert [case.row["pair_id"] for case in both] == [f"{name}-en", f"{name}-vi"]
    assert [case.row["language"] for case in both] == ["en", "vi"] and both[0].seed != both[1].seed


def test_pictures_of_two_sizes_are_not_judged_together(dataset):
    one, other = list(cases(dataset))[:2]
    small = Case(other.row, other.text, other.before, other.truth[::2, ::2], other.yaws)
    with pytest.raises(ValueError, match="of one size"):
        judgeable([one, small], Sees(dataset))


def test_shares_of_edits_that_all_go_alike_have_the_exact_bound_of_so_many_scenes():
    """Clopper and Pearson's, of ten of ten: 69.15%."""
    scenes = [str(n) for n in range(10)]
    assert share_interval([1.0] * 10, scenes) == Interval(1.0, pytest.approx(0.6915, abs=1e-4), 1.0)
    assert share_interval([0.0] * 10, scenes) == Interval(0.0, 0.0, pytest.approx(0.3085, abs=1e-4))
    assert share_interval([1.0] * 10, ["a"] * 10).low == pytest.approx(0.025)
    mixed = [1.0] * 5 + [0.0] * 5
    assert share_interval(mixed, scenes) == interval(mixed, scenes)


def test_few_scenes_are_never_sure():
    """Of n scenes that all say the same, one of 2^(n - 1) ways to draw signs is as far from 0."""
    for scenes in (1, 3, 6):
        assert chance([1.0] * scenes, [str(n) for n in range(scenes)]) == pytest.approx(2.0 ** (1 - scenes))
    assert chance([1.0] * 30, ["a"] * 30) == 1.0, "edits of one scene are one scene"
    assert chance([0.0, 0.0], ["a", "b"]) == 1.0 and chance([1.0, -1.0], ["a", "b"]) == 1.0
    assert chance([1.0] * 60, [str(n) for n in range(60)]) < 0.001
    rng = np.random.default_rng(0)
    false = [chance(rng.normal(size=8), [str(n) for n in range(8)]) < 0.05 for _ in range(400)]
    assert np.mean(false) < 0.08


def test_a_broken_picture_names_its_pair(tmp_path):
    publish(open_storage(str(tmp_path)), {"test": [pair(3, edited_image={"bytes": b"no", "path": "x.png"})]})
    with pytest.raises(ValueError, match="pair blender-0000000-0000003: not a whole picture file"):
        list(cases(open_dataset(str(tmp_path))))


def test_kinds_take_turns(dataset):
    some = list(cases(dataset))
    assert [case.kind for case in by_turns(some, 3)] == ["move", "lighting", "move"]
    assert by_turns(some, 99)[2:] == some[1:5]


def test_the_interval_is_over_scenes_not_over_edits():
    rng = np.random.default_rng(0)
    scene = rng.random(40) < 0.5  # all edits of a scene go alike
    values, scenes = np.repeat(scene, 10).astype(float), [str(n) for n in np.repeat(np.arange(40), 10)]
    wide, narrow = interval(values, scenes), interval(values, [str(n) for n in range(400)])
    assert wide.mean == narrow.mean == values.mean()
    assert wide.low < wide.mean < wide.high
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert (wide.high - wide.low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(40), rel=0.15)
