"""An editor is taught by the job, by one worker or two, goes on where it was stopped, and loads where it should."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ray_jobs import __main__ as command
from ray_jobs.config import check
from ray_jobs.config_train import TrainConfig
from ray_jobs.train import (
    CHECKPOINTS,
    RESULT,
    keep,
    learner_of,
    put,
    restore,
    settings_of,
    stream_of,
    validated,
)
from ray_jobs.validation import Validator
from shards.dataset import open_dataset
from shards.images import decode
from shards.storage import open_storage
from tests.datasets import pair, publish
from tests.readers import Sees
from tests.trainer.test_step import STARTER
from trainer.model import SpatialEditor
from trainer.pipeline import Sampling, SpatialPixPipeline
from trainer.step import StepSettings
from trainer.stream import Stream

TINY = Sampling(steps=2)
EDITOR = STARTER.parent / "editor"


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("train")
    rows = [pair(n, edit_prompt=f"move the mug {5 + n}% to the right") for n in range(11)]
    publish(open_storage(str(folder / "data")), {"train": rows}, group=3)
    return {
        "out": str(folder / "out"), "dataset": str(folder / "data"), "model": str(STARTER), "seed": 3,
        "data": {"batch": 2, "side": 64, "workers": 0, "per_block": 1}, "learn": {"samples": 22, "every": 2},
        "workers": {"number": 0},
    }  # fmt: skip


def configured(values, **changes) -> TrainConfig:
    return check(TrainConfig, values | changes, "test")


def taught(config: TrainConfig, storage=None):
    """In this process; with a storage, checkpoints are kept there."""
    learner = learner_of(config)
    if storage is not None:
        restore(learner, storage)
    lines: list = []
    with Stream(open_dataset(config.dataset), "train", stream_of(config)) as stream:
        learner.run(stream, lines.append, lambda now: keep(now, storage) if storage is not None else None)
    return learner, lines


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (60, 84, 3), np.uint8)


def test_checkpoints_are_kept_two_and_gone_on_from(values, tmp_path):
    storage = open_storage(str(tmp_path))
    config = configured(values)
    _, lines = taught(config, storage)
    assert lines[-1].seen >= 22
    there = sorted({entry.key.partition("/")[0] for entry in storage.sub(CHECKPOINTS).list()})
    assert there == ["latest.json", "step-00000010", "step-00000012"]
    more = configured(values, learn={"samples": 30, "every": 2})
    _, lines = taught(more, storage)
    assert lines[0].step == 13 and lines[-1].seen >= 30


@pytest.mark.parametrize(
    ("spatial", "lora"), [(True, None), (False, None), (True, 2)], ids=["spatial", "plain", "adapters"]
)
def test_what_comes_out_edits_pictures(values, tmp_path, spatial, lora):
    layers = (
        {} if spatial else {"tokens": False, "grounding": False, "read": False, "land": False, "paste": False}
    )
    config = configured(values, layers=layers, learn={"samples": 22, "every": 2, "lora": lora})
    learner, _ = taught(config)
    put(learner, config, open_storage(str(tmp_path)))
    pipeline = SpatialPixPipeline.from_pretrained(tmp_path)
    image = picture()
    edited = pipeline(image, "di chuyển cái cốc sang phải 10%", seed=4, sampling=TINY)
    assert edited.shape == image.shape and edited.dtype == np.uint8
    both = pipeline.batch([image, image], ["remove the mug", "di chuyển cái cốc sang phải 10%"], [9, 4], TINY)
    assert np.abs(both[1].astype(int) - edited).max() <= 1, "a sample depends on what else is in its batch"
    assert (pipeline.editor.spatial is not None) == spatial
    assert json.loads((tmp_path / "training.json").read_text())["samples"] >= 22


@pytest.mark.parametrize("lora", [None, 2], ids=["whole", "adapters"])
def test_the_plain_editors_folder_is_a_pipeline_of_diffusers(values, tmp_path, lora):
    from diffusers import StableDiffusionInstructPix2PixPipeline
    from PIL import Image

    layers = {"tokens": False, "grounding": False, "read": False, "land": False, "paste": False}
    config = configured(values, layers=layers, learn={"samples": 4, "every": 2, "lora": lora})
    learner, _ = taught(config)
    put(learner, config, open_storage(str(tmp_path)))
    theirs = StableDiffusionInstructPix2PixPipeline.from_pretrained(tmp_path, use_safetensors=True)
    theirs.set_progress_bar_config(disable=True)
    edited = theirs("make it red", image=Image.fromarray(picture()[:56, :80]), num_inference_steps=2).images[
        0
    ]
    assert edited.size == (80, 56)


def test_an_editor_goes_on_from_its_weights_and_says_what_came_before(values, tmp_path):
    config = configured(values, model=str(EDITOR))
    learner = learner_of(config)
    there = SpatialEditor.load(EDITOR, learner.frozen.pasting).state_dict()
    assert all(torch.equal(value, there[name]) for name, value in learner.editor.state_dict().items())
    put(learner, config, open_storage(str(tmp_path)))
    about = json.loads((tmp_path / "training.json").read_text())
    assert about["samples"] == 0 and about["before"] == json.loads((EDITOR / "training.json").read_text())
    assert SpatialPixPipeline.from_pretrained(tmp_path)(picture(), "move it up", sampling=TINY).shape == (
        60,
        84,
        3,
    )


def test_what_is_wrong_is_said_before_anything_starts(values, tmp_path, capsys):
    def said(*arguments: str) -> str:
        path = tmp_path / "train.yaml"
        path.write_text(yaml.safe_dump(values | {"out": str(tmp_path / "out")}))
        assert command.main(["train", "--config", str(path), *arguments]) == 2
        return capsys.readouterr().err

    assert "holds no dataset" in said("--dataset", str(tmp_path))
    assert "data.split: 'test' has no rows" in said("--set", "data.split=test")
    assert "layers: landing and paste need the warped read, that needs grounding" in said(
        "--set", "layers.grounding=false"
    )
    assert "is neither a folder nor a name on the Hub" in said("--set", "model=/nowhere")
    assert "holds no diffusion model: there is no unet" in said("--set", f"model={tmp_path}")
    assert "spatial layers are others (land True)" in said(
        "--set", f"model={EDITOR}", "--set", "layers.land=false"
    )
    assert "validation.every: 3 is no multiple of learn.every (2)" in said("--set", "validation.every=3")
    assert "validation.reader: no config.json" in said(
        "--set", "validation.every=2", "--set", f"validation.reader={tmp_path}"
    )
    assert "validation: split 'train' has no edits that the reader can judge" in said(
        "--set", "validation.every=2", "--set", "validation.split=train"
    )
    assert "learn.sample: unknown key; did you mean 'samples'?" in said("--set", "learn.sample=3")


@pytest.mark.parametrize(
    "sharded",
    [
        pytest.param(False, id="replicated"),
        # That shards learn the same is checked quickly in test_parallel.
        pytest.param(True, id="sharded", marks=pytest.mark.slow),
    ],
)
def test_two_workers_of_ray_train_teach_it_and_one_goes_on(values, tmp_path, capsys, sharded):
    path = tmp_path / "train.yaml"
    # Workers have folders of their own, in which a path that is not whole would lead elsewhere.
    values = values | {name: os.path.relpath(values[name]) for name in ("dataset", "model")}
    workers = {"number": 2, "num_cpus": 0.5, "sharded": sharded}
    path.write_text(yaml.safe_dump(values | {"out": str(tmp_path / "out"), "workers": workers}))
    assert command.main(["train", "--config", str(path)]) == 0
    made = json.loads((tmp_path / "out" / RESULT / "training.json").read_text())
    assert made["samples"] >= 22 and made["steps"] <= 8
    assert "11 pairs" in capsys.readouterr().out
    more = configured(values, out=str(tmp_path / "out"), learn={"samples": 30, "every": 2})
    _, lines = taught(more, open_storage(more.out))  # one goes on with what two have left
    assert lines[0].step == made["steps"] + 1 and lines[-1].seen >= 30
    capsys.readouterr()
    assert command.main(["train", "--config", str(path), "--set", "learn.rate=0.5"]) == 2
    assert (
        "learn.rate: " in (said := capsys.readouterr().err)
        and "holds a training with 0.0001, not 0.5" in said
    )
    weights = SpatialPixPipeline.from_pretrained(tmp_path / "out" / RESULT).editor.state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.slow  # workers start four times
def test_a_picture_that_is_none_ends_the_job_once_with_the_pairs_name(values, tmp_path, capsys):
    rows = [pair(n, edited_image={"bytes": b"nothing", "path": "x.png"}) for n in range(2)]
    publish(open_storage(str(tmp_path / "data")), {"train": rows})
    path = tmp_path / "train.yaml"
    changes = {
        "out": str(tmp_path / "out"),
        "dataset": str(tmp_path / "data"),
        "workers": {"number": 1, "num_cpus": 0.5},
    }
    path.write_text(yaml.safe_dump(values | changes))
    assert command.main(["train", "--config", str(path)]) == 1
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1
        and "edited_image cannot be decoded" in said
        and "pair blender-0000000-000000" in said
    )


def test_held_out_edits_are_tried_on_the_way_and_the_editor_learns_on_as_before(
    values, tmp_path, monkeypatch
):
    rows = [pair(n, edit_prompt="move the mug 25% to the right") for n in range(8)]
    publish(open_storage(str(tmp_path / "data")), {"train": rows[:6], "validation": rows[6:]})
    dataset = open_dataset(str(tmp_path / "data"))
    monkeypatch.setattr("ray_jobs.validation.reader_of", lambda _: Sees(dataset, split="validation"))
    looks = {"every": 2, "edits": 1, "steps": 2}
    config = configured(values, dataset=str(tmp_path / "data"), validation=looks)
    learner, storage = learner_of(config), open_storage(str(tmp_path / "out"))
    validator = Validator(config, dataset, storage)
    before = {name: value.clone() for name, value in learner.editor.state_dict().items()}
    figures, sheet = validator.look(learner.average(), learner, config.model, None)
    assert decode(sheet).ndim == 3
    assert (figures.edits, figures.unread, figures.by_kind) == (1, 0, {"move": (0, 1)})
    assert all(torch.equal(value, before[name]) for name, value in learner.editor.state_dict().items())
    assert learner.editor.training, "the next step would not learn"
    kept = storage.sub("validation")
    assert json.loads(kept.read("step-00000000.json"))["success"] == 0
    assert Image.open(io.BytesIO(kept.read("step-00000000.png"))).size[0] > 300
    validator.look(learner.average(), learner, config.model, None)  # a step that is done again
    assert "0.0% of 1 held-out edits" in validated(figures)


def test_what_is_said_of_the_steps_is_what_they_are_told():
    said = {"drop": 0.07, "gamma": 5.0, "floor": 0.2, "grounding": 0.3, "shuffled": True}
    values = {"out": "o", "dataset": "d", "model": "m", "learn": {"samples": 1, **said}}
    told = settings_of(check(TrainConfig, values, "x.yaml")).step
    assert told == StepSettings(**said)
