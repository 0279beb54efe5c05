"""Each recipe trains, resumes and exports what plain diffusers, transformers and open_clip load."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

from models.starter import cards, clip, diffusion, recipes, text, tokenizer, vae
from models.starter.captions import PLACED, captions_of
from models.starter.measure import generate, load_pipeline
from models.starter.measure_clip import Embedder
from models.starter.pipeline import assemble, save
from models.starter.training import Plan
from tests.models.scenes import scenes


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save(folder, *tokenizer.train(tokenizer.texts(60)))
    return folder


@pytest.fixture(scope="module")
def captions(words, tmp_path_factory):
    return captions_of(scenes(), words, tmp_path_factory.mktemp("captions"))


@pytest.fixture(scope="module")
def vocabulary(words) -> int:
    return len(CLIPTokenizer.from_pretrained(words))


@pytest.fixture
def short(monkeypatch):
    """Plans of three steps and small batches."""
    plan = Plan(steps=3, rate=1e-3, warmup=1)
    for module in (vae, text, diffusion, clip):
        monkeypatch.setattr(module, "PLAN", plan)
        monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(vae, "DECODER_PLAN", plan)
    monkeypatch.setattr(vae, "WHOLE_FROM", 2)
    monkeypatch.setattr(vae, "WHOLE_BATCH", 2)


def test_tokenizer_is_small_and_writes_any_text_in_both_languages(words, vocabulary):
    made = CLIPTokenizer.from_pretrained(words)
    assert vocabulary <= 4000 and made.model_max_length == tokenizer.LENGTH
    for said in (
        "a red mug to the left of a blue bottle",
        "đặt quả bóng đỏ ở góc dưới bên trái 12,5%",
        "日本 ß ¶",
    ):
        ids = made(said).input_ids
        assert (ids[0], ids[-1]) == (vocabulary - 2, vocabulary - 1)
        assert made.decode(ids, skip_special_tokens=True).replace(" ", "") == said.lower().replace(" ", "")
    assert len(made("a red mug to the left of a blue bottle").input_ids) <= 12


def test_no_caption_of_the_starter_world_is_cut_by_the_tokenizer_but_few(captions, vocabulary):
    full = (captions.tokens[..., -1] != vocabulary - 1).mean()
    assert full < 0.02


def test_captions_are_drawn_once_and_both_sides_differ(words, tmp_path):
    first = captions_of(scenes(), words, tmp_path)
    assert len(list(tmp_path.glob("captions-*.npz"))) == 1
    again = captions_of(scenes(), words, tmp_path)
    assert np.array_equal(first.tokens, again.tokens)
    assert not np.array_equal(first.tokens, first.wrong)
    several = first.number > 1
    assert (first.tokens[several, 0] != first.tokens[several, 1]).any(axis=(1, 2)).all()


def test_captions_that_tell_sides_are_found(words, captions):
    decode = CLIPTokenizer.from_pretrained(words).decode
    sided = {
        bool(re.search(r"\b(left|right)\b", decode(tokens))) == bool(says)
        for tokens, says in zip(captions.tokens.reshape(-1, tokenizer.LENGTH), captions.says_side.reshape(-1))
    }
    assert sided == {True}
    assert captions.tells_side.any() and not captions.tells_side[captions.number == 1].any()


def test_the_last_tokens_are_to_say_what_stands_in_each_cell(captions, vocabulary):
    model = text.LayoutModel(vocabulary, captions.layout.shape[-1])
    tokens = torch.from_numpy(captions.tokens[:4, 0, 0].astype(np.int64))
    layout, sides, cells = model(tokens)
    assert layout.shape == (4, captions.layout.shape[-1]) and sides.shape == captions.sides[:4, 0].shape
    assert cells.shape == (4, text.CELLS, PLACED)
    filled = (captions.tokens[..., -text.CELLS] != vocabulary - 1).mean()
    assert filled < 0.2  # captions that reach so far teach those tokens nothing


def test_attention_of_plain_products_is_that_of_diffusers(vocabulary):
    torch.manual_seed(0)
    model = diffusion.Conditioned(vocabulary).eval()
    inputs = torch.randn(2, 4, 16, 16), torch.tensor([3, 700]), torch.randint(0, vocabulary, (2, 48))
    with torch.no_grad():
        plain = model(*inputs)
        model.unet.set_attn_processor(diffusion.PlainAttention())
        assert torch.allclose(model(*inputs), plain, atol=1e-5)


def test_noise_levels_are_within_the_schedule_and_more_of_them_noisy():
    for drawn in (torch.zeros(32), torch.full((32,), 1 - 2**-24)):
        steps = diffusion.noise_levels(drawn, 1000)
        assert steps.dtype == torch.int64 and int(steps.min()) >= 0 and int(steps.max()) <= 999
    steps = diffusion.noise_levels(torch.rand(3200, generator=torch.Generator().manual_seed(0)), 1000)
    assert int(steps.max()) == 999 and 0.3 < float((steps >= 800).float().mean()) < 0.4


def test_weights_are_few_enough(vocabulary):
    model = diffusion.Conditioned(vocabulary)
    assert sum(p.numel() for p in model.unet.parameters()) <= 8e6


def test_diffusion_is_trained_resumed_exported_and_loaded_by_plain_diffusers(
    short, words, captions, vocabulary, tmp_path
):
    vae.train_vae(scenes().images, tmp_path)
    text.train_text(captions, vocabulary, tmp_path)
    autoencoder = vae.load_vae(tmp_path)
    latents = diffusion.cached_latents(autoencoder, scenes(), tmp_path / "latents")
    assert latents.values.shape == (8, 2, 4, 16, 16)
    assert float(latents.values.std()) == pytest.approx(1, abs=0.01)
    assert float(latents.weights.mean()) == pytest.approx(1, abs=0.01)
    encoder = text.load_text(vocabulary, tmp_path)
    for seconds in (0.0, 0.0, None):  # stopped after each of the first two steps
        diffusion.train_diffusion(scenes(), latents, captions, encoder, tmp_path, seconds)
    model = diffusion.load_diffusion(vocabulary, tmp_path)
    save(assemble(autoencoder, model, words, latents.factor), tmp_path / "pipeline")

    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.rescale_betas_zero_snr
    assert pipeline.vae.config.scaling_factor == pytest.approx(latents.factor, rel=1e-3)
    picture = pipeline("a red mug", num_inference_steps=2).images[0]
    assert picture.size == (128, 128)
    assert not [file for file in (tmp_path / "pipeline").rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]

    plain = load_pipeline(tmp_path / "pipeline")
    together = generate(plain, ["a red mug", "a blue cat"], 2.0, 7)
    alone = generate(plain, ["a blue cat"], 2.0, 8)
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 2


def test_training_goes_on_from_exported_weights_with_their_autoencoder(
    short, words, captions, vocabulary, tmp_path, monkeypatch
):
    first, cache = tmp_path / "first", tmp_path / "cache"
    vae.train_vae(scenes().images, first)
    text.train_text(captions, vocabulary, first)
    latents = diffusion.cached_latents(vae.load_vae(first), scenes(), first / "latents")
    diffusion.train_diffusion(scenes(), latents, captions, text.load_text(vocabulary, first), first)
    model = diffusion.load_diffusion(vocabulary, first)
    start = tmp_path / "exported"
    save(assemble(vae.load_vae(first), model, words, latents.factor), start)
    cards.write_training(start, ("vae", "diffusion"), first, 8)

    shutil.copytree(words, cache / "tokenizer")
    monkeypatch.setattr("models.starter.data.load", lambda *_: scenes())
    recipes.text(cache, None, start=start)  # three small steps away from the encoder of the UNet
    taught = text.load_text(vocabulary, cache / "checkpoints").state_dict()
    moved = [float((taught[name] - value).abs().max()) for name, value in model.text.state_dict().items()]
    assert 0 < max(moved) < 0.05
    recipes.diffusion(cache, 0.0, start=start)  # one step, then stopped
    recipes.diffusion(cache, None, start=start)
    state = torch.load(cache / "checkpoints" / "diffusion.pt", weights_only=True)
    assert state["step"] == 3
    begun = model.unet.state_dict()
    apart = [
        float((state["model"][f"unet.{k}"] - v).abs().mean() / (v.abs().mean() + 1e-6))
        for k, v in begun.items()
    ]
    assert 0 < np.median(apart) < 0.2  # three small steps away, not a new model
    cards.write_training(tmp_path, ("vae", "diffusion"), cache / "checkpoints", 8)
    runs = json.loads((tmp_path / cards.TRAINING).read_text())["runs"]
    assert (runs["vae"]["steps"], runs["diffusion"]["steps"]) == (3, 6)

    with pytest.raises(ValueError, match="or delete it"):  # adopted, not trained here
        vae.train_vae(scenes().images, cache / "checkpoints")
    other = tmp_path / "other"
    shutil.copytree(first, other / "checkpoints")
    shutil.copytree(words, other / "tokenizer")
    with pytest.raises(FileExistsError, match="leave out --start"):
        recipes.diffusion(other, None, start=start)


def test_a_run_in_bfloat16_learns_too(short, captions, vocabulary, tmp_path, capsys):
    encoder = text.make_text_encoder(vocabulary)
    latents = diffusion.Latents(torch.randn(8, 2, 4, 16, 16), torch.ones(8, 2, 1, 16, 16), 1.0)
    diffusion.train_diffusion(scenes(), latents, captions, encoder, tmp_path, bf16=True)
    clip.train_clip(scenes().images, captions, vocabulary, tmp_path, bf16=True)
    assert capsys.readouterr().out.count("step 3/3") == 2
    for name in ("diffusion", "clip"):
        state = torch.load(tmp_path / f"{name}.pt", weights_only=True)["model"]
        assert all(value.dtype != torch.bfloat16 and torch.isfinite(value).all() for value in state.values())


def test_clip_is_trained_exported_and_loaded_by_plain_open_clip(short, words, captions, vocabulary, tmp_path):
    clip.train_clip(scenes().images, captions, vocabulary, tmp_path)
    clip.save_clip(vocabulary, words, tmp_path, tmp_path / "clip")
    name = f"local-dir:{tmp_path / 'clip'}"
    model, _, prepare = open_clip.create_model_and_transforms(name)
    tokens = open_clip.get_tokenizer(name)(["A red mug"])
    assert tokens.shape == (1, tokenizer.LENGTH) and int(tokens[0, 0]) == vocabulary - 2
    picture = prepare(Image.fromarray(scenes().images[0]))
    assert picture.shape == (3, 128, 128)
    assert model.encode_image(picture[None]).shape == model.encode_text(tokens).shape
    rows = Embedder(tmp_path / "clip").images(scenes().images)
    assert torch.allclose(rows.norm(dim=1), torch.ones(8), atol=1e-5)


def test_vae_checkpoint_that_is_missing_says_which_command_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train 'vae' first \(python -m models\.starter"):
        vae.load_vae(tmp_path)


def test_decoder_is_trained_on_and_the_latents_stay(short, tmp_path):
    vae.train_vae(scenes().images, tmp_path)
    first = vae.load_vae(tmp_path)
    latents = diffusion.cached_latents(first, scenes(), tmp_path / "latents")
    vae.train_decoder(latents.values / latents.factor, scenes().images, tmp_path)
    second = vae.load_vae(tmp_path)
    images = scenes().images[:2]
    assert torch.equal(*(vae.latents_of(one, images) for one in (first, second)))
    assert not np.array_equal(*(vae.round_trip(one, images) for one in (first, second)))
    again = diffusion.cached_latents(second, scenes(), tmp_path / "latents")
    assert torch.equal(again.values, latents.values) and len(list((tmp_path / "latents").iterdir())) == 1


def test_export_is_read_as_autoencoder_by_others(short, tmp_path):
    vae.train_vae(scenes().images, tmp_path)
    made = vae.load_vae(tmp_path)
    made.save_pretrained(tmp_path / "vae")
    again = AutoencoderKL.from_pretrained(tmp_path / "vae").eval()
    before, after = (vae.round_trip(one, scenes().images[:2]) for one in (made, again))
    assert np.array_equal(before, after) and before.shape == (2, 128, 128, 3)
    assert (vae.psnr(before, before) >= 100).all() and (vae.psnr(before, 255 - before) < 30).all()
