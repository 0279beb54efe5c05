"""The steps from scenes to weights, each resumable: what `python -m models.starter` runs.

`cache` keeps scenes, checkpoints and what is derived from them; `WEIGHTS` is what is committed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from filters.profiles import Preprocessing
from shards.storage import open_storage

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

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


def vae(cache: Path, until_s: float | None, bf16: bool = False) -> None:
    from models.starter.data import load
    from models.starter.vae import train_vae

    train_vae(load(open_storage(str(cache)), "train").images, cache / "checkpoints", until_s, bf16)


def decoder(cache: Path, until_s: float | None, bf16: bool = False) -> None:
    from models.starter.data import load
    from models.starter.diffusion import cached_latents
    from models.starter.vae import load_vae, train_decoder

    checkpoints = cache / "checkpoints"
    scenes = load(open_storage(str(cache)), "train")
    latents = cached_latents(load_vae(checkpoints), scenes, cache / "latents")
    train_decoder(latents.values / latents.factor, scenes.images, checkpoints, until_s, bf16)


def unclip(
    cache: Path, dataset: str, out: Path, steps: int | None, until_s: float | None, threads: int
) -> None:
    """dataset: a published one. out: the decoder's folder."""
    import torch

    from filters.clip import ClipJudge
    from filters.weights import ClipWeights
    from models.starter.unclip import encoded, train_unclip
    from models.starter.world import IMAGE_SIZE
    from trainer.frozen import Frozen

    torch.set_num_threads(threads)
    frozen, clip = Frozen.load(WEIGHTS / "diffusion"), ClipJudge(ClipWeights(f"local-dir:{WEIGHTS / 'clip'}"))
    print(f"unclip: encoding the pictures of {dataset}", flush=True)
    latents, embeddings = encoded(dataset, "train", IMAGE_SIZE, frozen, clip)
    print(f"unclip: {len(latents)} pictures", flush=True)
    train_unclip(latents, embeddings, str(WEIGHTS / "diffusion"), cache / "checkpoints", out, steps, until_s)


def text(cache: Path, until_s: float | None, bf16: bool = False, start: Path | None = None) -> None:
    """start: a folder that `export` wrote; its encoder is taught on, and stays near to what its UNet understands."""
    from models.starter.captions import captions_of
    from models.starter.data import load
    from models.starter.text import train_text

    words = tokenizer(cache)
    captions = captions_of(load(open_storage(str(cache)), "train"), words, cache / "captions")
    checkpoints = cache / "checkpoints"
    before = None if start is None else _adopt(start, checkpoints).text_encoder
    train_text(captions, vocabulary_size(words), checkpoints, until_s, bf16, before)


def diffusion(
    cache: Path,
    until_s: float | None,
    bf16: bool = False,
    start: Path | None = None,
    compile: bool = False,
    steps: int | None = None,
) -> None:
    """start: a folder that `export` wrote; its autoencoder is kept, its UNet trained on, with its text encoder or what
    `text` made of that. steps: in place of the plan's."""
    from models.starter.captions import captions_of
    from models.starter.data import load
    from models.starter.diffusion import cached_latents, train_diffusion
    from models.starter.text import load_text
    from models.starter.training import adopt
    from models.starter.vae import load_vae

    checkpoints = cache / "checkpoints"
    words = tokenizer(cache)
    unet = None
    if start is not None:
        pipeline = _adopt(start, checkpoints)
        unet = pipeline.unet
        if not (checkpoints / "text.pt").exists():
            encoder = pipeline.text_encoder.state_dict()
            adopt("text", checkpoints, {f"encoder.{name}": value for name, value in encoder.items()})
    scenes = load(open_storage(str(cache)), "train")
    captions = captions_of(scenes, words, cache / "captions")
    latents = cached_latents(load_vae(checkpoints), scenes, cache / "latents")
    learned = load_text(vocabulary_size(words), checkpoints)
    train_diffusion(scenes, latents, captions, learned, checkpoints, until_s, bf16, unet, compile, steps)


def _adopt(start: Path, checkpoints: Path) -> StableDiffusionPipeline:
    """An exported pipeline; its autoencoder becomes a checkpoint, unless it is there from it already.

    Raises FileExistsError where there are checkpoints of other models.
    """
    from models.starter import cards
    from models.starter.measure import load_pipeline
    from models.starter.training import adopt

    pipeline = load_pipeline(start)
    earlier = checkpoints / cards.EARLIER
    if not earlier.exists():
        if (checkpoints / "vae.pt").exists():
            raise FileExistsError(
                f"{checkpoints} has an autoencoder already: leave out --start, or name another --cache"
            )
        adopt("vae", checkpoints, pipeline.vae.state_dict())
        earlier.write_bytes((start / cards.TRAINING).read_bytes())
    return pipeline


def clip(cache: Path, until_s: float | None, bf16: bool = False) -> None:
    from models.starter.captions import captions_of
    from models.starter.clip import train_clip
    from models.starter.data import load

    words = tokenizer(cache)
    scenes = load(open_storage(str(cache)), "train")
    captions = captions_of(scenes, words, cache / "captions")
    train_clip(scenes.images, captions, vocabulary_size(words), cache / "checkpoints", until_s, bf16)


def export(cache: Path) -> None:
    """Writes what is trained so far to `WEIGHTS`, in half precision, as plain diffusers and open_clip load it."""
    from models.starter.cards import write_training
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
        names = [
            name for name in ("vae", "decoder", "text", "diffusion") if (checkpoints / f"{name}.pt").exists()
        ]
        write_training(WEIGHTS / "diffusion", names, checkpoints, len(scenes))
        print(f"export: {WEIGHTS / 'diffusion'}")
    if (checkpoints / "clip.pt").exists():
        save_clip(size, words, checkpoints, WEIGHTS / "clip")
        write_training(WEIGHTS / "clip", ("clip",), checkpoints, len(load(open_storage(str(cache)), "train")))
        print(f"export: {WEIGHTS / 'clip'}")


def editor(trained: Path) -> None:
    """Puts the editor that `train` left beside the models. Raises OSError, ValueError."""
    from models.starter.editor import carry

    carry(trained, WEIGHTS / "diffusion", WEIGHTS / "editor")
    print(f"editor: {WEIGHTS / 'editor'}")


def measure(cache: Path, model: str, threads: int) -> None:
    """Figures of an exported model on held-out scenes, beside its weights; its card; pictures to look at."""
    import torch

    from filters.reader import Reader
    from models.starter import cards
    from models.starter.data import load
    from models.starter.measure import FIRST_SEED, load_pipeline, measure_diffusion, measure_vae
    from models.starter.measure_clip import measure_clip

    torch.set_num_threads(threads)
    storage, folder = open_storage(str(cache)), WEIGHTS / model
    if model == "clip":
        cards.write_figures(folder, measure_clip(folder, load(storage, "test")))
    else:
        splits = {name: load(storage, name) for name in ("validation", "test", "combinations")}
        pipeline = load_pipeline(folder)
        figures, asked, pictures = measure_diffusion(pipeline, Reader.load(WEIGHTS / "reader"), splits)
        figures["vae"] = measure_vae(pipeline, splits["test"])
        cards.write_figures(folder, figures)
        seeds = range(FIRST_SEED, FIRST_SEED + len(asked))
        cards.contact_sheets(cache / "pictures", asked, pictures, seeds)
    cards.write_card(folder)


def thresholds(run: str, preprocessing: Preprocessing) -> None:
    """The CLIP profile `starter`, beside the starter CLIP's weights."""
    from models.starter import cards
    from models.starter.thresholds import choose_thresholds
    from shards.run import Run

    profile = choose_thresholds(Run.open(open_storage(run)), WEIGHTS / "clip", preprocessing)
    print(cards.table_of_thresholds(profile))
    cards.write_card(WEIGHTS / "clip")


def pair_thresholds(cache: Path, number: int, draws: int, threads: int) -> None:
    """The CLIP profile `starter-p2p`. Draws of each seed of validation edits are kept in the cache."""
    import torch

    from filters.clip import ClipJudge
    from filters.profiles import BUILT_IN
    from filters.reader import Reader
    from filters.weights import LOCAL_DIR, ClipWeights
    from generators.diffusion import Diffusion, ModelSettings
    from generators.judging import ByClip
    from models.starter import cards
    from models.starter.draws import VALIDATION, draw, load, write
    from models.starter.pair_thresholds import choose_all

    torch.set_num_threads(threads)
    path = cache / "pair-draws.jsonl"
    rows = load(path)[1] if path.exists() else []
    model = Diffusion(ModelSettings(str(WEIGHTS / "diffusion")))
    clip = ClipJudge(ClipWeights(f"{LOCAL_DIR}{WEIGHTS / 'clip'}"))
    judge = ByClip(clip, BUILT_IN["paper"])  # only its figures are looked at
    for place, seed in enumerate(VALIDATION):
        if any(row.edit // 1000 == place for row in rows):
            continue
        rows += draw(
            model,
            judge,
            Reader.load(WEIGHTS / "reader"),
            number=number,
            draws=draws,
            seed=seed,
            first=1000 * place,
        )
        write(path, rows, {"seeds": VALIDATION[: place + 1]})
        print(f"pair-thresholds: {len(rows)} draws", flush=True)
    profile = choose_all(rows, WEIGHTS / "clip")
    for kind, found in profile.calibration.items():
        print(f"{kind:11} {found}")
    cards.write_card(WEIGHTS / "clip")


def vocabulary_size(words: Path) -> int:
    from transformers import CLIPTokenizer

    return len(CLIPTokenizer.from_pretrained(words))
