"""The starter models' recipes: `python -m models.starter COMMAND`. Every step resumes where it stopped."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from models.starter.world import SPLITS

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "spatialpix" / "starter"
_TRAINED = {
    "vae": "the autoencoder",
    "decoder": "the autoencoder's decoder alone, for squared error",
    "text": "the text encoder on where captions put things",
    "diffusion": "the diffusion model",
    "clip": "the CLIP model",
}
READER = Path(__file__).parent / "weights" / "reader"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m models.starter", description=__doc__)
    top.add_argument(
        "--cache", default=str(DEFAULT_CACHE), help="where scenes and checkpoints are kept (%(default)s)"
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    render = commands.add_parser("render", help="render the starter world's scenes into the cache")
    render.add_argument("--split", action="append", choices=sorted(SPLITS), help="default: all")
    render.add_argument(
        "--share", type=_share, default="0/1", metavar="I/N", help="render every N-th unit from the I-th on"
    )
    commands.add_parser("tokenizer", help="make the tokenizer of both text models")
    for name, what in _TRAINED.items():
        command = commands.add_parser(name, help=f"train {what}, or go on where it stopped")
        command.add_argument("--hours", type=float, help="stop after so long; the same line goes on later")
        command.add_argument("--bf16", action="store_true", help="faster on a CPU with AVX-512 BF16")
        command.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
        if name == "diffusion":
            command.add_argument("--compile", action="store_true", help="faster; needs a C++ compiler")
            command.add_argument("--steps", type=int, help="of 32 pictures each; default: the whole recipe's")
        if name in ("text", "diffusion"):
            command.add_argument(
                "--start", type=Path, help="exported weights to go on from, in a cache without checkpoints"
            )
    unclip = commands.add_parser("unclip", help="train a decoder of CLIP's embeddings, to be compared with")
    unclip.add_argument(
        "--dataset", required=True, help="a published dataset, of whose training pictures it learns"
    )
    unclip.add_argument("--out", type=Path, required=True, help="the decoder's folder")
    unclip.add_argument("--hours", type=float, help="stop after so long; the same line goes on later")
    unclip.add_argument("--steps", type=int, help="of 16 pictures each; default: the whole recipe's")
    unclip.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
    editor = commands.add_parser("editor", help="make a trained editor small and put it beside the models")
    editor.add_argument("--trained", type=Path, required=True, help="a folder that `train` left")
    commands.add_parser("export", help="write what is trained to models/starter/weights")
    measure = commands.add_parser(
        "measure", help="measure exported models on held-out scenes; writes their cards"
    )
    measure.add_argument("model", choices=("diffusion", "clip"))
    measure.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
    choose = commands.add_parser("thresholds", help="choose the CLIP profile 'starter' on pairs of a run")
    choose.add_argument("--run", required=True, help="a run of configs/starter.yaml, made with clip=null")
    choose.add_argument(
        "--preprocessing", choices=("ip2p", "open_clip"), default="ip2p", help="(%(default)s)"
    )
    pairs = commands.add_parser(
        "pair-thresholds",
        help="choose the CLIP profile 'starter-p2p' on draws of the pair engine; half an hour",
    )
    pairs.add_argument("--edits", type=int, default=280, help="of each validation seed (%(default)s)")
    pairs.add_argument("--draws", type=int, default=4, help="of each edit (%(default)s)")
    pairs.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
    learn = commands.add_parser("reader-train", help="train the reader, or go on where it stopped")
    learn.add_argument("--split", action="append", choices=sorted(SPLITS), help="default: reader_train")
    learn.add_argument("--steps", type=int, default=8000, help="of 32 pictures each (%(default)s)")
    learn.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate (%(default)s)")
    learn.add_argument(
        "--round-trip-share", type=float, default=0.4, help="of pictures taken through the VAE (%(default)s)"
    )
    learn.add_argument("--start", type=Path, help="folder of weights to begin from: another leg of training")
    learn.add_argument("--hours", type=float, help="stop after so long; the same line goes on later")
    learn.add_argument("--bf16", action="store_true", help="faster on a CPU with AVX-512 BF16")
    check = commands.add_parser("reader-eval", help="measure the reader on scenes it has never seen")
    check.add_argument("--split", default="reader_test", choices=sorted(SPLITS), help="(%(default)s)")
    check.add_argument("--limit", type=int, help="at most so many pictures")
    eye = commands.add_parser("reader-eye", help="hold the reader against pictures that were labelled by eye")
    for command in (learn, check, eye):
        command.add_argument(
            "--weights", type=Path, default=READER, help="folder of the weights (%(default)s)"
        )
        command.add_argument("--vae", type=Path, help="AutoencoderKL in diffusers' layout, for round trips")
        command.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
    return top


def _share(text: str) -> tuple[int, int]:
    share, _, shares = text.partition("/")
    if not (share.isdigit() and shares.isdigit() and int(share) < int(shares)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with 0 <= I < N, for example 0/2")
    return int(share), int(shares)


def main() -> int:
    options = parser().parse_args()
    if options.command == "render":
        from models.starter.scenes import render
        from shards.storage import open_storage

        cache = open_storage(options.cache).sub("scenes")
        render(cache, options.split or list(SPLITS), *options.share)
    if options.command.startswith("reader-"):
        return _reader(options)
    return _recipe(options)


def _recipe(options: argparse.Namespace) -> int:
    _let_threads_wait()
    from models.starter import recipes
    from shards.storage import StorageError

    cache = Path(options.cache)
    try:
        if options.command in _TRAINED:
            import torch

            torch.set_num_threads(options.threads)
            seconds = None if options.hours is None else options.hours * 3600
            named = vars(options)
            more = {name: named[name] for name in ("start", "compile", "steps") if name in named}
            getattr(recipes, options.command)(cache, seconds, options.bf16, **more)
        elif options.command == "unclip":
            seconds = None if options.hours is None else options.hours * 3600
            recipes.unclip(cache, options.dataset, options.out, options.steps, seconds, options.threads)
        elif options.command == "editor":
            recipes.editor(options.trained)
        elif options.command == "tokenizer":
            recipes.tokenizer(cache)
        elif options.command == "export":
            recipes.export(cache)
        elif options.command == "measure":
            recipes.measure(cache, options.model, options.threads)
        elif options.command == "thresholds":
            recipes.thresholds(options.run, options.preprocessing)
        elif options.command == "pair-thresholds":
            recipes.pair_thresholds(cache, options.edits, options.draws, options.threads)
    except (StorageError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _let_threads_wait() -> None:
    """Before torch is imported. Threads that spin while they wait for each other cost a factor of five and more where
    other programs want the cores too; threads that sleep at once cost a third where none does. So: briefly."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")


def _reader(options: argparse.Namespace) -> int:
    _let_threads_wait()
    from models.starter.reader import Recipe
    from models.starter.reader_run import evaluate_reader, read_by_eye, train_reader
    from shards.storage import StorageError

    cache = Path(options.cache)
    try:
        if options.command == "reader-eye":
            return read_by_eye(options.weights, options.threads)
        if options.command == "reader-eval":
            return evaluate_reader(
                cache, options.weights, options.split, options.vae, options.limit, options.threads
            )
        splits = options.split or ["reader_train"]
        recipe = Recipe(
            steps=options.steps,
            rate=options.rate,
            round_trip_share=options.round_trip_share,
            bf16=options.bf16,
        )
        seconds = None if options.hours is None else options.hours * 3600
        return train_reader(
            cache, splits, recipe, options.vae, options.weights, options.threads, seconds, options.start
        )
    except (StorageError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
