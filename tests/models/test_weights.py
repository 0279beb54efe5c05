"""The committed weights: small, safe to load, by others' loaders, and their cards say what their figures say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from filters.clip import ClipJudge, Pair, Scored
from filters.profiles import named
from filters.reader import Reader
from filters.weights import ClipWeights
from models.starter.measure import generate, load_pipeline
from models.starter.recipes import WEIGHTS
from models.starter.world import COLORS, KINDS, MATERIALS
from tests.pages import blocks

ROOT = Path(__file__).parents[2]
CLIP = f"local-dir:{WEIGHTS / 'clip'}"
PROMPTS = ["a red ball", "a blue car", "a yellow tree", "a green chair", "a pink cat", "a purple cube"]


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    figures = json.loads((WEIGHTS / "diffusion" / "figures.json").read_text())
    return generate(load_pipeline(WEIGHTS / "diffusion"), PROMPTS, figures["guidance"], 100)


def test_weights_are_halves_in_small_files_that_run_no_code():
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    heavy = [path for path in files if path.suffix == ".safetensors"]
    assert len(heavy) >= 5
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md", ".model"}
    assert max(path.stat().st_size for path in heavy) < 15 * 2**20
    total = {
        name: sum(p.stat().st_size for p in heavy if name in p.parts)
        for name in ("diffusion", "clip", "reader", "editor")
    }
    assert (
        total["diffusion"] < 18e6
        and total["clip"] < 5.5e6
        and total["reader"] < 3.5e6
        and total["editor"] < 16e6
    ), total
    for path in heavy:
        with safe_open(path, "pt") as tensors:
            kinds = {tensors.get_tensor(name).dtype for name in tensors.keys()}  # noqa: SIM118 - no dict
        assert torch.float16 in kinds and torch.float32 not in kinds, path


def test_pipeline_loads_with_plain_diffusers_and_is_what_its_scheduler_says():
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "diffusion", local_files_only=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert (
        pipeline.scheduler.config.rescale_betas_zero_snr
        and pipeline.scheduler.config.timestep_spacing == "trailing"
    )
    assert sum(p.numel() for p in pipeline.unet.parameters()) <= 8e6
    assert len(pipeline.tokenizer) <= 4000


def test_what_is_asked_for_is_seen_more_often_than_by_chance(pictures):
    """Coarse on purpose; the card has the figures. A model that ignores its prompt would get the colour right in
    one picture of eight, and colour and kind in one of eighty."""
    seen = Reader.load(WEIGHTS / "reader").read(pictures)
    asked = list(zip(PROMPTS, seen, strict=True))
    colors = [any(one.color in prompt for one in row) for prompt, row in asked]
    right = [any(f"a {one.color} {one.kind}" == prompt for one in row) for prompt, row in asked]
    assert sum(colors) >= 5 and sum(right) >= 3, (colors, right, seen)


def test_clip_loads_with_plain_open_clip_and_prefers_each_picture_own_caption(pictures):
    model, _, _ = open_clip.create_model_and_transforms(CLIP)
    assert open_clip.get_tokenizer(CLIP)(["a red mug"]).shape[1] == model.context_length
    judge = ClipJudge(ClipWeights(CLIP), device="cpu")
    own = judge.score([Pair(one, one, text, text) for one, text in zip(pictures, PROMPTS)])
    other = judge.score(
        [Pair(one, one, text, text) for one, text in zip(pictures, PROMPTS[1:] + PROMPTS[:1])]
    )
    assert all(isinstance(answer, Scored) for answer in (*own, *other))
    nearer = [a.similarities.clip_text_before > b.similarities.clip_text_before for a, b in zip(own, other)]
    assert sum(nearer) >= 5


def test_starter_profile_is_for_these_very_weights():
    weights = ClipWeights(CLIP)
    assert named("starter", weights, "ip2p").fits(weights.identity())


def test_reader_knows_the_starter_world():
    config = Reader.load(WEIGHTS / "reader").config
    assert (config.kinds, config.colors, config.materials) == (KINDS, COLORS, MATERIALS)


def test_cards_have_a_licence_a_command_and_the_figures_that_were_measured():
    for name in ("diffusion", "clip", "reader"):
        card = (WEIGHTS / name / "README.md").read_text(encoding="utf-8")
        assert (
            "Apache-2.0" in card
            and "python -m models.starter" in card
            and "Seed" in card.replace("seed", "Seed")
        )
        assert (WEIGHTS / name / "figures.json").is_file()
    diffusion = json.loads((WEIGHTS / "diffusion" / "figures.json").read_text())
    card = (WEIGHTS / "diffusion" / "README.md").read_text()
    assert f"{diffusion['test']['one']:.1%}" in card and f"{diffusion['vae']['psnr']:.1f} dB" in card
    clip = json.loads((WEIGHTS / "clip" / "figures.json").read_text())
    assert f"{clip['recall_to_text']:.1%}" in (WEIGHTS / "clip" / "README.md").read_text()


def test_demo_configuration_of_the_starter_world_is_that_of_the_models():
    from models.starter.world import _VIEW, FLOORS, HELD_OUT, IMAGE_SIZE, MATERIAL_DRAWS
    from ray_jobs.config import load
    from renderers.stage import sampler_settings

    route = load(ROOT / "configs" / "starter.yaml", ["filters.clip=none"]).routes.blender
    assert route is not None and route.image_size == IMAGE_SIZE
    settings = sampler_settings(route.model_dump(mode="json"))
    assert (settings.nouns, settings.colors, settings.floors) == (KINDS, COLORS, FLOORS)
    assert (settings.materials, settings.left_out, settings.view) == (MATERIAL_DRAWS, HELD_OUT, _VIEW)


@pytest.mark.parametrize("page", ["README.md", "models/starter/weights/clip/README.md"])
def test_snippets_that_load_the_models_run(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    (block,) = [block for block in blocks(text, "python") if "models/starter/weights" in block]
    show = "\nprint(picture.size)" if "picture" in block else "\nprint(tokenize(['a red mug']).shape)"
    done = subprocess.run([sys.executable, "-c", block + show], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "128" in done.stdout or "48" in done.stdout
