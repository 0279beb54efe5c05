"""The first stage with real Blender: every kind and language, the same again, and all that may go wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from pycocotools import mask as coco

from filters.geometry import GeometryScores, decide
from filters.thresholds import GeometryThresholds
from renderers.rows import done_row
from renderers.sampler import SamplerSettings, View, sample_scene
from renderers.shapes import ProceduralShapes
from renderers.stage import RenderScenes, sampler_settings
from renderers.worker import BlenderUnavailable
from shards.guard import BrokenEngine
from shards.images import decode, pixel_sha256
from shards.schema import PAIRS
from shards.storage import StorageError
from spatial.instruction import LANGUAGES
from spatial.language import parse
from spatial.lexicon import Lexicon
from spatial.operation import apply
from spatial.propose import propose
from spatial.resolve import resolve
from spatial.rows import said_row
from spatial.scene import Scene, SpatialError
from tests.golden import golden, stages
from tests.renderers.stage_rows import RENDERED, SETTINGS, Bench, Row, covering_units, unit, wanted
from tests.renderers.test_worker import OBJ, entry, glb

UNITS = covering_units()
EASY = {
    "kinds": {"recolor": 1.0, "remove": 1.0},
    "objects": {"min": 2, "max": 2},
}  # few draws are thrown away
STOOL = {
    "noun": "stool",
    "licence": "CC-BY-4.0",
    "size": [0.6, 0.6, 0.7],
    "words": {"en": {"noun": "stool", "plural": "stools"}, "vi": {"noun": "ghế đẩu", "classifier": "cái"}},
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Rows of every kind in every language."""
    with Bench.set_up(tmp_path_factory.mktemp("everything")) as bench:
        rows = bench.rows(UNITS)
        assert bench.table(UNITS[0]).schema.equals(PAIRS)
    return rows


@pytest.fixture(scope="module")
def made(everything: list[Row]) -> list[Row]:
    return [row for row in everything if row["verdict"] is None]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench whose units of four easy rows nobody disturbs; a row made twice here costs once."""
    with Bench.set_up(tmp_path_factory.mktemp("undisturbed"), **EASY) as bench:
        yield bench


@pytest.fixture
def bench(undisturbed: Bench, request: pytest.FixtureRequest) -> Bench:
    """The same settings and Blender process, nothing made yet."""
    return undisturbed.beside(f"pairs-{zlib.crc32(request.node.name.encode()):08x}")


def scene_of(row: Row, settings: SamplerSettings) -> tuple[Scene, np.random.Generator]:
    """The scene before the edit, from no more than the row, and the generator as it is afterwards."""
    attempt = json.loads(row["sampler"]["settings"])["attempt"]
    rng = np.random.default_rng([row["seed"], attempt])
    return sample_scene(row["edit_kind"], settings, ProceduralShapes(), rng), rng


def sampler(objects: dict[str, int] = SETTINGS["objects"]) -> SamplerSettings:
    return SamplerSettings(64, 64, (objects["min"], objects["max"]))


def assert_same(rows: list[Row], others: list[Row]) -> None:
    """Equal in everything; pixels, and figures and hashes made of them, within one step of 255."""
    assert [row["pair_id"] for row in rows] == [row["pair_id"] for row in others]
    of_pixels = {"original_image", "edited_image", "scores", "hashes", "image_bytes"}
    for row, other in zip(rows, others, strict=True):
        for column in row.keys() - of_pixels:
            assert row[column] == other[column], (row["pair_id"], column)
        for column in ("original_image", "edited_image"):
            if row[column] is None:
                assert other[column] is None
                continue
            step = decode(row[column]).astype(int) - decode(other[column])
            assert np.abs(step).max() <= 1, (row["pair_id"], column)


# -- what rows hold --------------------------------------------------------------------------------


def test_every_kind_in_both_languages_is_made_or_says_why_not(everything: list[Row]) -> None:
    assert {wanted(row) for one in UNITS for row in one.rows} == {(k, w) for k in RENDERED for w in LANGUAGES}
    assert len({row["pair_id"] for row in everything}) == len(everything)
    for row in everything:
        number = int(row["pair_id"].rpartition("-")[2])
        assert (row["edit_kind"], row["language"]) == wanted(number)
        assert row["pair_id"] == f"{row['unit_id']}-{number:07d}"
        assert row["verdict"] in (None, "rejected"), (row["pair_id"], row["reason"], row["provenance"])
        assert (row["reason"] is None) == (row["verdict"] is None) == (row["original_image"] is not None)
    # Most draws work out within the tries; a kind that never does is broken.
    assert {row["edit_kind"] for row in everything if row["verdict"] is None} == set(RENDERED)


def test_made_rows_are_whole_and_their_geometry_is_accepted(made: list[Row]) -> None:
    absent = {"verdict", "reason"}
    for row in made:
        empty = {name for name, value in row.items() if value is None}
        assert empty <= absent, (row["pair_id"], empty)
        assert row["source"] == "blender" and row["license"]
        steps = {"sequence": (2, 3)}.get(row["edit_kind"], (1,))
        assert len(row["instructions"]) in steps and len(row["operations"]) == len(row["instructions"])
        scores = {name: row["scores"][name] for name in GeometryScores.__dataclass_fields__}
        found = decide(row["edit_kind"], GeometryScores(**scores), GeometryThresholds())
        # Masks were judged before rendering; only what pixels say may still speak against a pair.
        assert found.reason in ("", "nothing_to_see", "background_changed"), (row["pair_id"], found)


def test_masks_boxes_and_pictures_of_a_row_fit_each_other(made: list[Row]) -> None:
    for row in made:
        for column, when in (("original_image", "before"), ("edited_image", "after")):
            picture = decode(row[column])
            assert picture.shape == (row["height"], row["width"], 3) == (64, 64, 3)
            assert pixel_sha256(picture) == row["hashes"][f"pixel_{when}"]
            things = row[f"objects_{when}"]
            assert len({thing["id"] for thing in things}) == len(things) > 0
            taken = np.zeros((64, 64), int)
            for thing in things:
                rle = {"size": thing["mask"]["size"], "counts": thing["mask"]["counts"].encode()}
                mask = coco.decode(rle).astype(bool)  # type: ignore[no-untyped-call]
                taken += mask
                y, x = np.nonzero(mask)
                assert mask.shape == (64, 64) and thing["area"] == mask.sum() > 0
                assert thing["box"] == [x.min(), y.min(), x.max() + 1, y.max() + 1]
                assert 0 < thing["visible_fraction"] <= 1 and thing["licence"] == "Apache-2.0"
            assert taken.max() == 1  # a pixel shows one thing
        assert row["image_bytes"] == sum(
            len(row[name]["bytes"]) for name in ("original_image", "edited_image")
        )
        assert row["hashes"]["pixel_before"] != row["hashes"]["pixel_after"]


def test_the_words_mean_the_instruction_and_the_seed_gives_the_same_edit_again(made: list[Row]) -> None:
    shapes, lexicon = ProceduralShapes(), Lexicon.default()
    for row in made:
        before, rng = scene_of(row, sampler())
        propose(row["edit_kind"], before, shapes, rng)  # the next draws are those of the operation
        said = parse(row["edit_prompt"], row["language"])
        assert [said_row(step, row["language"], lexicon) for step in said.parts()] == row["instructions"]
        operation = resolve(said, before, shapes, rng)
        assert [done_row(step) for step in operation.parts()] == row["operations"]
        after = apply(operation, before, shapes)
        for scene, things in ((before, row["objects_before"]), (after, row["objects_after"])):
            assert [thing["id"] for thing in things] == [thing.id for thing in scene.objects]
            assert [tuple(t["pose"]["position"]) for t in things] == [t.pose.position for t in scene.objects]


def test_rows_are_those_of_this_version(everything: list[Row]) -> None:
    problem = golden.difference("pairs-blender", RenderScenes.version, stages.pairs(everything))
    assert problem is None, problem


def test_the_same_seed_gives_the_same_rows_in_another_process_and_order(
    everything: list[Row], tmp_path: Path
) -> None:
    again = [UNITS[-1], UNITS[3], UNITS[0]]
    with Bench.set_up(tmp_path) as bench:
        rows = bench.rows(again)
    known = {row["pair_id"]: row for row in everything}
    assert_same(rows, [known[row["pair_id"]] for row in rows])


def test_another_seed_or_unit_gives_other_scenes(undisturbed: Bench, tmp_path: Path) -> None:
    first, second = undisturbed.rows([unit(0, 4)]), undisturbed.rows([unit(1, 4)])
    with Bench.set_up(tmp_path, **EASY, seed=8) as other:
        third = other.rows([unit(0, 4)])
    positions = [
        [thing["pose"]["position"] for thing in row["objects_before"]]
        for rows in (first, second, third)
        for row in rows
        if row["verdict"] is None
    ]
    assert len({json.dumps(scene) for scene in positions}) == len(positions) > 6
    assert not {row["pair_id"] for row in first} & {row["pair_id"] for row in second}
    assert [row["pair_id"] for row in first] == [row["pair_id"] for row in third]


# -- Blender dies ----------------------------------------------------------------------------------


def test_blender_killed_in_mid_unit_changes_no_row(
    undisturbed: Bench, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, render = bench.stage._worker, bench.stage._worker.render
    began, restarts, killed = worker.cycles_seconds, worker.restarts, []

    def kill_in_the_second_row():
        if not killed and worker.cycles_seconds > began:
            assert worker.pid is not None
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
        return render()

    calm = undisturbed.rows([unit(0, 4)])
    monkeypatch.setattr(worker, "render", kill_in_the_second_row)
    rows = bench.rows([unit(0, 4)])
    assert killed and worker.restarts == restarts + 1 and not psutil.pid_exists(killed[0])
    assert_same(rows, calm)


def test_a_scene_that_always_kills_blender_fails_alone(
    undisturbed: Bench, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = undisturbed.rows([unit(0, 4)])
    deadly, _ = scene_of(calm[1], sampler(EASY["objects"]))
    worker, prepare = bench.stage._worker, bench.stage._worker.prepare

    def kill_at_the_deadly_scene(before, after):
        if before == deadly:
            worker.start()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        return prepare(before, after)

    monkeypatch.setattr(worker, "prepare", kill_at_the_deadly_scene)
    report = bench.report(unit(0, 4))
    rows = bench.rows([unit(0, 4)])
    assert report.counts == Counter({"made": 3, "failed:blender_crashed": 1})
    assert (rows[1]["verdict"], rows[1]["reason"]) == ("failed", "blender_crashed")
    assert_same([rows[0], *rows[2:]], [calm[0], *calm[2:]])


def test_blender_that_cannot_be_started_again_is_a_broken_engine(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stage._worker.close()
    (tmp_path / "bpy.py").write_text("raise ImportError('gone')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BrokenEngine):
        bench.report(unit(0, 4))
    assert not bench.run.done(bench.folder)


def test_a_machine_without_blender_is_told_before_the_first_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bpy.py").write_text("raise ModuleNotFoundError(\"No module named 'bpy'\", name='bpy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BlenderUnavailable, match="install this project's extra 'blender'"):
        Bench.set_up(tmp_path)


# -- rows that may not run, rows that our own code cannot take, a full disk ---------------------------


def test_rows_that_killed_their_worker_are_failed_with_their_reason_and_the_others_made(
    undisturbed: Bench, bench: Bench
) -> None:
    calm = undisturbed.rows([unit(0, 4)])
    report = bench.report(unit(0, 4), attempt=4, begun={2: 3})
    rows = bench.rows([unit(0, 4)])
    assert report.counts == {"made": 3, "failed:killed_its_worker": 1}
    assert (rows[2]["verdict"], rows[2]["reason"]) == ("failed", "killed_its_worker")
    assert (rows[2]["pair_id"], rows[2]["seed"]) == (calm[2]["pair_id"], calm[2]["seed"])
    assert_same([*rows[:2], rows[3]], [*calm[:2], calm[3]])


def test_after_too_many_attempts_all_rows_are_failed_without_work(bench: Bench) -> None:
    scenes = bench.stage._worker.scenes
    report = bench.report(unit(0, 4), attempt=7)
    assert report.counts == {"failed:gave_up": 4}
    assert bench.stage._worker.scenes == scenes
    assert {row["reason"] for row in bench.rows([unit(0, 4)])} == {"gave_up"}


@pytest.mark.parametrize("error", [RuntimeError, AttributeError])
def test_a_row_that_our_own_code_cannot_take_fails_alone_and_keeps_its_message(
    undisturbed: Bench, bench: Bench, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    calm = undisturbed.rows([unit(0, 4)])
    draft = bench.stage._draft

    def broken(kind, language, rng):
        drawn = draft(kind, language, rng)
        if drawn.text == calm[3]["edit_prompt"]:
            raise error("nobody thought of this")
        return drawn

    monkeypatch.setattr(bench.stage, "_draft", broken)
    rows = bench.rows([unit(0, 4)])
    assert (rows[3]["verdict"], rows[3]["reason"]) == ("failed", f"error_{error.__name__}")
    assert json.loads(rows[3]["provenance"]["details"])["message"] == "nobody thought of this"
    assert_same(rows[:3], calm[:3])


def test_a_full_disk_commits_nothing_and_the_unit_is_made_when_there_is_room(
    undisturbed: Bench, bench: Bench
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))  # a shard is larger than that
    try:
        with pytest.raises(StorageError) as full:
            bench.report(unit(0, 4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.reason == "disk_full"
    assert not bench.run.done(bench.folder) and not list(bench.run.storage.list(bench.folder))
    assert_same(bench.rows([unit(0, 4)]), undisturbed.rows([unit(0, 4)]))


# -- assets from files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.obj", None, "missing_asset"),
        ("broken.glb", b"glTF nonsense", "corrupt_asset"),
    ],
)
def test_a_missing_or_corrupt_asset_is_one_line_before_the_first_unit(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    (tmp_path / "assets.yaml").write_text(entry(**STOOL, id="bad", file=name, up="y", front="z", painted=[]))
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SpatialError, match=name.replace(".", r"\.")) as error:
        Bench.set_up(tmp_path / "run", assets=str(tmp_path / "assets.yaml"))
    assert error.value.reason == reason and "\n" not in str(error.value)


def test_assets_of_a_new_noun_are_rendered_named_in_both_languages_and_carry_their_licence(
    tmp_path: Path,
) -> None:
    cube = ProceduralShapes().mesh("cube")
    (tmp_path / "stool.glb").write_bytes(glb(cube.vertices, cube.triangles))
    (tmp_path / "block.obj").write_text(OBJ)
    (tmp_path / "block.mtl").write_text("newmtl Paint\nKd 1 0 0\n")
    entries = [
        json.loads(entry(**STOOL, id="stool_glb", file="stool.glb", up="z", front="-y", painted=[])),
        json.loads(entry(**STOOL, id="stool_obj", file="block.obj", painted=[])),
    ]
    catalogue = tmp_path / "assets.yaml"
    catalogue.write_text(json.dumps({"assets": [asset for one in entries for asset in one["assets"]]}))
    with Bench.set_up(tmp_path / "run", **EASY, assets=str(catalogue)) as bench:
        bench.stage._sampler = replace(bench.stage._sampler, nouns=("stool",))
        rows = [row for row in bench.rows([unit(0, 4), unit(1, 4)]) if row["verdict"] is None]
    used = Counter(thing["name"] for row in rows for thing in row["objects_before"])
    assert used.keys() == {"stool"}
    for row in rows:
        assert "stool" in row["original_prompt"]
        assert {"en": "stool", "vi": "cái ghế đẩu"}[row["language"]] in row["edit_prompt"]
        assert {thing["licence"] for thing in row["objects_before"]} == {"CC-BY-4.0"}
        assert "CC-BY-4.0" in row["license"]
        assert set(json.loads(row["provenance"]["details"])["assets"].values()) == {"CC-BY-4.0"}
    assert {row["language"] for row in rows} == set(LANGUAGES)
    assert {asset for row in rows for asset in json.loads(row["provenance"]["details"])["assets"]} == {
        "stool_glb", "stool_obj",
    }  # fmt: skip


def test_scenes_show_only_what_is_in_stock_before_and_after_the_edit(tmp_path: Path) -> None:
    stock = {
        "nouns": ["ball", "cube", "mug"], "colors": ["red", "blue", "pink"], "materials": ["matte", "wood"],
        "floors": ["grass"], "never": ["ball red"],
    }  # fmt: skip
    kinds = dict.fromkeys(("recolor", "material"), 1.0)
    few = {"min": 1, "max": 1}
    with Bench.set_up(tmp_path / "run", stock=stock, kinds=kinds, objects=few, max_tries=100) as bench:
        rows = [row for row in bench.rows([unit(0, 4), unit(1, 4)]) if row["verdict"] is None]
    assert {row["edit_kind"] for row in rows} == kinds.keys()
    for row in rows:
        for thing in (*row["objects_before"], *row["objects_after"]):
            assert thing["name"] in stock["nouns"] and thing["color"] in stock["colors"]
            assert thing["material"] in stock["materials"]
            assert f"{thing['name']} {thing['color']}" not in stock["never"]
        assert "on grass" in row["original_prompt"]


def test_view_and_stock_of_the_configuration_reach_the_sampler() -> None:
    view = {"pitch": [14, 20], "distance": [2.7, 3.2], "inner": 0.9, "wall": 0.0, "least_area": 0.03}
    found = sampler_settings({**SETTINGS, "stock": {"floors": ["sand"], "never": ["mug red"]}, "view": view})
    assert found.view == View((14, 20), (2.7, 3.2), 0.9, 0.0, 0.03)
    assert (found.floors, found.left_out) == (("sand",), frozenset({("mug", "red")}))
    assert sampler_settings(SETTINGS) == sampler()


def test_a_noun_that_nothing_is_in_stock_for_is_told_before_the_first_unit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"stock\.nouns: there is no 'balloon'; there are ball, cube"):
        Bench.set_up(tmp_path / "run", stock={"nouns": ["ball", "balloon"]})


def test_pictures_open_with_another_reader(made: list[Row]) -> None:
    import io

    with Image.open(io.BytesIO(made[0]["edited_image"]["bytes"])) as picture:
        assert (picture.format, picture.size, picture.mode) == ("PNG", (64, 64), "RGB")
