"""DiffusionCLIP: what it can be asked, DDIM there and back, and a tuned model that does move towards the text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.asked import Asked, EditorMissing
from evaluation.diffusionclip import DiffusionClip, Tuning, pictures_to_tune_on
from evaluation.edit_sets import written
from evaluation.editors import editor
from evaluation.stage import EditAndMeasure
from evaluation.table import summary
from evaluation.transformations import Transformation
from evaluation.trials import cases
from evaluation.tuned import TunedModels
from ray_jobs.config_evaluate import DiffusionClip as Settings
from shards.attempts import Attempts
from shards.dataset import open_dataset
from shards.guard import RowGuard
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table
from shards.units import Unit
from tests.datasets import pair, publish
from tests.readers import Sees

STARTER = Path(__file__).parents[2] / "models/starter/weights"
RED = Transformation("recolor:red", "an object", "a red object")


def picture() -> np.ndarray:
    rows, columns = np.mgrid[:64, :64]
    shown = np.stack([rows * 2 + 60, np.full_like(rows, 120), columns * 2 + 60], axis=2).astype(np.uint8)
    shown[20:44, 20:44] = (30, 60, 200)
    return shown


def made(numeric=(), kept=None, **changes) -> DiffusionClip:
    tuning = Tuning(**{"images": 1, "rounds": 2, "invert": 20, "steps": 3, "rate": 1e-4} | changes)
    return DiffusionClip(
        str(STARTER / "diffusion"), f"local-dir:{STARTER / 'clip'}", ["recolor:red"],
        {"recolor:red": [picture()]}, "cpu", tuning, numeric, kept,
    )  # fmt: skip


def asked(text: str, kind: str, seed: int = 0, name: str = "") -> Asked:
    captions = "a blue cube", "a red cube on the left"
    return Asked(picture(), text, seed, kind, *captions, picture(), name=name)


def test_it_is_asked_what_it_was_tuned_for_and_the_numbers_that_are_named():
    some = made(numeric=["edit-7"])
    assert some.expresses(asked("make the ball red", "recolor"))
    assert not some.expresses(asked("make the ball blue", "recolor"))
    told = asked("move the ball 10% left", "move", name="edit-7")
    assert some.expresses(told) and not some.expresses(replace(told, name="edit-8"))
    one = some([told])[0]
    assert one.tuned_for == "own:edit-7" and one.tuned_seconds > 0 and one.picture.shape == picture().shape


def test_the_way_back_of_the_model_that_was_not_tuned_leads_to_the_picture():
    some = made(invert=60, steps=60)
    back = some.edited([picture()], some._unet)[0].astype(int)
    decoded = some._frozen.decode(some._frozen.source(some._frozen.pixels([picture()])) * some._scale)
    assert np.abs(back - decoded[0].numpy().astype(int)).mean() < 6


def test_a_tuned_model_moves_pictures_towards_the_text_and_is_made_once():
    some = made(rounds=6)
    wanted = some._clip.embed_texts([RED.before, RED.after])
    wanted = torch.nn.functional.normalize(wanted[1] - wanted[0], dim=0)

    def direction(shown: np.ndarray) -> float:
        before, after = some._clip.embed_images([picture(), shown])
        return float(torch.nn.functional.cosine_similarity(after - before, wanted, dim=0))

    plain = some.edited([picture()], some._unet)[0]
    one, other = some([asked("make the ball red", "recolor"), asked("đổi màu quả bóng thành đỏ", "recolor")])
    assert direction(one.picture) > direction(plain) + 0.05
    assert one.picture.shape == picture().shape and one.picture.dtype == np.uint8
    assert one.tuned_for == other.tuned_for == "recolor:red" and one.tuned_seconds == other.tuned_seconds
    assert one.seconds < one.tuned_seconds, "tuning is in no edit's seconds"
    again = some([asked("make the ball red", "recolor")])[0]
    assert np.array_equal(again.picture, some([asked("paint the ball red", "recolor")])[0].picture)
    assert again.tuned_seconds == one.tuned_seconds, "no edit tunes once more"


def test_whoever_goes_on_finds_what_was_tuned_and_is_told_what_that_took(tmp_path):
    kept = TunedModels(open_storage(str(tmp_path)))
    red = asked("make the ball red", "recolor")
    first = made(kept=kept)([red])[0]
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["recolor-red.safetensors"]
    after = made(kept=kept)
    after._pictures = {}  # so that nobody could tune
    found = after([red])[0]
    assert np.array_equal(found.picture, first.picture) and found.tuned_seconds == first.tuned_seconds
    (tmp_path / "recolor-red.safetensors").write_bytes(b"cut short")
    mended = made(kept=kept)([red])[0]
    assert np.array_equal(mended.picture, first.picture)
    assert kept.of("recolor:red", after._unet)[1] == mended.tuned_seconds


def test_of_two_that_tuned_at_the_same_time_the_first_ones_model_counts(tmp_path):
    kept = TunedModels(open_storage(str(tmp_path)))
    mine, theirs = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert kept.of("side:left", mine) is None
    assert kept.keep("side:left", theirs, 7.5) == (theirs, 7.5)
    found, seconds = kept.keep("side:left", mine, 3.0)
    assert torch.equal(found.weight, theirs.weight) and seconds == 7.5


def test_few_tuned_models_stay_in_memory_where_they_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.diffusionclip._IN_MEMORY", 1)
    colours = ("recolor:red", "recolor:blue")
    some = made(rounds=1, steps=1, kept=TunedModels(open_storage(str(tmp_path))))
    some._names, some._pictures = frozenset(colours), {name: [picture()] for name in colours}
    red, blue = asked("make the ball red", "recolor"), asked("make the ball blue", "recolor")
    first, _ = some([red, blue])
    assert list(some._tuned) == ["recolor:blue"]
    assert np.array_equal(some([red])[0].picture, first.picture)


def test_an_evaluation_tunes_once_whoever_does_a_unit(tmp_path, monkeypatch):
    """Two workers one after the other, a unit each, edits of two words for one transformation among others."""
    words = "make the mug red"
    said = [words, "move the mug 25% to the right", "đổi màu cái cốc thành đỏ", words]
    rows = [pair(n, edit_prompt=text, language="vi" if n == 2 else "en") for n, text in enumerate(said)]
    publish(open_storage(str(tmp_path / "data")), {"test": rows, "train": [rows[0]]})
    dataset = open_dataset(str(tmp_path / "data"))
    run = Run.create_or_open(open_storage(str(tmp_path / "run")), {})
    run.storage.write("sets/set.parquet", written(list(cases(dataset)), 2))
    monkeypatch.setattr("filters.reader.Reader.load", lambda _: Sees(dataset))
    about = Settings(
        kind="diffusionclip", models=(str(STARTER / "diffusion"),), clip=f"local-dir:{STARTER / 'clip'}",
        dataset=str(tmp_path / "data"), transformations=("recolor:red",), rounds=1, invert=4, steps=2, device="cpu",
    ).model_dump(mode="json")  # fmt: skip
    about |= {"name": "tuned", "tuned": str(tmp_path / "run/tuned-it"), "numeric_edits": [rows[1]["pair_id"]]}
    settings = {
        "set": {"name": "set", "key": "sets/set.parquet"}, "editor": about, "copy": 0, "batch": 2, "seed": 0,
        "reader": "", "clip": None, "lpips": None, "inception": None, "made": "made-it-00000000",
    }  # fmt: skip
    found = []
    for index in range(2):
        worker = EditAndMeasure(run_uri=run.storage.uri, folder="edits-it", inputs={}, settings=settings)
        unit = Unit("set_it", index, 2)
        worker(unit, RowGuard(Attempts(run.storage, "edits-it"), unit.id, 1))
        found += read_table(run.storage, run.shard_key("edits-it", unit.id)).to_pylist()
    assert all(row["edited"] is not None for row in found)
    assert [row["tuned_for"] for row in found] == [
        "recolor:red", f"own:{rows[1]['pair_id']}", "recolor:red", "recolor:red",
    ]  # fmt: skip
    seconds = {row["tuned_seconds"] for row in found if row["tuned_for"] == "recolor:red"}
    assert len(seconds) == 1 and min(seconds) > 0
    figures = summary(found, ["tuned"])["set"]["editors"]["tuned"]["tuning"]
    assert (figures["transformations"]["tunings"], figures["transformations"]["edits"]) == (1, 3)
    assert (figures["captions"]["tunings"], figures["captions"]["edits"]) == (1, 1)


def test_pictures_to_tune_on_are_those_before_such_an_edit(tmp_path):
    rows = [pair(n, edit_prompt="make the mug red" if n % 2 else "move the mug left") for n in range(8)]
    publish(open_storage(str(tmp_path)), {"train": rows})
    found = pictures_to_tune_on(str(tmp_path), "train", ["recolor:red", "material:wood"], 3)
    assert len(found["recolor:red"]) == 3 and not found["material:wood"]
    settings = Settings(
        kind="diffusionclip", models=(str(STARTER / "diffusion"),), clip=f"local-dir:{STARTER / 'clip'}",
        dataset=str(tmp_path), transformations=("material:wood",),
    ).model_dump(mode="json")  # fmt: skip
    with pytest.raises(EditorMissing, match="no picture to tune material:wood on"):
        editor(settings, 0)
    settings |= {"transformations": ["recolor:red"]}
    assert editor(settings, 0).expresses(asked("make the ball red", "recolor"))
