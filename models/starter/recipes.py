"""The steps from scenes to weights, each resumable: what `python -m models.starter` runs.

`cache` keeps scenes, checkpoints and what is derived from them; `WEIGHTS` is what is committed.
"""

from __future__ import annotations

from pathlib import Path

from shards.storage import open_storage

WEIGHTS = Path(__file__).parent / "weights"


def tokenizer(cache: Path) -> Path:
    """The folder of the tokenizer; made if it is not there."""
    from models.starter.tokenizer import save, texts, train

    folder = cache / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        vocabulary, merges = train(texts())
        save(folder, vocabulary, merges)
        print(f"tokenizer: {len(vocabulary)} tokens in {folder}", flush=True)
    return folder


def vae(cache: Path, until_s: float | None) -> None:
    import numpy as np

    from models.starter.data import load
    from models.starter.vae import load_vae, psnr, round_trip, train_vae

    storage = open_storage(str(cache))
    train_vae(load(storage, "train").images, cache / "checkpoints", until_s)
    held_out = load(storage, "test", 300).images
    figure = np.mean(psnr(held_out, round_trip(load_vae(cache / "checkpoints"), held_out)))
    print(f"vae: PSNR on {len(held_out)} held-out pictures {figure:.2f} dB", flush=True)


def text(cache: Path, until_s: float | None) -> None:
    from models.starter.captions import captions_of
    from models.starter.data import load
    from models.starter.text import train_text

    words = tokenizer(cache)
    captions = captions_of(load(open_storage(str(cache)), "train"), words, cache / "captions")
    train_text(captions, vocabulary_size(words), cache / "checkpoints", until_s)


def diffusion(cache: Path, until_s: float | None) -> None:
    from models.starter.captions import captions_of
    from models.starter.data import load
    from models.starter.diffusion import cached_latents, train_diffusion
    from models.starter.text import load_text
    from models.starter.vae import load_vae

    checkpoints = cache / "checkpoints"
    words = tokenizer(cache)
    scenes = load(open_storage(str(cache)), "train")
    captions = captions_of(scenes, words, cache / "captions")
    latents = cached_latents(load_vae(checkpoints), scenes, cache / "latents")
    train_diffusion(latents, captions, load_text(vocabulary_size(words), checkpoints), checkpoints, until_s)


def clip(cache: Path, until_s: float | None) -> None:
    from models.starter.captions import captions_of
    from models.starter.clip import train_clip
    from models.starter.data import load

    words = tokenizer(cache)
    scenes = load(open_storage(str(cache)), "train")
    captions = captions_of(scenes, words, cache / "captions")
    train_clip(scenes.images, captions, vocabulary_size(words), cache / "checkpoints", until_s)


def export(cache: Path) -> None:
    """Writes what is trained so far to `WEIGHTS`, in half precision, as plain diffusers and open_clip load it."""
    from models.starter.clip import save_clip
    from models.starter.data import load
    from models.starter.diffusion import cached_latents, load_diffusion
    from models.starter.pipeline import assemble, save
    from models.starter.vae import load_vae

    checkpoints, words = cache / "checkpoints", tokenizer(cache)
    size = vocabulary_size(words)
    if (checkpoints / "diffusion.pt").exists():
        autoencoder = load_vae(checkpoints)
        scenes = load(open_storage(str(cache)), "train")
        factor = cached_latents(autoencoder, scenes, cache / "latents").factor
        save(assemble(autoencoder, load_diffusion(size, checkpoints), words, factor), WEIGHTS / "diffusion")
        print(f"export: {WEIGHTS / 'diffusion'}")
    if (checkpoints / "clip.pt").exists():
        save_clip(size, words, checkpoints, WEIGHTS / "clip")
        print(f"export: {WEIGHTS / 'clip'}")


def vocabulary_size(words: Path) -> int:
    from transformers import CLIPTokenizer

    return len(CLIPTokenizer.from_pretrained(words))
