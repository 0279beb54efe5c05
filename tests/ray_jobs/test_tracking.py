"""Curves and pictures of a training can be read by TensorBoard, beside the checkpoints or in a bucket."""

from __future__ import annotations

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ray_jobs.config import ConfigError, check
from ray_jobs.config_train import TrainConfig
from ray_jobs.edit_sheet import Tried, edit_sheet
from ray_jobs.tracking import FOLDER, installed, tracked
from ray_jobs.validation import Figures
from shards.storage import open_storage
from tests.ray_jobs.test_train import picture
from trainer.learn import Line


def config(out: str, **track) -> TrainConfig:
    values = {"out": out, "dataset": "d", "model": "m", "learn": {"samples": 9}}
    return check(TrainConfig, values | {"track": {"every": 2, **track}}, "test")


def line(step: int, loss: float) -> Line:
    return Line(step, 16 * step, loss, 0.5, 1e-4, 17.0, 0.01)


def losses(folder) -> dict[int, float]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {one.step: round(one.value, 3) for one in events.Scalars("loss/noise")}


def test_steps_and_looks_are_told_and_what_is_done_again_counts_once(tmp_path):
    asked, storage = config(str(tmp_path), tensorboard=True), open_storage(str(tmp_path))
    one = Tried(picture(), picture(), picture(), "move it", "move", None)
    with tracked(asked, storage, 0, first=True) as track:
        for step in range(1, 7):
            track.line(line(step, step / 10))
        track.look(Figures(4, 2, 0.5, 0, {"move": (1, 2)}), edit_sheet([one]))
    with tracked(asked, storage, 4, first=True) as track:  # killed after a checkpoint at 4
        track.line(line(6, 0.77))
    assert losses(tmp_path / FOLDER) == {2: 0.2, 4: 0.4, 6: 0.77}
    events = EventAccumulator(str(tmp_path / FOLDER))
    events.Reload()
    assert events.Scalars("validation/success")[0].value == 0.5
    assert events.Images("validation/edits")[0].width > 100


def test_other_workers_and_trainings_that_ask_for_nothing_leave_nothing(tmp_path):
    storage = open_storage(str(tmp_path))
    for asked, first in ((config(str(tmp_path), tensorboard=True), False), (config(str(tmp_path)), True)):
        with tracked(asked, storage, 0, first) as track:
            track.line(line(2, 0.1))
            track.flush()
    assert not list(tmp_path.iterdir())


def test_event_files_reach_a_bucket_with_each_checkpoint(s3, tmp_path):
    uri = s3.uri("track")
    storage = open_storage(uri)
    with tracked(config(uri, tensorboard=True), storage, 0, first=True) as track:
        track.line(line(2, 0.25))
        track.flush()
        fetch(storage, tmp_path / "at_checkpoint")
        track.line(line(4, 0.5))
    fetch(storage, tmp_path / "at_end")
    assert losses(tmp_path / "at_checkpoint") == {2: 0.25}
    assert losses(tmp_path / "at_end") == {2: 0.25, 4: 0.5}


def fetch(storage, folder) -> None:
    folder.mkdir()
    for entry in storage.sub(FOLDER).list():
        (folder / entry.key).write_bytes(storage.sub(FOLDER).read(entry.key))


def test_weights_and_biases_keeps_a_run_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    asked = config(str(tmp_path), wandb="spatialpix-test")
    with tracked(asked, open_storage(str(tmp_path)), 0, first=True) as track:
        track.line(line(2, 0.25))
    kept = [path for path in (tmp_path / "wandb").rglob("*.wandb") if path.stat().st_size]
    assert len(kept) == 1
    assert b"loss/noise" in kept[0].read_bytes()


def test_a_key_that_is_missing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = config(str(tmp_path), wandb="spatialpix-test")
    with (
        pytest.raises(ConfigError, match=r"track\.wandb: .*WANDB_API_KEY"),
        tracked(asked, open_storage(str(tmp_path)), 0, first=True),
    ):
        pass


def test_a_library_that_is_not_there_is_named_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("ray_jobs.tracking.util.find_spec", lambda _: None)
    installed(config(str(tmp_path)))
    with pytest.raises(ConfigError, match="tensorboard is not installed"):
        installed(config(str(tmp_path), tensorboard=True))
