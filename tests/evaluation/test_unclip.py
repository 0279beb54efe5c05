"""unCLIP: embeddings are turned, pictures decode to themselves under their own, and a decoder learns to heed them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

from benchmarks import unclip_angle
from evaluation.asked import EditorMissing
from evaluation.editors import editor
from evaluation.trials import cases
from evaluation.unclip import UnClip, slerp
from filters.clip import ClipJudge, Pair
from filters.weights import ClipWeights
from models.starter.unclip import decoder_of, encoded, train_unclip
from ray_jobs.config_evaluate import UnClip as Settings
from shards.dataset import open_dataset
from shards.storage import open_storage
from tests.datasets import pair, publish
from tests.evaluation.test_diffusionclip import STARTER, asked, picture
from tests.readers import Sees
from trainer.embedded import conditions
from trainer.frozen import Frozen, text_to_image

DIFFUSION, CLIP = str(STARTER / "diffusion"), f"local-dir:{STARTER / 'clip'}"


def test_embeddings_are_turned_on_the_sphere():
    start, end = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]])
    assert torch.allclose(slerp(start, end, 0), start) and torch.allclose(
        slerp(start, end, 1), end, atol=1e-6
    )
    third = slerp(start, end, 1 / 3)
    assert third[0].tolist() == pytest.approx([math.cos(math.pi / 6), math.sin(math.pi / 6), 0], abs=1e-6)
    assert torch.allclose(slerp(start, start, 0.5), start)


def test_embeddings_are_given_as_stable_unclip_gives_them():
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=8)
    torch.nn.init.constant_(normalizer.mean, 0.5)
    torch.nn.init.constant_(normalizer.std, 2.0)
    told = conditions(torch.ones(3, 8), normalizer)
    assert told.shape == (3, 16) and torch.allclose(told[:, :8], torch.tensor(0.25))
    assert told[0, 8:].tolist() == [1.0] * 4 + [0.0] * 4  # cosines and sines of no noise


def test_a_new_decoder_does_what_the_model_did():
    unet, noisy = text_to_image(DIFFUSION).eval(), torch.randn(2, 4, 16, 16)
    words = torch.randn(2, 7, unet.config.cross_attention_dim)
    decoder, steps = decoder_of(unet, 8).eval(), torch.tensor([3, 700])
    with torch.no_grad():
        said = decoder(noisy, steps, words, class_labels=torch.randn(2, 16)).sample
        assert torch.allclose(said, unet(noisy, steps, words).sample, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Taught for some steps that a red picture and a blue one differ."""
    where = tmp_path_factory.mktemp("unclip")
    publish(open_storage(str(where / "data")), {"train": [pair(number) for number in range(4)]})
    frozen, clip = Frozen.load(DIFFUSION), ClipJudge(ClipWeights(CLIP))
    latents, embeddings = encoded(str(where / "data"), "train", 64, frozen, clip)
    assert latents.shape == (8, 4, 8, 8) and len(embeddings) == 8
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(8), atol=1e-5)
    train_unclip(latents, embeddings, DIFFUSION, where / "checkpoints", where / "model", steps=30)
    return where / "model"


def made(folder: Path, **changes) -> UnClip:
    return UnClip(str(folder), DIFFUSION, CLIP, "cpu", **({"invert": 40, "steps": 40} | changes))


def test_a_picture_is_decoded_to_itself_under_its_own_embedding(folder):
    some = made(folder, invert=100, steps=100)
    pixels = some._frozen.pixels([picture()])
    clean = some._frozen.source(pixels) * some._scale
    own = some._clip.embed_pixels((pixels + 1) / 2).detach()
    with torch.no_grad():
        again = some._frozen.decode(some.decoded(some.inverted(clean, own), own))[0].numpy()
    wanted = some._frozen.decode(clean)[0].numpy()
    assert np.abs(again.astype(int) - wanted).mean() < 8


def test_an_edit_is_another_picture_of_that_size_and_the_same_each_time(folder):
    some = made(folder, steps=4, invert=4)
    one = asked("make it red", "recolor")
    first, again = some([one])[0], some([one, one])[1]
    assert first.shape == one.image.shape and first.dtype == np.uint8
    assert np.abs(first.astype(int) - again).max() <= 1 and np.abs(first.astype(int) - one.image).mean() > 1
    farther = made(folder, steps=4, invert=4, angle=1.0)([one])[0]
    assert not np.array_equal(first, farther)
    guided = made(folder, steps=4, invert=4, scale=3.0)([one])[0]
    assert not np.array_equal(first, guided)


def test_it_is_told_captions_and_cannot_say_what_they_do_not(folder):
    some = made(folder)
    one = asked("move it 10% to the left", "move")
    assert some.expresses(one)
    assert not some.expresses(one.__class__(one.image, one.text, 0, "move", None, None, one.truth))


def test_it_is_made_by_its_settings_and_says_what_is_missing(folder, tmp_path):
    settings = Settings(kind="unclip", models=(str(folder),), base=DIFFUSION, clip=CLIP, device="cpu")
    assert isinstance(editor(settings.model_dump(), 0), UnClip)
    with pytest.raises(EditorMissing, match="unCLIP needs a decoder"):
        editor(settings.model_copy(update={"models": (str(tmp_path),)}).model_dump(), 0)


def test_angles_are_tried_on_edits_that_captions_can_say_each_as_the_editor_makes_it(
    folder, tmp_path, monkeypatch, capsys
):
    rows = [pair(n) for n in range(3)] + [pair(3, edited_prompt="a mug and a cube")]
    publish(open_storage(str(tmp_path)), {"validation": rows})
    sees = Sees(open_dataset(str(tmp_path)), split="validation")
    monkeypatch.setattr("filters.reader.Reader.load", lambda _: sees)
    few = ["--invert", "3", "--steps", "3", "--batch", "2"]
    unclip_angle.main(["--dataset", str(tmp_path), "--model", str(folder), "--angles", "0.2,1", *few])
    said, heads, first, second, _ = capsys.readouterr().out.splitlines()
    assert said == "4 edits can be judged, 3 can be said by captions, 3 are tried"
    lines = [dict(zip(heads.split()[:2], line.split()[:2], strict=True)) for line in (first, second)]
    assert lines == [{"angle": "0.2", "edits": "3"}, {"angle": "1", "edits": "3"}]

    chosen = list(cases(open_dataset(str(tmp_path)), "validation"))[:3]
    editor = made(folder, invert=3, steps=3, angle=0.2)
    clip = ClipJudge(ClipWeights(CLIP))
    near, far = unclip_angle.tried(editor, sees, clip, chosen, [0.2, 1.0], 2)
    assert near.right == [False] * 3, "the reader knows true pictures alone"
    pictures = editor([unclip_angle._asked(case) for case in chosen[:2]])
    own = [one.similarities for one in clip.score([
        Pair(case.before, shown, case.row["original_prompt"], case.row["edited_prompt"])
        for case, shown in zip(chosen, pictures, strict=False)
    ])]  # fmt: skip
    assert near.direction[:2] == pytest.approx([one.clip_direction for one in own], abs=1e-4)
    assert near.direction != far.direction and len(far.direction) == 3

    truths = {case.before.tobytes(): case.truth for case in chosen}
    monkeypatch.setattr(
        UnClip,
        "turned",
        lambda _, some, angles: [[truths[one.image.tobytes()] for one in some]] * len(angles),
    )
    assert unclip_angle.tried(editor, sees, clip, chosen, [0.3], 2)[0].right == [True] * 3


@pytest.mark.parametrize("angles", ["", "0.2,far", "0", "1.5"])
def test_what_is_no_angle_is_refused(angles, capsys):
    with pytest.raises(SystemExit):
        unclip_angle.main(["--dataset", "d", "--model", "m", "--angles", angles])
    assert "is no list of angles above 0, up to 1" in capsys.readouterr().err


def test_a_decoder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match="unCLIP needs a decoder"):
        unclip_angle.main(["--dataset", "d", "--model", str(tmp_path), "--angles", "0.3"])
