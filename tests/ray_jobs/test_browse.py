"""What can be browsed is what was published or made, whatever state it is in, and little is read for it."""

from __future__ import annotations

import json
import threading
import unicodedata
from contextlib import closing

import pyarrow as pa
import pytest

from ray_jobs import browse_run
from ray_jobs.browse import SCORES, DatasetCatalogue, Pictures, Query, empty, score_ranges, search, values
from ray_jobs.browse_run import RunCatalogue
from shards import schema
from shards.dataset import open_dataset
from shards.storage import StorageError, open_storage
from shards.tables import from_rows
from tests.datasets import FOLDERS, commit, pair, publish
from tests.s3_server import FaultyProxy

# --- searching --------------------------------------------------------------------------------------------------------


def rows_that_say(*sentences, **columns):
    """A table with these instructions."""
    table = empty(("edit_kind", "verdict"))
    known = {"edit_prompt": list(sentences), **columns}
    arrays = [pa.array(known.get(field.name, [None] * len(sentences)), field.type) for field in table.schema]
    return pa.Table.from_arrays(arrays, schema=table.schema)


def found(table, **query):
    return search(table, Query(**query)).to_pylist()


SAID = rows_that_say(
    "Move the red ball",
    "di chuyển quả bóng đỏ",
    unicodedata.normalize("NFD", "XOÁ ĐI CÁI GHẾ"),
    "zoom in 1.5x (slowly) [50%]",
    None,
    pair_id=["a-1", "a-2", "a-3", "a-4", "a-5"],
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("BALL", [0]),
        ("  red ball ", [0]),
        ("QUẢ BÓNG", [1]),
        (unicodedata.normalize("NFD", "quả bóng"), [1]),
        ("đỏ", [1]),
        ("do", []),
        ("xoá đi", [2]),
        ("xóa", [2]),  # the tone on the other vowel
        ("1.5x (s", [3]),  # signs mean themselves
        ("1X5", []),
        ("[50%]", [3]),
        (".*", []),
        ("\\", []),
        ("a-5", [4]),
        ("a-", []),
    ],
)
def test_instructions_are_searched_for_a_part_in_any_case_and_spelling(text, rows):
    assert found(SAID, text=text) == rows


def test_filters_narrow_each_other():
    table = rows_that_say(
        *"abcd", edit_kind=["move", "move", "swap", None], verdict=["accepted", "rejected", "accepted", "accepted"],
        clip_image=[0.5, 0.7, None, 0.9],
    )  # fmt: skip
    assert found(table, chosen={"edit_kind": ["move", "swap"], "verdict": ["accepted"]}) == [0, 2]
    assert found(table, chosen={"edit_kind": [], "verdict": ["rejected"]}) == [1]
    assert found(table, chosen={"edit_kind": ["fly"]}) == []
    assert found(table, score="clip_image") == [0, 1, 3]
    assert found(table, score="clip_image", least=0.5, most=0.7) == [0, 1]
    assert found(table, score="clip_image", most=0.69) == [0]
    assert found(table, score="clip_image", least=0.6, chosen={"verdict": ["accepted"]}) == [3]
    assert found(table, least=0.6) == [0, 1, 2, 3]  # of no score
    assert values(table, "edit_kind") == {"move": 2, "swap": 1}
    assert score_ranges(table) == {"clip_image": (pytest.approx(0.5), pytest.approx(0.9))}


# --- a dataset --------------------------------------------------------------------------------------------------------


def small_dataset(storage, **changes):
    train = [pair(number, **changes) for number in range(10)]
    train[7] = pair(7, "swap", "vi", source="p2p", operations=None, objects_before=None, objects_after=None)
    publish(storage, {"train": train, "test": [pair(20), pair(21, language="vi")]})
    return {row["pair_id"]: row for row in [*train, pair(20), pair(21, language="vi")]}


def shown(catalogue, **query):
    table = catalogue.table()
    return table.take(search(table, Query(**query))).to_pylist()


def same_pictures(catalogue, rows, of):
    pictures = catalogue.pictures(rows)
    return pictures == [
        Pictures(*(of[row["pair_id"]][name]["bytes"] for name in ("original_image", "edited_image")))
        for row in rows
    ]


def test_dataset_is_browsed_by_its_index(tmp_path):
    published = small_dataset(open_storage(str(tmp_path)))
    catalogue = DatasetCatalogue(open_dataset(str(tmp_path)))
    assert catalogue.title == "spatial-demo 1.0.0"
    rows = shown(catalogue)
    assert sorted(row["pair_id"] for row in rows) == sorted(published)
    assert same_pictures(catalogue, rows, published)
    (late,) = shown(catalogue, chosen={"split": ["test"], "language": ["vi"]})
    assert late["pair_id"].endswith("21")
    assert [row["source"] for row in shown(catalogue, chosen={"source": ["p2p"]})] == ["p2p"]
    details = catalogue.details(late)
    assert details["operations"][0]["subject"] == "mug-1"
    assert details["objects_after"][0]["mask"] == published[late["pair_id"]]["objects_after"][0]["mask"]
    assert details["license"] == "CC0-1.0"
    assert not {"original_image", "edited_image"} & details.keys()
    assert DatasetCatalogue(open_dataset(str(tmp_path / "v1.0.0"))).table().equals(catalogue.table())


def test_index_alone_is_read_to_open_a_dataset(tmp_path):
    small_dataset(open_storage(str(tmp_path)))
    for file in (tmp_path / "v1.0.0" / "data").rglob("*.parquet"):
        file.unlink()
    catalogue = DatasetCatalogue(open_dataset(str(tmp_path)))
    (row,) = shown(catalogue, text="mug 20")
    (pictures,) = catalogue.pictures([row])
    assert pictures.before is None and "does not exist" in pictures.trouble
    with pytest.raises(StorageError, match="does not exist"):
        catalogue.details(row)


def test_damaged_data_file_spoils_its_own_pairs_alone(tmp_path):
    published = small_dataset(open_storage(str(tmp_path)))
    (tmp_path / "v1.0.0" / "data" / "blender" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 not really")
    catalogue = DatasetCatalogue(open_dataset(str(tmp_path)))
    bad, good = shown(catalogue, text="mug 20"), shown(catalogue, text="mug 3 ")
    pictures = catalogue.pictures([*good, *bad])
    assert pictures[0].before == published[good[0]["pair_id"]]["original_image"]["bytes"]
    assert "cannot be read as Parquet" in pictures[1].trouble and "\n" not in pictures[1].trouble
    with pytest.raises(StorageError, match="cannot be read as Parquet"):
        catalogue.details(bad[0])


@pytest.mark.parametrize(
    "place", [{"file": "../../secret"}, {"file": "data/none"}, {"row_group": 99}, {"row": 10**6}]
)
def test_index_that_names_what_is_not_there_is_said_in_a_line(tmp_path, place):
    small_dataset(open_storage(str(tmp_path)))
    catalogue = DatasetCatalogue(open_dataset(str(tmp_path)))
    row = {**shown(catalogue)[0], **place}
    (pictures,) = catalogue.pictures([row])
    assert pictures.trouble and "\n" not in pictures.trouble
    with pytest.raises(StorageError):
        catalogue.details(row)


def test_dataset_without_rows_is_empty(tmp_path):
    publish(open_storage(str(tmp_path)), {"train": []})
    catalogue = DatasetCatalogue(open_dataset(str(tmp_path)))
    assert shown(catalogue) == []
    assert shown(catalogue, text="x", chosen={"split": ["train"]}, score=SCORES[0], least=0) == []
    publish(open_storage(str(tmp_path / "bare")), {})
    assert shown(DatasetCatalogue(open_dataset(str(tmp_path / "bare")))) == []


def test_on_s3_a_page_fetches_its_own_pictures_and_only_once(s3, monkeypatch):
    storage = open_storage(s3.uri("browse-dataset"))
    # Pictures that PNG cannot make small: about 50 kB each.
    published = small_dataset(storage, side=256)
    proxy = FaultyProxy(s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    try:
        catalogue = DatasetCatalogue(open_dataset(s3.uri("browse-dataset")))
        assert not any("/data/" in request for request in proxy.requests)
        (row,) = shown(catalogue, text="mug 5 ")
        proxy.requests.clear()
        assert same_pictures(catalogue, [row], published)
        fetched = [request for request in proxy.requests if request.startswith("GET")]
        assert len(fetched) <= 4 and all("/data/blender/train-" in request for request in fetched)
        proxy.requests.clear()
        assert same_pictures(catalogue, [row], published)
        assert proxy.requests == []
    finally:
        proxy.close()


# --- a run ------------------------------------------------------------------------------------------------------------

OTHER = "blender-0000001"


def unmade(number, verdict, reason, message=None):
    row = {k: v for k, v in pair(number).items() if k not in ("original_image", "edited_image", "scores")}
    details = json.dumps({"message": message}) if message else None
    return {
        **row,
        "image_bytes": None,
        "verdict": verdict,
        "reason": reason,
        "provenance": {"details": details},
    }


@pytest.fixture
def looked(run_folder):
    """A run, and a catalogue of it that looks when it is told to."""
    catalogue = RunCatalogue(run_folder)
    catalogue._thread = threading.current_thread()
    catalogue._first_look.set()
    return run_folder, catalogue


def verdicts(catalogue):
    return [(row["pair_id"][-1], row["verdict"], row["reason"]) for row in shown(catalogue)]


def test_run_is_browsed_with_verdicts_and_reasons(looked):
    run, catalogue = looked
    commit(run, [pair(0), pair(1), unmade(2, "rejected", "no_room")], {1: "wrong_amount"})
    commit(run, [pair(3), unmade(4, "failed", "error_ValueError", "a message")], unit=OTHER)
    run.set_current({"blender": FOLDERS})
    catalogue.look()
    assert verdicts(catalogue) == [
        ("0", "accepted", None), ("1", "rejected", "wrong_amount"), ("2", "rejected", "no_room"),
        ("3", "accepted", None), ("4", "failed", "error_ValueError"),
    ]  # fmt: skip
    (rejected,) = shown(catalogue, chosen={"reason": ["wrong_amount"]})
    assert same_pictures(catalogue, [rejected], {pair(1)["pair_id"]: pair(1)})
    (failed,) = shown(catalogue, chosen={"verdict": ["failed"]})
    assert catalogue.pictures([failed]) == [Pictures()]
    assert "a message" in catalogue.details(failed)["provenance"]["details"]
    state = catalogue.state()[1]
    assert state.finished and (state.read, state.units) == (2, 2)


def test_run_in_progress_shows_what_it_has_by_now(looked):
    run, catalogue = looked
    catalogue.look()
    assert shown(catalogue) == [] and catalogue.state()[1].units == 0
    commit(run, [pair(0)], judged=False)
    catalogue.look()
    assert verdicts(catalogue) == [("0", "undecided", None)]
    assert not catalogue.state()[1].finished
    commit(run, [pair(0)], {0: "not_so"})  # the verdict comes; the pair is there already
    commit(run, [pair(1)], unit=OTHER)
    catalogue.look()
    assert verdicts(catalogue) == [("0", "rejected", "not_so"), ("1", "accepted", None)]
    stages = {stage.folder.name: stage for stage in catalogue.state()[1].stages}
    assert {name: stage.folder.units for name, stage in stages.items()} == dict.fromkeys(FOLDERS.values(), 2)
    assert not any(stage.current for stage in stages.values())


def test_other_verdicts_that_become_current_take_the_place_of_the_old(looked):
    run, catalogue = looked
    commit(run, [pair(0)])
    run.set_current({"blender": FOLDERS})
    catalogue.look()
    assert verdicts(catalogue) == [("0", "accepted", None)]
    strict = {"pair_id": pair(0)["pair_id"], "verdict": "rejected", "reason": "not_so", "profile": "strict"}
    run.commit(
        "verdicts-blender-0000000c",
        "blender-0000000",
        from_rows([strict], schema.VERDICTS),
        {"rejected:not_so": 1},
    )
    catalogue.look()
    assert verdicts(catalogue) == [("0", "accepted", None)]
    run.set_current({"blender": {**FOLDERS, "verdicts": "verdicts-blender-0000000c"}})
    catalogue.look()
    assert verdicts(catalogue) == [("0", "rejected", "not_so")]


def test_scores_of_clip_are_those_of_their_own_folder(looked):
    run, catalogue = looked
    commit(run, [pair(0), pair(1)])
    row = {"pair_id": pair(1)["pair_id"], "clip_image": 0.75, "model": "m"}
    run.commit("scores-blender-0000000d", "blender-0000000", from_rows([row], schema.SCORES), {"scored": 1})
    catalogue.look()
    assert [row["clip_image"] for row in shown(catalogue)] == [None, 0.75]
    assert [row["pair_id"][-1] for row in shown(catalogue, score="clip_image", least=0.7)] == ["1"]
    assert [row["pair_id"][-1] for row in shown(catalogue, score="centre_error", most=0.0005)] == ["0"]


def test_damaged_shard_is_a_line_until_it_is_made_again(looked):
    run, catalogue = looked
    commit(run, [pair(0)])
    key = run.shard_key(FOLDERS["pairs"], OTHER)
    run.storage.write(key, b"PAR1 not really PAR1")
    catalogue.look()
    assert verdicts(catalogue) == [("0", "accepted", None)]
    (line,) = catalogue.state()[1].troubles
    assert key in line and "\n" not in line
    run.storage.delete(key)
    catalogue.look()
    commit(run, [pair(1)], unit=OTHER)
    catalogue.look()
    assert catalogue.state()[1].troubles == ()
    assert len(shown(catalogue)) == 2


def test_a_failure_that_passes_is_tried_again(looked, monkeypatch):
    run, catalogue = looked
    commit(run, [pair(0)])
    with monkeypatch.context() as patch:
        busy = StorageError("busy", "the server is too busy")
        patch.setattr(browse_run, "read_table", lambda *_: (_ for _ in ()).throw(busy))
        catalogue.look()
    assert catalogue.state()[1].troubles == ("the server is too busy",) and not len(catalogue.table())
    catalogue.look()
    assert catalogue.state()[1].troubles == () and len(catalogue.table()) == 1


def test_table_of_another_kind_is_a_line(looked):
    run, catalogue = looked
    run.commit(FOLDERS["pairs"], "blender-0000000", pa.table({"pair_id": ["a"]}), {})
    catalogue.look()
    (line,) = catalogue.state()[1].troubles
    assert "blender-0000000" in line and "\n" not in line


def test_table_stays_the_same_while_nothing_is_new(looked):
    run, catalogue = looked
    commit(run, [pair(0)])
    catalogue.look()
    table = catalogue.table()
    catalogue.look()
    assert catalogue.table() is table
    commit(run, [pair(1)], unit=OTHER)
    catalogue.look()
    assert catalogue.table() is not table


def test_stages_without_pairs_are_counted_by_their_footers(looked):
    run, catalogue = looked
    run.commit(
        "edits-0000000e", "edits-0000000", pa.table({"x": [1, 2, 3]}), {"accepted": 2, "rejected:unclear": 1}
    )
    catalogue.look()
    (stage,) = catalogue.state()[1].stages
    assert stage.counts == {"accepted": 2, "rejected:unclear": 1}


def test_a_run_is_read_while_somebody_looks(run_folder, monkeypatch):
    monkeypatch.setattr(browse_run, "_PAUSE_S", 0.01)
    commit(run_folder, [pair(0)])
    with closing(RunCatalogue(run_folder)) as catalogue:
        assert len(catalogue.table()) == 1  # the first question waits for the first units
        commit(run_folder, [pair(1)], unit=OTHER)
        for _ in range(500):
            if len(catalogue.table()) == 2:
                break
            threading.Event().wait(0.02)
        assert len(catalogue.table()) == 2


def test_run_that_cannot_be_listed_is_a_line_and_is_tried_again(run_folder, monkeypatch):
    monkeypatch.setattr(browse_run, "_PAUSE_S", 0.01)
    catalogue = RunCatalogue(run_folder)
    looks = threading.Semaphore(0)

    def look():
        looks.release()
        raise StorageError("busy", "the server is too busy")

    monkeypatch.setattr(catalogue, "look", look)
    with closing(catalogue):
        table, state = catalogue.state()
        assert len(table) == 0 and state.troubles == ("the server is too busy",)
        for _ in range(3):
            assert looks.acquire(timeout=20)
