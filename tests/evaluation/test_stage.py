"""Editors are asked for a frozen set's edits; whatever they do, each edit is a row that says what became of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evaluation import stage as stage_module
from evaluation.asked import Asked, Edited, EditorMissing
from evaluation.benchmarks import _case as of_benchmark
from evaluation.edit_sets import of_each, of_group, written
from evaluation.editors import Identity, Oracle, checked, editor
from evaluation.inception import WIDTH, Inception
from evaluation.spatial import Outcome
from evaluation.stage import EditAndMeasure
from evaluation.trials import case_of, cases, digest, judgeable, sifted
from shards.attempts import Attempts
from shards.dataset import open_dataset
from shards.guard import BrokenEngine, RowGuard
from shards.images import decode
from shards.run import Run
from shards.storage import StorageError, open_storage
from shards.tables import read_table
from shards.units import Unit
from tests.alexnet import written as written_alexnet
from tests.datasets import pair, publish
from tests.inception import written as written_inception
from tests.readers import Sees

EDITS, GROUP = 7, 3
NUMBERS = itertools.count(1)
FOLDER = "edits-set_it-00000000"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage")
    rows = [pair(n, edit_prompt="move the mug 25% to the right", language="en") for n in range(EDITS)]
    publish(open_storage(str(folder)), {"test": rows})
    return open_dataset(str(folder))


@pytest.fixture
def run(dataset, tmp_path) -> Run:
    found = Run.create_or_open(open_storage(str(tmp_path)), {"seed": 1})
    found.storage.write("sets/set.parquet", written(list(cases(dataset)), GROUP))
    return found


def stage(run, dataset, monkeypatch, asked, lpips=None, made=None, inception=None) -> EditAndMeasure:
    """made: the folder of what editors made; without one, what others made is another editor's."""
    made = made or f"made-it-{next(NUMBERS):08x}"
    monkeypatch.setattr("filters.reader.Reader.load", lambda _: Sees(dataset))
    monkeypatch.setattr(stage_module, "editor", lambda *_: asked)
    settings = {
        "set": {"name": "set", "key": "sets/set.parquet"}, "editor": {"name": "it"}, "copy": 0, "batch": 2,
        "seed": 0, "reader": "", "clip": None, "lpips": lpips, "inception": inception, "made": made,
    }  # fmt: skip
    return EditAndMeasure(run_uri=run.storage.uri, folder=FOLDER, inputs={}, settings=settings)


def results(run, dataset, monkeypatch, asked, lpips=None, made=None, inception=None) -> list[dict]:
    made = stage(run, dataset, monkeypatch, asked, lpips, made, inception)
    found = []
    for index in range(-(-EDITS // GROUP)):
        unit = Unit("set_it", index, GROUP)
        report = made(unit, RowGuard(Attempts(run.storage, FOLDER), unit.id, 1))
        rows = read_table(run.storage, run.shard_key(FOLDER, unit.id)).to_pylist()
        assert report.rows == len(rows) == sum(report.counts.values())
        found += rows
    return found


class Wilful(Oracle):
    """Does what `ways` says of the edit by its number, which stands in its picture's shade; else what it should."""

    def __init__(self, dataset, ways):
        self.ways = {case.before.tobytes(): ways.get(n) for n, case in enumerate(cases(dataset))}

    def expresses(self, asked):
        return self.ways[asked.image.tobytes()] != "unasked"

    def __call__(self, asked):
        return [self._one(one) for one in asked]

    def _one(self, one):
        match self.ways[one.image.tobytes()]:
            case "raise":
                raise RuntimeError("no such colour\nand more")
            case "nothing":
                return None
            case "size":
                return one.truth[:-1]
            case "nan":
                return np.full(one.truth.shape, np.nan)
        return one.truth


def test_a_frozen_set_is_read_back_group_by_group_as_it_was(dataset, run):
    there = [case for group in range(3) for case in of_group(run.storage, "sets/set.parquet", group)]
    chosen = list(cases(dataset))
    assert digest(there) == digest(chosen) and [c.text for c in there] == [c.text for c in chosen]
    assert len(of_group(run.storage, "sets/set.parquet", 2)) == 1
    assert len(judgeable(there, Sees(dataset))) == EDITS
    assert [case.row["pair_id"] for case in of_each(there, 2)] == [case.row["pair_id"] for case in there[:2]]


def test_the_oracle_is_right_and_the_identity_keeps_all_and_changes_nothing(dataset, run, monkeypatch):
    rows = results(run, dataset, monkeypatch, Oracle())
    assert [row["outcome"] for row in rows] == ["right"] * EDITS and all(all(row["within"]) for row in rows)
    assert np.array_equal(decode(rows[0]["edited"]), next(cases(dataset)).truth)
    assert all(row["off"] == 0 and row["price"] == 0 and row["seconds"] > 0 for row in rows)
    run.storage.delete(run.shard_key(FOLDER, "set_it-0000000"))
    run.storage.delete(run.shard_key(FOLDER, "set_it-0000001"))
    run.storage.delete(run.shard_key(FOLDER, "set_it-0000002"))
    rows = results(run, dataset, monkeypatch, Identity())
    assert [(row["outcome"], row["reason"]) for row in rows] == [("wrong", "wrong_way")] * EDITS
    assert all(row["psnr"] == 99 and row["ssim"] == pytest.approx(1) for row in rows)
    assert not any(row["within"][0] for row in rows)


def test_an_editor_that_fails_costs_that_edit_and_no_other(dataset, run, monkeypatch):
    ways = {0: "raise", 1: "nothing", 2: "size", 3: "nan", 5: "unasked"}
    rows = results(run, dataset, monkeypatch, Wilful(dataset, ways))
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("failed", "error_RuntimeError"), ("failed", "nothing"), ("failed", "wrong_size"), ("failed", "not_finite"),
        ("right", None), ("not_expressible", None), ("right", None),
    ]  # fmt: skip
    assert rows[0]["message"] == "no such colour" and all(row["edited"] is None for row in rows[:4])


def test_an_edit_whose_picture_is_missing_or_broken_is_a_row_that_says_so(dataset, run, monkeypatch):
    rows = [dict(case.row) for case in cases(dataset)]
    rows[0]["original_image"] = None
    rows[3]["edited_image"] = {"bytes": b"no picture", "path": None}
    rows[5]["edited_image"] = None
    there = [case_of(row, broken=True) for row in rows]
    judged = {case.row["pair_id"]: why for case, why in sifted(there, Sees(dataset))}
    assert set(judged.values()) == {None} and len(judged) == EDITS, "what cannot be tried is not lost"
    run.storage.write("sets/set.parquet", written(there, GROUP))
    made = results(run, dataset, monkeypatch, Wilful(dataset, {1: "raise"}))
    assert [(row["outcome"], row["reason"]) for row in made] == [
        ("failed", "broken_picture"), ("failed", "error_RuntimeError"), ("right", None),
        ("failed", "broken_picture"), ("right", None), ("failed", "broken_picture"), ("right", None),
    ]  # fmt: skip
    assert made[0]["message"] == "original_image is missing" and "whole picture" in made[3]["message"]
    assert all(row["judged"] for row in made), "they count as failures"


def test_another_judge_looks_at_the_same_pictures_and_asks_nobody(dataset, run, monkeypatch):
    ways = {0: "raise", 2: "nan", 5: "unasked"}
    first = results(run, dataset, monkeypatch, Wilful(dataset, ways), made="made-it-0000000a")
    for unit in range(3):
        run.storage.delete(run.shard_key(FOLDER, f"set_it-{unit:07d}"))
    monkeypatch.setattr(stage_module, "judge", lambda *_: Outcome("wrong_way"))

    class Gone(Oracle):
        def expresses(self, asked):
            raise AssertionError("nobody is to be asked")

    again = results(run, dataset, monkeypatch, Gone(), made="made-it-0000000a")
    judged_anew = {"outcome", "reason", "within", "off"}
    for before, after in zip(first, again, strict=True):
        assert {**before, **dict.fromkeys(judged_anew)} == {**after, **dict.fromkeys(judged_anew)}
        right = before["outcome"] == "right"
        assert (after["outcome"], after["reason"]) == (
            ("wrong", "wrong_way") if right else (before["outcome"], before["reason"])
        )


def test_of_two_workers_at_one_unit_the_first_ones_pictures_count(dataset, run, monkeypatch):
    first = results(run, dataset, monkeypatch, Oracle(), made="made-it-0000000b")
    for unit in range(3):
        run.storage.delete(run.shard_key(FOLDER, f"set_it-{unit:07d}"))
    known, looked = stage_module.kept, itertools.count()
    # As for a worker that looks before the other has put anything.
    monkeypatch.setattr(stage_module, "kept", lambda *of: None if next(looked) % 2 == 0 else known(*of))
    again = results(run, dataset, monkeypatch, Identity(), made="made-it-0000000b")
    assert [row["outcome"] for row in again] == [row["outcome"] for row in first] == ["right"] * EDITS


def test_an_editor_that_cannot_say_what_it_can_costs_that_edit_alone(dataset, run, monkeypatch):
    class Unsure(Oracle):
        def expresses(self, asked):
            raise KeyError("kind")

    rows = results(run, dataset, monkeypatch, Unsure())
    assert [row["reason"] for row in rows] == ["error_KeyError"] * EDITS


def test_an_editor_whose_device_breaks_costs_no_edit(dataset, run, monkeypatch):
    """The unit is done again elsewhere: none of its rows says that an edit failed."""

    class Broken(Oracle):
        def __call__(self, asked):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(BrokenEngine, match="illegal memory access"):
        results(run, dataset, monkeypatch, Broken())


def test_a_storage_that_fails_under_an_editor_costs_no_edit(dataset, run, monkeypatch):
    class Full(Oracle):
        def __call__(self, asked):
            raise StorageError("disk_full", "no room for what was tuned")

    with pytest.raises(StorageError, match="no room"):
        results(run, dataset, monkeypatch, Full())


def test_what_tuning_took_is_apart_from_the_edits_and_kept_for_the_next_judge(dataset, run, monkeypatch):
    class Tuned(Oracle):
        def __call__(self, asked):
            made = super().__call__(asked)
            return [Edited(one, 0.25, "recolor:red", 90.0) for one in made[:-1]] + made[-1:]

    first = results(run, dataset, monkeypatch, Tuned(), made="made-it-0000000c")
    assert [row["outcome"] for row in first] == ["right"] * EDITS
    # Of units of three, asked two and one at a time, the second of each two and the one alone come bare.
    tuned = [0, 3]
    assert [n for n, row in enumerate(first) if row["tuned_for"] == "recolor:red"] == tuned
    assert [(first[n]["seconds"], first[n]["tuned_seconds"]) for n in tuned] == [(0.25, 90.0)] * 2
    assert all(row["tuned_seconds"] is None for n, row in enumerate(first) if n not in tuned)
    for unit in range(3):
        run.storage.delete(run.shard_key(FOLDER, f"set_it-{unit:07d}"))
    again = results(run, dataset, monkeypatch, Oracle(), made="made-it-0000000c")
    figures = ("seconds", "tuned_for", "tuned_seconds", "memory_mb")
    assert [[row[name] for name in figures] for row in again] == [
        [row[name] for name in figures] for row in first
    ]


def test_what_is_no_array_of_numbers_is_a_failure_of_that_edit(dataset, run, monkeypatch):
    class Ragged(Oracle):
        def __call__(self, asked):
            return [[[1, 2], [3]] for _ in asked]

    rows = results(run, dataset, monkeypatch, Ragged())
    assert {(row["outcome"], row["reason"]) for row in rows} == {("failed", "no_picture")}


def test_an_editor_that_gives_too_few_pictures_is_asked_one_by_one(dataset, run, monkeypatch):
    class Short(Oracle):
        def __call__(self, asked):
            return super().__call__(asked)[:1]

    rows = results(run, dataset, monkeypatch, Short())
    assert [row["outcome"] for row in rows] == ["right"] * EDITS


def test_no_edit_is_judged_by_the_second_picture_of_another(dataset, run, monkeypatch):
    class Twice(Oracle):
        def __call__(self, asked):
            return [picture for picture in super().__call__(asked) for _ in range(2)]

    rows = results(run, dataset, monkeypatch, Twice())
    assert [(row["outcome"], row["reason"]) for row in rows] == [("failed", "wrong_number")] * EDITS
    assert rows[0]["message"] == "2 pictures for one edit"


def test_edits_that_nobody_can_judge_are_made_and_measured_whatever_their_sizes(dataset, run, monkeypatch):
    sizes, rng = (
        ((40, 56), (40, 56), (64, 48), (40, 56), (64, 48), (40, 56), (40, 56)),
        np.random.default_rng(0),
    )
    foreign = []
    for n, size in enumerate(sizes):
        before, truth = rng.integers(0, 255, (2, *size, 3), np.uint8)
        foreign.append(
            of_benchmark(f"edit-{n}", "scene", "turn", "make it red", before, truth if n else None, "a", "b")
        )
    run.storage.write("sets/set.parquet", written(foreign, GROUP))
    rows = results(run, dataset, monkeypatch, Identity())
    assert [row["outcome"] for row in rows] == ["made"] * EDITS and all(row["within"] is None for row in rows)
    assert rows[0]["l1"] is None and all(row["l1"] > 0.2 and row["l2"] > 0.05 for row in rows[1:])
    assert [decode(row["edited"]).shape[:2] for row in rows] == [*sizes]
    for unit in range(3):
        run.storage.delete(run.shard_key(FOLDER, f"set_it-{unit:07d}"))
    rows = results(run, dataset, monkeypatch, Oracle())
    assert [row["outcome"] for row in rows] == ["not_expressible"] + ["made"] * (EDITS - 1)
    assert all(row["l1"] == 0 for row in rows[1:])


def test_an_edit_that_kills_its_worker_is_a_row_that_says_so(dataset, run, monkeypatch):
    made = stage(run, dataset, monkeypatch, Oracle())
    attempts, unit = Attempts(run.storage, FOLDER), Unit("set_it", 0, GROUP)
    for _ in range(2):
        attempts.begin_row(unit.id, 1)
    made(unit, RowGuard(attempts, unit.id, 3))
    rows = read_table(run.storage, run.shard_key(FOLDER, unit.id)).to_pylist()
    assert [row["reason"] for row in rows] == [None, "killed_its_worker", None]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (None, "nothing"),
        (np.zeros((4, 5, 3), np.uint8), "wrong_size"),
        (np.full((4, 4, 3), np.inf), "not_finite"),
        (np.full((4, 4, 3), 300.4), None),
    ],
)
def test_what_an_editor_gives_back_is_looked_at(picture, reason):
    found, said = checked(picture, np.zeros((4, 4, 3), np.uint8))
    assert said == reason
    assert (found is None) == (reason is not None)
    if found is not None:
        assert found.dtype == np.uint8 and (found == 255).all()


def test_editors_of_diffusers_edit_by_instruction_and_by_caption(tmp_path):
    """The starter model as SDEdit; a pipeline that there is not, and a model that is none, are said in one line."""
    from tests.trainer.test_step import STARTER

    settings = {
        "kind": "sdedit", "models": [str(STARTER)], "revision": None, "device": "cpu", "steps": 2, "text": 2.0,
        "strength": 0.9,
    }  # fmt: skip
    made = editor(settings, 0)
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    asked = [
        Asked(picture, "make it red", seed, "recolor", "a mug", "a red mug", picture) for seed in (1, 1, 2)
    ]
    one, same, other = made(asked)
    assert one.shape == (64, 64, 3)
    assert np.abs(one - same).max() <= 2 < np.abs(one - other).max()  # of a batch, sums are in another order
    assert not made.expresses(Asked(picture, "", 1, "recolor", None, None, picture))
    with pytest.raises(EditorMissing, match="no pipeline 'NoSuchPipeline'"):
        editor(
            {
                **settings,
                "kind": "diffusers",
                "pipeline": "NoSuchPipeline",
                "by_captions": False,
                "options": {},
            },
            0,
        )
    with pytest.raises(EditorMissing, match="is no StableDiffusionImg2ImgPipeline"):
        editor({**settings, "models": [str(tmp_path)]}, 0)
    with pytest.raises(EditorMissing, match="holds no editor"):
        editor(
            {
                **settings,
                "kind": "spatialpix",
                "models": [str(tmp_path)],
                "image": 1.0,
                "dynamic": "none",
                "sharp": 1.0,
            },
            0,
        )


def test_a_right_answer_elsewhere_than_the_true_one_is_no_damage(dataset, run, monkeypatch):
    """ "To the right" leaves open how far: what stays is measured around where the thing is, not where it might be."""
    red, there = np.array((220, 60, 40), np.uint8), np.s_[16:32, 46:62]

    class Further(Oracle):
        def __call__(self, asked):
            return [self._one(one.image.copy()) for one in asked]

        def _one(self, picture):
            picture[(picture == red).all(2)] = picture[-1, 0]
            picture[there] = red
            return picture

    class Finds(Sees):
        def read(self, images):
            cube = {"name": "cube", "color": None, "box": [40.0, 32.0, 56.0, 48.0]}
            mug = {"name": "mug", "color": None, "box": [46.0, 16.0, 62.0, 32.0]}
            return [(self.sighting(mug), self.sighting(cube)) for _ in images]

    made = stage(run, dataset, monkeypatch, Further())
    monkeypatch.setattr(made, "_reader", Finds(dataset))
    unit = Unit("set_it", 0, GROUP)
    made(unit, RowGuard(Attempts(run.storage, FOLDER), unit.id, 1))
    rows = read_table(run.storage, run.shard_key(FOLDER, unit.id)).to_pylist()
    assert [row["outcome"] for row in rows] == ["right"] * GROUP and all(row["psnr"] == 99 for row in rows)


def test_lpips_is_measured_where_weights_are_named(dataset, run, monkeypatch, tmp_path):
    class Dims(Oracle):
        def __call__(self, asked):
            return [one.truth // 2 for one in asked]

    file = str(written_alexnet(tmp_path / "alexnet.safetensors"))
    rows = results(run, dataset, monkeypatch, Dims(), lpips=file)
    assert all(row["lpips"] > 0.001 for row in rows)
    for asked, lpips in ((Oracle(), file), (Dims(), None)):
        for unit in range(3):
            run.storage.delete(run.shard_key(FOLDER, f"set_it-{unit:07d}"))
        rows = results(run, dataset, monkeypatch, asked, lpips=lpips)
        assert [row["lpips"] for row in rows] == [0.0 if lpips else None] * EDITS


def test_what_inception_sees_is_kept_where_weights_are_named(dataset, run, monkeypatch, tmp_path):
    """Of the picture that was made, and of none where there is none."""

    class MostFail(Oracle):
        def __call__(self, asked):
            return [one.truth if n == 0 else None for n, one in enumerate(asked)]

    assert {row["inception"] for row in results(run, dataset, monkeypatch, Oracle())} == {None}
    for unit in range(3):
        run.storage.delete(run.shard_key(FOLDER, f"set_it-{unit:07d}"))
    file = str(written_inception(tmp_path / "inception.safetensors"))
    rows = results(run, dataset, monkeypatch, MostFail(), inception=file)
    shown = [row for row in rows if row["edited"] is not None]
    assert 0 < len(shown) < len(rows) and all(row["inception"] is None for row in rows if row not in shown)
    wanted = Inception.load(file)([decode(row["edited"]) for row in shown])
    for row, features in zip(shown, wanted, strict=True):
        assert len(row["inception"]) == WIDTH and max(row["inception"]) > 0
        assert row["inception"] == pytest.approx(features, rel=1e-3, abs=1e-4 * float(features.max()))
