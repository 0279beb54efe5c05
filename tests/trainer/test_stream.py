"""A published dataset as batches: every row once, whoever decodes it, mirrored with its words, bad ones named."""

from __future__ import annotations

import errno
import os
from collections import Counter
from itertools import chain

import numpy as np
import pyarrow.parquet as pq
import pytest

from shards.dataset import open_dataset
from shards.images import decode, rle_to_mask
from shards.schema import PUBLISHED
from shards.storage import StorageError, open_storage
from shards.tables import from_rows
from spatial.language import parse, say
from tests.datasets import pair, publish
from trainer.examples import RowError, Seen, example
from trainer.latents import LatentStore
from trainer.order import Stretch
from trainer.stream import Stream, StreamSettings, groups_of
from trainer.words import read

SETTINGS = StreamSettings(batch=5, seen=Seen(64), seed=3, per_block=2)
ROWS = 23


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    rows = [pair(n, edit_prompt=f"move the mug {5 + n}% to the right", language="en") for n in range(ROWS)]
    publish(open_storage(str(folder)), {"train": rows, "test": [pair(99)]}, group=4)
    return open_dataset(str(folder))


def as_read(number: int, **changes) -> dict:
    """A row as it comes out of a file."""
    return from_rows([pair(number, **changes)], PUBLISHED).to_pylist()[0]


def names(batches) -> list[list[str]]:
    return [[one.pair_id for one in batch] for batch in batches]


def test_every_row_comes_once_and_epochs_differ(dataset):
    with Stream(dataset, "train", SETTINGS) as stream:
        first, second = names(stream.batches(0)), names(stream.batches(1))
        assert len(first) == stream.steps(0, 1) == 5
    assert (
        Counter(chain(*first))
        == Counter(chain(*second))
        == Counter(f"blender-0000000-{n:07d}" for n in range(ROWS))
    )
    assert first != second


def test_processes_change_nothing(dataset):
    settings = StreamSettings(batch=5, seen=Seen(32, 0.5), seed=3, per_block=2)
    with Stream(dataset, "train", settings) as stream:
        wanted = [one for batch in stream.batches(0) for one in batch]
    more = StreamSettings(batch=5, seen=Seen(32, 0.5), seed=3, per_block=2, workers=2)
    with Stream(dataset, "train", more) as stream:
        found = [one for batch in stream.batches(0) for one in batch]
    assert [one.words for one in found] == [one.words for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one.before, other.before) and np.array_equal(one.masks, other.masks)


def test_going_on_reads_what_is_left_by_other_ranks_too(dataset):
    with Stream(dataset, "train", SETTINGS) as stream:
        whole = names(stream.batches(0))
        assert names(stream.batches(0, past=[Stretch(1, 2, 5)])) == whole[2:]
        rest = [names(stream.batches(0, rank, 3, [Stretch(1, 2, 5)])) for rank in range(3)]
        assert len({len(batches) for batches in rest}) == 1, "ranks take alike many steps"
    assert Counter(chain(*whole[2:])) == Counter(
        name for batches in rest for batch in batches for name in batch
    )


def test_masks_lie_where_the_thing_is(dataset):
    with Stream(dataset, "train", SETTINGS) as stream:
        (one, *_) = next(iter(stream.batches(0)))
    wanted = rle_to_mask(pair(int(one.pair_id[-7:]))["objects_before"][0]["mask"])
    assert one.masks.shape == (3, 2, 32, 32)
    assert one.masks[0, 0].sum() * 4 == pytest.approx(wanted.sum()) and one.masks[1:].sum() == 0


def test_a_pair_in_the_mirror_has_its_words_turned():
    row = as_read(1, edit_prompt="move the mug 25% to the right", language="en")
    plain, turned = (example(row, Seen(64, odds), np.random.default_rng(0)) for odds in (0.0, 1.0))
    assert np.array_equal(turned.before, plain.before[:, ::-1])
    assert np.array_equal(turned.masks, plain.masks[..., ::-1])
    assert plain.words == read("move the mug 25% to the right")
    (step,) = turned.words.steps
    assert step.numbers[1] == -0.25
    unread = example(as_read(1, edit_prompt="make it autumn"), Seen(64, 1.0), np.random.default_rng(0))
    assert np.array_equal(unread.before, plain.before), "words that nobody can turn were shown in a mirror"


def test_pictures_of_other_sizes_are_squeezed_with_their_masks():
    row = as_read(1, side=96)
    one = example(row, Seen(32), np.random.default_rng(0))
    assert one.before.shape == (32, 32, 3) and one.masks.shape[-2:] == (16, 16)
    big = decode(row["original_image"])
    assert abs(one.before.mean() - big.mean()) < 2


def test_a_picture_that_is_none_names_its_pair():
    row = as_read(7, edited_image={"bytes": b"nothing", "path": "x.png"})
    with pytest.raises(RowError, match="pair blender-0000000-0000007: edited_image cannot be decoded"):
        example(row, Seen(64), np.random.default_rng(0))


def test_such_a_picture_ends_the_stream_in_another_process_too(tmp_path):
    rows = [pair(0), pair(1, original_image={"bytes": b"nothing", "path": "x.png"})]
    publish(open_storage(str(tmp_path)), {"train": rows})
    settings = StreamSettings(batch=2, seen=Seen(64, 0.5), workers=1)
    with (
        Stream(open_dataset(str(tmp_path)), "train", settings) as stream,
        pytest.raises(RowError, match="0000001"),
    ):
        list(stream.batches(0))


def test_a_dataset_without_a_column_says_which(tmp_path, dataset):
    (file,) = dataset.files("data", "test")
    path = tmp_path / "v1.0.0" / file.path
    publish(open_storage(str(tmp_path)), {"test": [pair(1)]})
    pq.write_table(pq.read_table(path).drop_columns(["edit_prompt"]), path)
    with pytest.raises(StorageError, match="has no column edit_prompt"):
        groups_of(open_dataset(str(tmp_path)), "test")


def test_a_split_without_rows_is_refused(dataset):
    with pytest.raises(ValueError, match="'validation' has no rows"):
        Stream(dataset, "validation", SETTINGS)


def test_only_the_kinds_that_are_asked_for_come_and_each_once(tmp_path):
    rows = [pair(n, edit_kind="move" if n % 3 else "recolor") for n in range(13)]
    publish(open_storage(str(tmp_path)), {"train": rows}, group=4)
    dataset = open_dataset(str(tmp_path))
    settings = StreamSettings(batch=2, seen=Seen(32), per_block=2, kinds=frozenset({"recolor"}))
    with Stream(dataset, "train", settings) as stream:
        found = [one for batch in stream.batches(0) for one in batch]
    assert sorted(one.pair_id[-2:] for one in found) == ["00", "03", "06", "09", "12"]
    assert {one.place.row for one in found} == {0, 3, 6, 9, 12}
    assert not groups_of(dataset, "train", frozenset({"zoom"}))


def test_words_of_a_training_leave_out_what_tests_are_worded_by():
    row = as_read(1, edit_prompt="move the mug 25% to the right", language="en")
    meant = parse("move the mug 25% to the right", "en")
    withheld = {say(meant, "en", np.random.default_rng(n), templates="held_out") for n in range(300)}
    seen = Seen(32, 0.5, "train")
    said = {example(row, seen, np.random.default_rng(n)).words.text for n in range(300)}
    assert len(said) > 10 and not said & withheld
    assert {read(text).steps[0].numbers[1] for text in said} == {0.25, -0.25}
    told = {example(row, Seen(32, 0.0, "canonical"), np.random.default_rng(n)).words.text for n in range(9)}
    assert len(told) == 1 and read(told.pop()).steps == read(row["edit_prompt"]).steps


def test_kept_latents_spare_decoding_and_are_those_of_the_mirror_image_too(dataset, tmp_path):
    rows = sum(file.rows for file in dataset.files("data", "train"))
    store = LatentStore(str(tmp_path), "latents-0", rows, (4, 8, 8))
    kept = store.opened()
    settings = StreamSettings(batch=5, seen=Seen(64, 0.5), seed=3, workers=1)
    with Stream(dataset, "train", settings, store) as stream:
        for one in chain(*stream.batches(0)):
            assert one.latents is None and one.before is not None
            kept.put(one.place, np.full((2, 4, 8, 8), one.place.row + one.place.mirrored / 2, np.float32))
        again = list(chain(*stream.batches(0)))
        other = list(chain(*stream.batches(1)))
    assert all(one.before is None for one in again)
    assert all(one.latents[0, 0, 0, 0] == one.place.row + one.place.mirrored / 2 for one in again)
    assert any(one.latents is None for one in other), "no pair was seen the other way round"
    more = LatentStore(str(tmp_path), "latents-0", rows, (4, 8, 8)).opened()
    assert np.array_equal(more.sums, kept.sums), "a file that is there was begun anew"
    place = again[0].place
    more.values[place.row, int(place.mirrored), 0, 0, 0, 0] += 1  # as after a machine went down
    assert more.get(place) is None and more.get(again[1].place) is not None


def test_a_disk_without_room_for_latents_says_so_at_once(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        LatentStore(str(tmp_path), "latents-0", 10, (4, 8, 8)).opened()
    monkeypatch.undo()
    kept = LatentStore(str(tmp_path), "latents-0", 10, (4, 8, 8)).opened()
    file = tmp_path / "latents-0.f32"
    assert file.stat().st_blocks * 512 >= file.stat().st_size == kept.values.nbytes, "room was not taken"
