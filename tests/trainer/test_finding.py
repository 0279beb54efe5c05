"""Finding is taught first, of everything that a picture shows, by the encoder alone, and goes on as editing does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shards.images import mask_to_rle
from shards.schema import PUBLISHED
from shards.storage import StorageError
from shards.tables import from_rows
from tests.datasets import pair
from tests.trainer.editors import tiny_unet
from tests.trainer.test_learn import Killed
from trainer.examples import RowError, Seen, example
from trainer.finding import sought
from trainer.frozen import Frozen
from trainer.learn import Learner, LearnSettings, Line
from trainer.maps import FINE
from trainer.model import SpatialEditor, is_spatial
from trainer.spatial_attention import Parts
from trainer.step import batch_of, sought_of
from trainer.stream import Stream, StreamSettings, groups_of

FINDING, EDITING = Seen(64, 0.5, finding=True, pixels=True), Seen(64, 0.5, pixels=True)


def thing(name: str, color: str | None, material: str | None, left: int, top: int) -> dict:
    """Eight pixels high and wide: a cell of its own."""
    mask = np.zeros((64, 64), bool)
    mask[top : top + 8, left : left + 8] = True
    return {
        "id": f"{name}-{left}", "name": name, "color": color, "material": material, "mask": mask_to_rle(mask),
    }  # fmt: skip


def row(before: list[dict], after: list[dict]) -> dict:
    return from_rows([pair(0, objects_before=before, objects_after=after)], PUBLISHED).to_pylist()[0]


def test_all_things_of_that_description_are_meant_and_no_other():
    before = [thing("mug", "red", "metal", 0, 0), thing("mug", "blue", "metal", 16, 0)]
    before.append(thing("ball", "red", "wood", 32, 0))
    after = [dict(one, mask=thing("", None, None, int(one["id"][-1]), 40)["mask"]) for one in before]
    shown = {"the mug": {0, 2}, "the red mug": {0}, "the blue mug": {2}, "the metal mug": {0, 2}}
    shown |= {"the ball": {4}, "the red ball": {4}, "the wooden ball": {4}}
    told: dict[str, set[bool]] = {}
    some = row(before, after)
    for seed in range(60):
        found = sought(some, 8, np.random.default_rng(seed))
        assert found is not None
        assert 1 <= len(found.words.steps) <= 3
        for place, step in enumerate(found.words.steps):
            for role in range(2):
                phrase, mask = step.phrases[role], found.masks[place, role]
                if phrase is None:
                    assert not mask.any()
                elif not found.after:
                    assert set(np.nonzero(mask[0])[0]) == shown[phrase] and not mask[1:].any()
                    told.setdefault(phrase, set()).add(found.after)
                else:
                    assert mask[5].any() and not mask[:5].any()
                    told.setdefault(phrase, set()).add(found.after)
    assert told == {phrase: {True, False} for phrase in shown}


def test_in_pictures_of_nothing_known_nothing_is_sought():
    some = row([thing("gadget", None, None, 0, 0)], [])
    assert all(sought(some, 8, np.random.default_rng(seed)) is None for seed in range(20))


def test_a_broken_mask_is_told_with_its_pair():
    some = row([thing("mug", "red", "metal", 0, 0)], [thing("mug", "red", "metal", 0, 40)])
    some["edit_prompt"] = "make it autumn"
    for one in (*some["objects_before"], *some["objects_after"]):
        one["mask"] = {"size": [64, 64], "counts": b"no mask"}
    with pytest.raises(RowError, match=f"pair {some['pair_id']}: the mask of a mug is broken"):
        for seed in range(20):
            example(some, Seen(64, finding=True), np.random.default_rng(seed), 0)


def test_mirrored_pairs_are_sought_where_the_mirror_shows_them(frozen):
    some = row([thing("mug", "red", "metal", 0, 0)], [thing("mug", "red", "metal", 0, 40)])
    some["edit_prompt"] = "move the mug 10% to the right"
    for seed in range(40):
        shown = example(some, Seen(64, 1.0, finding=True), np.random.default_rng(seed), 0)
        if shown.sought is not None:
            mask = shown.sought.masks[0, 0, ::FINE, ::FINE]
            assert set(np.nonzero(mask[5 if shown.sought.after else 0])[0]) == {7}
            batch = sought_of(batch_of([shown], frozen, pasting=True), [shown], frozen)
            seen = frozen.pixels([shown.after if shown.sought.after else shown.before])
            assert torch.allclose(batch.source, frozen.source(seen), atol=1e-4)
            assert torch.equal(batch.pixels[:, 0], seen)
            assert torch.equal(batch.outlines[0], torch.from_numpy(shown.sought.masks))


def learner(frozen: Frozen, **changes) -> Learner:
    settings = {"samples": 44, "find": 20, "rate": 1e-3, "warmup": 3, "every": 3, "seed": 5} | changes
    unet = tiny_unet(cross_attention_dim=frozen.text_encoder.config.hidden_size)
    torch.manual_seed(1)
    return Learner(
        SpatialEditor(unet, Parts(land=True, paste=True), 32, frozen.pasting),
        frozen,
        LearnSettings(**settings),
    )


def taught(one: Learner, dataset, kill_at: int | None = None, saved=lambda _: None) -> list[Line]:
    lines: list[Line] = []

    def told(line: Line) -> None:
        lines.append(line)
        if line.step == kill_at:
            raise Killed

    for seen in (FINDING, EDITING):
        if seen.finding == one.finding:
            with Stream(dataset, "train", StreamSettings(3, seen, 5, 2)) as stream:
                one.run(stream, told, saved)
    return lines


def test_only_the_encoder_learns_to_find_and_then_all_of_it_to_edit(frozen, dataset):
    one = learner(frozen, samples=20)
    before = {name: value.clone() for name, value in one.editor.state_dict().items()}
    lines = taught(one, dataset)
    assert all(line.finding and line.loss == 0 and line.grounding > 0 for line in lines)
    changed = {
        name for name, value in one.editor.state_dict().items() if not torch.equal(value, before[name])
    }
    assert "spatial.query.weight" in changed and "spatial.latents.weight" in changed
    assert all(is_spatial(name) and "processor" not in name and "gate" not in name for name in changed)
    assert lines[-1].grounding < lines[0].grounding
    more = learner(frozen)
    lines = taught(more, dataset)
    first = next(place for place, line in enumerate(lines) if not line.finding)
    assert lines[first - 1].seen >= 20 > lines[first - 2].seen
    assert more.progress.found == first and lines[first].loss > 0
    assert lines[first].rate < lines[first - 1].rate  # what edits is warmed up, too
    states = more._optimizer.state.values()  # what was learned of another loss's size is forgotten
    assert {int(state["step"]) for state in states} == {len(lines) - first}
    assert not torch.equal(more.editor.state_dict()["unet.conv_in.weight"], before["unet.conv_in.weight"])


@pytest.mark.parametrize("kill_at", [5, 8, 11])
def test_killed_in_either_lesson_it_goes_on_with_the_same_losses(frozen, dataset, tmp_path, kill_at):
    whole = taught(learner(frozen), dataset)
    folders = []

    def saved(one: Learner) -> None:
        folders.append(tmp_path / str(one.progress.step))
        one.save(folders[-1])

    with pytest.raises(Killed):
        taught(learner(frozen), dataset, kill_at, saved)
    again = learner(frozen)
    again.restore(folders[-1])
    start = again.progress.step
    lines = taught(again, dataset)
    assert [(line.step, line.seen) for line in lines] == [(line.step, line.seen) for line in whole[start:]]
    for mine, theirs in zip(lines, whole[start:], strict=True):
        assert (mine.loss, mine.grounding) == pytest.approx((theirs.loss, theirs.grounding), abs=1e-4)


def test_dataset_that_does_not_say_what_is_in_the_edited_pictures_is_refused(dataset, monkeypatch):
    monkeypatch.setattr("trainer.finding.COLUMNS", ("objects_hereafter.list.element.name",))
    with pytest.raises(StorageError, match="no column objects_hereafter"):
        groups_of(dataset, "train", columns=FINDING.columns)
