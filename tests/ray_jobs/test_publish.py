"""A version holds what was accepted, the same bytes whoever makes it, and nothing leaks between its splits."""

from __future__ import annotations

import re
import resource

import pyarrow.parquet as pq
import pytest

from ray_jobs import __main__ as command
from ray_jobs.config_publish import Balance, ConfigError, Sample
from ray_jobs.publication import check_version, open_source, publish
from shards.dataset import MANIFEST_FILE, TOOL, open_dataset, read_latest
from shards.splits import is_held_out
from shards.storage import StorageError, open_storage
from shards.units import Unit
from tests.pages import ROOT
from tests.ray_jobs.published import SETTINGS, contents, made, rows
from tests.runs_by_hand import FOLDERS, commit, hand_made_row, hand_made_run


def test_every_accepted_pair_is_there_once_with_its_inverse_and_no_other(published):
    found = rows(published / "data/v1.0.0", ["pair_id", "inverse_of"])
    originals = [row["pair_id"] for row in found if row["inverse_of"] is None]
    run = open_source(str(published / "run")).run.id[:8]
    accepted = [
        f"{run}-blender-{unit:07d}-{row:03d}" for unit in range(6) for row in range(8) if row % 4 != 3
    ]
    assert sorted(originals) == accepted
    inverses = {row["pair_id"]: row["inverse_of"] for row in found if row["inverse_of"]}
    assert inverses == {f"{name}-inverse": name for name in accepted}


def test_an_inverse_has_the_pictures_swapped_and_stands_behind_its_original_in_one_split(published):
    found = rows(published / "data/v1.0.0")
    place = {row["pair_id"]: number for number, row in enumerate(found)}
    by_name = {row["pair_id"]: row for row in found}
    for row in found:
        if (name := row["inverse_of"]) is None:
            continue
        original = by_name[name]
        assert place[row["pair_id"]] == place[name] + 1 and row["split"] == original["split"]
        for first, second in (("original_image", "edited_image"), ("objects_before", "objects_after")):
            assert (row[first], row[second]) == (original[second], original[first])
        assert row["hashes"]["pixel_before"] == original["hashes"]["pixel_after"]
        assert row["scores"]["visible_before"] == original["scores"]["visible_after"]
        assert row["scores"]["clip_text_after"] == original["scores"]["clip_text_before"]
        assert row["scores"]["holds"] is None and original["scores"]["holds"] == 1
        assert {row["operations"][0]["direction"], original["operations"][0]["direction"]} == {
            "left",
            "right",
        }


def test_scores_of_clip_are_those_of_the_pair(published):
    found = rows(published / "data/v1.0.0", ["scores", "inverse_of"])
    assert {round(row["scores"]["clip_direction"], 4) for row in found} == {0.5}
    assert {round(row["scores"]["percent_error"], 4) for row in found} == {0.1}


def test_held_out_combinations_are_in_test_alone(published):
    found = rows(published / "data/v1.0.0", ["objects_before", "objects_after", "held_out"])
    shown = {split: set() for split in ("train", "validation", "test")}
    for row in found:
        combinations = {f"{t['name']}/{t['color']}" for t in row["objects_before"] + row["objects_after"]}
        held = {c for c in combinations if is_held_out(c, 0.03)}
        assert row["held_out"] == bool(held)
        shown[row["split"]] |= held
    assert shown["train"] == shown["validation"] == set() and shown["test"]


def test_pairs_that_share_a_picture_or_a_scene_are_in_one_split(tmp_path):
    run = hand_made_run(str(tmp_path / "run"), units=30, size=2, finished=False)
    table = pq.read_table(tmp_path / "run" / FOLDERS["pairs"] / "part-blender-0000000.parquet").to_pylist()
    for number in range(8):  # every scene of the first unit once more, with another picture before
        fresh = hand_made_row(9, Unit("blender", 90 + number, 1), 0, run.id)
        shared = table[number % 2]
        fresh["hashes"] = {**fresh["hashes"], "pixel_before": shared["hashes"]["pixel_before"]}
        commit(run, f"blender-{90 + number:07d}", [fresh])
    run.set_current({"blender": FOLDERS})
    made(tmp_path)
    splits: dict[str, set[str]] = {}
    for row in rows(tmp_path / "data/v1.0.0", ["hashes", "inverse_of"]):
        if row["inverse_of"] is None:
            splits.setdefault(row["hashes"]["pixel_before"], set()).add(row["split"])
    assert {len(found) for found in splits.values()} == {1}
    assert len({next(iter(found)) for found in splits.values()}) == 3


def test_the_index_has_every_row_and_says_where_it_lies(published):
    version = published / "data/v1.0.0"
    for split in ("train", "validation", "test"):
        index = pq.read_table(version / "index" / f"{split}.parquet").to_pylist()
        assert [r["pair_id"] for r in index] == [
            r["pair_id"] for r in rows(version, ["pair_id"]) if r["split"] == split
        ]
        for row in index[:: max(1, len(index) // 7)]:
            group = pq.ParquetFile(version / row["file"]).read_row_group(row["row_group"]).to_pylist()
            there = group[row["row"]]
            assert there["pair_id"] == row["pair_id"] and there["edit_prompt"] == row["edit_prompt"]
            assert row["objects_before"][0].keys() == there["objects_before"][0].keys() - {"mask"}
            assert "original_image" not in row


def test_files_are_cut_by_size_and_named_by_their_number(published):
    names = [
        p.relative_to(published / "data/v1.0.0").as_posix()
        for p in sorted(published.rglob("data/*/*.parquet"))
    ]
    train = [name for name in names if "/train-" in name]
    assert len(train) > 1
    assert train == [f"data/blender/train-{n:05d}-of-{len(train):05d}.parquet" for n in range(len(train))]


def test_row_groups_are_no_larger_than_asked(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=2, size=8)
    settings = SETTINGS.model_copy(update={"file_mb": 500.0, "row_group_mb": 0.02})
    made(tmp_path, settings=settings)
    sizes = [
        (file.read_row_group(group).nbytes, file.metadata.row_group(group).num_rows)
        for path in (tmp_path / "data").rglob("data/*/*.parquet")
        for file in [pq.ParquetFile(path)]
        for group in range(file.num_row_groups)
    ]
    assert len(sizes) > 3
    assert all(size <= 25_000 or number == 1 for size, number in sizes)


def test_the_same_runs_give_the_same_bytes_elsewhere_and_by_other_workers(published, tmp_path):
    class Backwards:
        """Workers that end in any order give results in the order of the tasks, as ours promise to."""

        def map(self, function, tasks):
            waiting = list(tasks)
            done = {place: function(waiting[place]) for place in reversed(range(len(waiting)))}
            return (done[place] for place in range(len(waiting)))

    source = open_source(str(published / "run"))
    publish([source], open_storage(str(tmp_path)), "1.0.0", SETTINGS, Backwards(), lambda _: None)
    assert contents(tmp_path) == contents(published / "data")


def test_publishing_again_changes_nothing_and_other_content_is_refused(published):
    before = contents(published / "data")
    assert made(published).again
    with pytest.raises(ConfigError, match=r"1\.0\.0: is published with other content"):
        made(published, settings=SETTINGS.model_copy(update={"inverse": False}))
    assert contents(published / "data") == before


_TRAIN_ALONE = SETTINGS.splits.model_copy(
    update={"train": 1.0, "validation": 0.0, "test": 0.0, "held_out": 0.0}
)
ALL_TRAIN = SETTINGS.model_copy(update={"splits": _TRAIN_ALONE})


def test_other_pictures_under_the_same_names_are_other_content(tmp_path):
    """Another seed counts its pairs from nought, too: names alone do not say what a run holds."""
    for seed in (1, 2):
        hand_made_run(str(tmp_path / f"run-{seed}"), units=2, seed=seed, language="en", objects_before=None)
    made(tmp_path, settings=ALL_TRAIN, runs=("run-1",))
    before = contents(tmp_path / "data")
    with pytest.raises(ConfigError, match="is published with other content"):
        made(tmp_path, settings=ALL_TRAIN, runs=("run-2",))
    assert contents(tmp_path / "data") == before


def test_what_another_run_left_half_published_is_not_taken_for_ours(tmp_path):
    for seed in (1, 2):
        hand_made_run(str(tmp_path / f"run-{seed}"), units=2, seed=seed, language="en", objects_before=None)
    made(tmp_path, settings=ALL_TRAIN, runs=("run-1",))
    (tmp_path / "data/v1.0.0" / MANIFEST_FILE).unlink()  # as if it had been killed before the last step
    made(tmp_path, settings=ALL_TRAIN, runs=("run-2",))
    (run,) = {row["run_id"] for row in rows(tmp_path / "data/v1.0.0", ["run_id"])}
    assert run == open_source(str(tmp_path / "run-2")).run.id


def test_pairs_of_which_no_hash_is_known_are_nobodys_duplicates(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=1, size=3, hashes=None, language="en")
    assert made(tmp_path).dropped == {}


def test_latest_never_goes_back_to_an_older_version(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=2)
    target = open_storage(str(tmp_path / "data"))
    for version, latest in (("1.0.0", "1.0.0"), ("1.10.0", "1.10.0"), ("1.9.0", "1.10.0")):
        made(tmp_path, version)
        assert read_latest(target)["version"] == latest
    assert open_dataset(target.uri).manifest.version == "1.10.0"


def test_the_next_version_is_made_only_where_something_changed(tmp_path, cluster, capsys):
    run = hand_made_run(str(tmp_path / "run"), units=2)
    line = ["publish", "--run", str(tmp_path / "run"), "--to", str(tmp_path / "data"), "--version", "next"]
    for words in ("version 1.0.0 published", "version 1.0.0 was there already"):
        assert command.main(line) == 0
        assert words in capsys.readouterr().out
    fresh = hand_made_row(1, Unit("blender", 50, 1), 0, run.id)
    commit(run, "blender-0000050", [fresh])
    assert command.main(line) == 0
    assert "version 1.1.0 published" in capsys.readouterr().out


def test_what_an_attempt_with_other_settings_left_is_gone(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=2)
    made(tmp_path, "1.0.0")
    version = tmp_path / "data/v1.0.0"
    (version / MANIFEST_FILE).unlink()  # as if it had been killed before the last step
    made(tmp_path, "1.0.0", SETTINGS.model_copy(update={"file_mb": 500.0, "inverse": False}))
    assert len(list(version.rglob("data/*/train-*"))) == 1
    assert command.main(["verify", "--dataset", str(tmp_path / "data")]) == 0


def test_duplicates_are_dropped_and_counted_and_the_first_stays(tmp_path):
    run = hand_made_run(str(tmp_path / "run"), units=2, size=3, finished=False)
    first = pq.read_table(tmp_path / "run" / FOLDERS["pairs"] / "part-blender-0000000.parquet").to_pylist()[0]
    again = {**first, "pair_id": "blender-0000007-000"}
    alike = {
        **first,
        "pair_id": "blender-0000007-001",
        "hashes": {**first["hashes"], "pixel_before": "0" * 64, "pixel_after": "1" * 64},
    }
    commit(run, "blender-0000007", [again, alike])
    run.set_current({"blender": FOLDERS})
    found = made(tmp_path)
    assert found.dropped == {"exact_duplicate": 1, "near_duplicate": 1}
    names = {row["pair_id"] for row in rows(tmp_path / "data/v1.0.0", ["pair_id"])}
    assert f"{run.id[:8]}-{first['pair_id']}" in names and not [name for name in names if "0000007" in name]
    survival = {line["step"]: line["rows"] for line in found.dataset.manifest.survival}
    assert survival["accepted"] - 2 == survival["kept"] and survival["dropped:near_duplicate"] == 1


def test_duplicates_by_embedding_are_dropped_where_asked_for(tmp_path):
    run = hand_made_run(str(tmp_path / "run"), units=3, size=3)
    settings = SETTINGS.model_copy(
        update={"duplicates": SETTINGS.duplicates.model_copy(update={"cosine": 0.99})}
    )
    assert made(tmp_path, settings=settings).dropped == {}
    # Nothing is alike by chance; at 0.8 of random vectors neither, so the same pair comes in another unit.
    first = pq.read_table(tmp_path / "run" / FOLDERS["pairs"] / "part-blender-0000001.parquet").to_pylist()[0]
    other = hand_made_row(5, Unit("blender", 8, 1), 0, run.id)
    other |= {
        "pair_id": first["pair_id"],
        **{k: first[k] for k in ("language", "operations", "instructions")},
    }
    commit(run, "blender-0000008", [other])
    assert made(tmp_path, "1.1.0", settings).dropped == {"semantic_duplicate": 1}


def test_a_value_over_its_quota_is_cut(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=8, size=8)
    balance = SETTINGS.balance.model_copy(update={"direction": None, "language": 1.0})
    found = made(tmp_path, settings=SETTINGS.model_copy(update={"balance": balance, "inverse": False}))
    assert found.dropped["over_quota"] > 0
    languages = [row["language"] for row in rows(tmp_path / "data/v1.0.0", ["language"])]
    assert abs(languages.count("en") - languages.count("vi")) <= 1


def test_a_set_is_skewed_on_purpose_mended_and_of_one_size(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=8, size=8)
    plain = SETTINGS.model_copy(update={"inverse": False, "balance": Balance()})
    whole = made(tmp_path, settings=plain)
    names = [row["language"] for row in rows(tmp_path / "data/v1.0.0", ["language"])]
    few = {"sample": Sample(language={"vi": 0.25})}
    skewed = made(tmp_path, "1.1.0", plain.model_copy(update=few))
    found = [row["language"] for row in rows(tmp_path / "data/v1.1.0", ["language"])]
    assert found.count("en") == names.count("en") and found.count("vi") == round(names.count("vi") / 4)
    assert skewed.dropped["not_sampled"] == len(names) - len(found) and "not_sampled" not in whole.dropped
    mended = made(
        tmp_path, "1.2.0", plain.model_copy(update=few | {"balance": Balance(language=1.0), "most": 5})
    )
    found = [row["language"] for row in rows(tmp_path / "data/v1.2.0", ["language"])]
    with pytest.raises(ConfigError, match=r"sample\.language: no pair has 'fr'; there are: en, vi"):
        made(tmp_path, "1.3.0", plain.model_copy(update={"sample": Sample(language={"fr": 0.5})}))
    assert len(found) == 5 and mended.dropped["more_than_asked"] > 0 and mended.dropped["over_quota"] > 0


def test_pairs_without_pictures_are_left_out_and_counted(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=1, image_bytes=None, original_image=None, edited_image=None)
    with pytest.raises(ConfigError, match="no accepted pair is left"):
        made(tmp_path)


def test_two_runs_become_one_dataset_in_the_order_given(tmp_path):
    hand_made_run(str(tmp_path / "a"), units=2, seed=1)
    hand_made_run(str(tmp_path / "b"), units=2, seed=2)
    found = made(tmp_path, runs=("a", "b"))
    assert [len(parent) for parent in found.dataset.manifest.parents] == [16, 16]
    names = [row["pair_id"] for row in rows(tmp_path / "data/v1.0.0", ["pair_id"])]
    assert len(set(names)) == len(names) == 2 * 2 * 2 * 3


def test_an_unfinished_run_is_not_published(tmp_path):
    hand_made_run(str(tmp_path / "run"), finished=False)
    with pytest.raises(ConfigError, match="no route of it is complete"):
        made(tmp_path)


@pytest.mark.parametrize("version", ["1.0/../../x", "", "latest", "1.0.0 ", "v1"])
def test_a_version_that_is_none_is_refused(version):
    with pytest.raises(ConfigError, match="must look like"):
        check_version(version)


def test_the_tool_says_the_version_that_the_project_has():
    assert re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1] == TOOL["version"]


def test_a_full_disk_says_so_and_leaves_no_version(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))  # a data file is larger than that
    try:
        with pytest.raises(StorageError, match="TMPDIR") as caught:
            made(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.reason == "disk_full"
    assert not (tmp_path / "data/v1.0.0" / MANIFEST_FILE).exists()
    made(tmp_path)


def test_a_shard_that_broke_is_named(tmp_path):
    hand_made_run(str(tmp_path / "run"), units=2)
    shard = next((tmp_path / "run").rglob("pairs-*/*1*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StorageError, match=re.escape(shard.name)) as caught:
        made(tmp_path)
    assert caught.value.reason == "corrupt"
