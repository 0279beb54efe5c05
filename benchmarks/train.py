"""How fast the editor learns, beside diffusers' own example: python -m benchmarks.train --dataset D --example FILE

FILE is examples/instruct_pix2pix/train_instruct_pix2pix.py of diffusers' sources, which no package carries; it is run
as it is. Both train the plain editor of the starter model: the same pairs, 128 px, batches of 16, float32, averaged
weights, one process that decodes, no mirrors, no latents kept, as many threads. They take turns, several times. A rate
is that of the steps after the tenth, by the clock, with all that a step waits for; the ratio is the median over the
rounds. "floor" is the bare model: forward, backward and update of the UNet alone on a batch that is there, which nobody
can beat; "waited" is what our steps say that they waited for data. "kept" is ours with latents kept, the second time
that pictures come, which the example does not have; not part of the ratio. bar: 1.2, waited below 3%.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from shards.dataset import open_dataset
from trainer.frozen import Frozen, text_to_image
from trainer.model import SpatialEditor

MODEL = "models/starter/weights/diffusion"
BATCH, SIDE, SKIPPED = 16, 128, 10
_OURS = re.compile(r"training: step (\d+),.* waited (\d+)%")
_THEIRS = re.compile(r"Steps:.*?(\d+)/\d+")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--dataset", required=True, metavar="FOLDER", help="published, on this machine")
    options.add_argument("--example", required=True, metavar="FILE")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    version = open_dataset(asked.dataset).storage.uri
    rates: dict[str, list[float]] = {"ours": [], "example": [], "kept": [], "floor": []}
    waits: list[float] = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            found, waited = ours(asked.dataset, Path(folder), asked.steps, environment)
            rates["ours"].append(found)
            waits.append(waited)
            rates["example"].append(
                theirs(version, asked.example, Path(folder) / "theirs", asked.steps, environment)
            )
            latents = ("--set", f"data.latents={folder}/latents", "--set", "data.split=validation")
            rates["kept"].append(ours(asked.dataset, Path(folder), 2 * asked.steps, environment, latents)[0])
        rates["floor"].append(bare(asked.threads))
        print(", ".join(f"{name} {values[-1]:.1f}" for name, values in rates.items()), flush=True)
    print(f"\n{'':<8}{'samples/s':>12}{'of the floor':>14}")
    floor = statistics.median(rates["floor"])
    for name, values in rates.items():
        middle = statistics.median(values)
        print(f"{name:<8}{middle:>12.1f}{middle / floor:>13.0%}")
    ratios = [mine / other for mine, other in zip(rates["ours"], rates["example"], strict=True)]
    print(
        f"\nours over the example: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in "
        f"{len(ratios)} rounds), waited {statistics.median(waits):.1%}"
    )


def ours(
    dataset: str, folder: Path, steps: int, environment: Mapping[str, str], more: Sequence[str] = ()
) -> tuple[float, float]:
    """Samples a second, and the share of the time that data was waited for."""
    out = folder / f"ours-{time.monotonic_ns()}"
    layers = [f"layers.{name}=false" for name in ("tokens", "grounding", "read", "land", "paste")]
    changed = [
        *layers, "data.mirror=0", "data.phrasings=as_written", "data.latents=null", "learn.find=0",
        f"learn.samples={steps * BATCH}", f"learn.every={10 * steps}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "ray_jobs", "train", "--config", "configs/train.yaml"]
    command += [
        "--dataset",
        dataset,
        "--out",
        str(out),
        *(part for one in changed for part in ("--set", one)),
    ]
    stamps, waits = [], []
    for at, line in _lines([*command, *more], environment):
        if said := _OURS.search(line):
            stamps.append((int(said[1]), at))
            waits.append(int(said[2]) / 100)
    return _rate(stamps), statistics.mean(waits[SKIPPED // 10 :])


def theirs(dataset: str, example: str, out: Path, steps: int, environment: Mapping[str, str]) -> float:
    command = [
        sys.executable, example, f"--pretrained_model_name_or_path={Path(MODEL).resolve()}",
        f"--dataset_name={dataset}", "--original_image_column=original_image",
        "--edited_image_column=edited_image", "--edit_prompt_column=edit_prompt", f"--resolution={SIDE}",
        f"--train_batch_size={BATCH}", f"--max_train_steps={steps}", f"--checkpointing_steps={10 * steps}",
        "--use_ema", "--conditioning_dropout_prob=0.05", "--learning_rate=3e-4", "--dataloader_num_workers=1",
        f"--output_dir={out}", f"--cache_dir={out}-cache", "--seed=1", "--mixed_precision=no",
    ]  # fmt: skip
    stamps = [
        (int(said[1]), at) for at, line in _lines(command, environment) if (said := _THEIRS.search(line))
    ]
    return _rate(stamps)


def _lines(command: Sequence[str], environment: Mapping[str, str]) -> list[tuple[float, str]]:
    """What a program says, a progress bar's states among it, each with the time when it was said."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    )
    assert process.stdout is not None
    found, rest = [], b""
    while part := process.stdout.read(4096):
        *whole, rest = re.split(rb"[\r\n]", rest + part)
        found += [(time.perf_counter(), line.decode(errors="replace")) for line in whole]
    if process.wait():
        raise SystemExit("\n".join([f"{command[1:4]} failed:", *(line for _, line in found[-15:])]))
    return found


def _rate(stamps: Sequence[tuple[int, float]]) -> float:
    """Samples a second from the first state at or after step `SKIPPED` to the last."""
    after = [stamp for stamp in stamps if stamp[0] >= SKIPPED]
    (first, began), (last, ended) = after[0], max(after)
    return (last - first) * BATCH / (ended - began)


def bare(threads: int, steps: int = 12) -> float:
    """Samples a second of the model alone."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    frozen = Frozen.load(MODEL)
    editor = SpatialEditor(text_to_image(MODEL), None).train()
    optimizer = torch.optim.AdamW(editor.parameters(), 1e-4, fused=True)
    latents = torch.randn(BATCH, *frozen.latents_of(SIDE))
    text = frozen.text([""]).expand(BATCH, -1, -1)
    at, began = torch.full((BATCH,), 500), 0.0
    for step in range(steps + 2):
        if step == 2:
            began = time.perf_counter()
        editor(latents, at, text, latents).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return steps * BATCH / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
