"""DiffusionCLIP: what it can be asked, DDIM there and back, and a tuned model that does move towards the text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.diffusionclip import (
    DiffusionClip,
    Transformation,
    Tuning,
    pictures_to_tune_on,
    transformation_of,
)
from evaluation.editors import Asked, EditorMissing, editor
from ray_jobs.config_evaluate import DiffusionClip as Settings
from shards.storage import open_storage
from tests.datasets import pair, publish

STARTER = Path(__file__).parents[2] / "models/starter/weights"
RED = Transformation("recolor:red", "an object", "a red object")


def picture() -> np.ndarray:
    rows, columns = np.mgrid[:64, :64]
    shown = np.stack([rows * 2 + 60, np.full_like(rows, 120), columns * 2 + 60], axis=2).astype(np.uint8)
    shown[20:44, 20:44] = (30, 60, 200)
    return shown


def made(**changes) -> DiffusionClip:
    tuning = Tuning(**{"images": 1, "rounds": 2, "invert": 20, "steps": 3, "rate": 1e-4} | changes)
    return DiffusionClip(
        str(STARTER / "diffusion"), f"local-dir:{STARTER / 'clip'}", ["recolor:red"],
        {"recolor:red": [picture()]}, "cpu", tuning,
    )  # fmt: skip


def asked(text: str, kind: str, seed: int = 0) -> Asked:
    return Asked(picture(), text, seed, kind, "a blue cube", "a red cube on the left", picture())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("make the ball red", "recolor:red"),
        ("đổi màu quả bóng thành đỏ", "recolor:red"),
        ("the cup should be wooden", "material:wood"),
        ("make it night", "lighting:night"),
        ("put the ball on the left", "side:left"),
        ("put the ball in the lower-left corner", None),
        ("move the ball 10% to the left", None),
        ("make it dreamy", None),
    ],
)
def test_an_instruction_is_a_transformation_if_two_texts_tell_it(text, name):
    found = transformation_of(text)
    assert (found and found.name) == name
    assert found is None or found.before != found.after


def test_it_is_asked_what_it_was_tuned_for_and_some_numbers_by_captions():
    some = made(share=0.3)
    assert some.expresses(asked("make the ball red", "recolor"))
    assert not some.expresses(asked("make the ball blue", "recolor"))
    tried = [some.expresses(asked("move the ball 10% left", "move", seed)) for seed in range(200)]
    assert 30 < sum(tried) < 90 and not any(
        made().expresses(asked("move the ball 10% left", "move", seed)) for seed in range(50)
    )


def test_the_way_back_of_the_model_that_was_not_tuned_leads_to_the_picture():
    some = made(invert=60, steps=60)
    back = some.edited([picture()], some._unet)[0].astype(int)
    decoded = some._frozen.decode(some._frozen.source(some._frozen.pixels([picture()])) * some._scale)
    assert np.abs(back - decoded[0].numpy().astype(int)).mean() < 6


def test_a_tuned_model_moves_pictures_towards_the_text_and_is_made_once(tmp_path):
    some = made(rounds=6)
    some._notes = tmp_path
    wanted = some._clip.embed_texts([RED.before, RED.after])
    wanted = torch.nn.functional.normalize(wanted[1] - wanted[0], dim=0)

    def direction(shown: np.ndarray) -> float:
        before, after = some._clip.embed_images([picture(), shown])
        return float(torch.nn.functional.cosine_similarity(after - before, wanted, dim=0))

    plain = some.edited([picture()], some._unet)[0]
    tuned = some([asked("make the ball red", "recolor")])[0]
    assert direction(tuned) > direction(plain) + 0.05
    assert tuned.shape == picture().shape and tuned.dtype == np.uint8
    spent = dict(some.spent)
    assert np.array_equal(some([asked("make the ball red", "recolor")])[0], tuned) and some.spent == spent
    assert [file.name for file in tmp_path.iterdir()] == ["recolor-red.json"]


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
