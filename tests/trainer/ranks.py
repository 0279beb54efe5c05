"""Two ranks that teach a tiny editor by turns of several kinds: `python -m tests.trainer.ranks FOLDER`.

Processes of their own, forked before anything is computed: libraries are imported once, and threads are not forked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.trainer.editors import opened, tiny_unet
from tests.trainer.test_step import STARTER
from trainer import learn
from trainer.examples import Example
from trainer.frozen import Frozen
from trainer.learn import Learner, LearnSettings
from trainer.model import SpatialEditor
from trainer.parallel import Parallel
from trainer.paste import Shown, share_loss
from trainer.spatial_attention import Parts
from trainer.step import Losses, Noised
from trainer.words import MAX_STEPS, read


@dataclass(frozen=True, slots=True)
class Case:
    """clip: by default of no effect, since a gradient that is clipped has one length, however long it was."""

    sharded: bool
    lora: int | None = None
    recompute: bool = False
    clip: float = 1e6
    finding: bool = False


CASES = {
    "replicated": Case(False), "sharded": Case(True), "adapters": Case(True, 2, True, 0.1),
    "finding": Case(False, finding=True), "finding, sharded": Case(True, finding=True),
}  # fmt: skip
TEXTS = (
    "move the red ball 10% to the right", "make it autumn", "swap the cat and the car", "zoom in 2x",
    "put the cat in the lower-left corner", "a nice day",
)  # fmt: skip
STEPS = (((0, 1, 2), (3,)), ((4, 5), ()))
"""Of each step the examples of each rank: they are never as many, and one has none in the end."""


def examples(numbers: Sequence[int]) -> list[Example]:
    found = []
    for number in numbers:
        latents = np.random.default_rng(number).standard_normal((2, 4, 8, 8)).astype(np.float32)
        masks = np.zeros((MAX_STEPS, 2, 32, 32), np.float32)
        pictures = np.random.default_rng(number).integers(0, 255, (2, 64, 64, 3), np.uint8)
        words = read(TEXTS[number])
        found.append(Example(f"pair-{number}", "move", *pictures, words, masks, masks, latents=latents))
    return found


def mean_loss(
    editor: Any, objective: Any, batch: Any, null: Any, settings: Any, drawn: torch.Generator, encode: Any
) -> Losses:
    """Nothing is drawn, so that it is the mean over examples, however they are dealt."""
    count = len(batch)
    told = torch.zeros(count, dtype=torch.bool)
    noised = Noised(batch.target, torch.full((count,), 300), batch.text, batch.source, told)
    picture = Shown(batch.pixels[:, 0], encode)
    said, context = editor(noised, words=batch.words, phrases=batch.phrases, seen=batch.source, shown=picture)
    noise, found = (said.final - batch.source).square().mean(), context.logits.square().mean()
    # What is taught by losses of its own.
    found = found + share_loss(context.paste, batch.pixels[:, 1], ~told) / 100
    found = found + context.outlined.logits.square().mean(dim=(1, 2)).sum() / count / 100
    found = found + context.landed.logits.square().mean(dim=1).sum() / count / 100
    found = found + context.landed.middles.square().sum() / count / 100
    found = found + (context.landed.growth - 1).square().sum() / count / 100
    return Losses(noise + found, noise.detach(), found.detach())


def mean_finding(editor: Any, batch: Any, sought: Any, settings: Any, drawn: torch.Generator) -> Losses:
    picture = Shown(batch.pixels[:, 0])
    contexts = editor(
        None, words=batch.words, phrases=batch.phrases, seen=batch.source, shown=picture, sought=sought
    )
    found = sum(context.logits.square().mean() for context in contexts)
    return Losses(found, torch.zeros(()), found.detach())


def learner(parallel: Parallel, case: Case, frozen: Frozen) -> Learner:
    torch.manual_seed(1 + parallel.rank)  # the first rank's weights are all's
    unet = tiny_unet(cross_attention_dim=frozen.text_encoder.config.hidden_size)
    editor = opened(SpatialEditor(unet, Parts(land=True, paste=True), 32, frozen.pasting))
    settings = LearnSettings(
        samples=6, rate=1e-3, warmup=1, clip=case.clip, lora=case.lora, recompute=case.recompute,
        find=6 if case.finding else 0,
    )  # fmt: skip
    return Learner(editor, frozen, settings, parallel)


def taught(parallel: Parallel, case: Case, frozen: Frozen, folder: Path) -> None:
    """Leaves a checkpoint and the averaged editor in `folder`, and the losses."""
    one = learner(parallel, case, frozen)
    losses = []
    for dealt in STEPS:
        mine = dealt[parallel.rank] if parallel.ranks > 1 else sum(dealt, ())
        line = one._step(iter([(examples(mine), False)]), 3)
        losses.append((line.seen, line.loss, line.grounding))
    (folder / "editor").mkdir(parents=True, exist_ok=True)
    one.save(folder)
    one.averaged(folder / "editor")
    if parallel.rank == 0:
        (folder / "losses.json").write_text(json.dumps(losses))


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    learn.loss_of, learn.finding_loss_of = mean_loss, mean_finding
    dist.init_process_group(
        "gloo", f"file://{folder}/store", timeout=timedelta(seconds=300), rank=rank, world_size=2
    )
    frozen = Frozen.load(STARTER)
    for name, case in CASES.items():
        taught(Parallel(rank, 2, case.sharded), case, frozen, folder / name)
    dist.barrier()
    for name, case in CASES.items():  # what either kind has left the other goes on with
        one = learner(Parallel(rank, 2, not case.sharded), case, frozen)
        one.restore(folder / name)
        (folder / f"{name}-again").mkdir(exist_ok=True)
        one.save(folder / f"{name}-again")
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.start_processes(work, (Path(sys.argv[1]),), nprocs=2, start_method="fork")
