"""What the CLIP judge costs beside its model: python -m benchmarks.judge [--model ViT-L-14/openai] [--batch 32].

Images a second of the judge, from pixels and captions to four similarities, over those of the bare model on
tensors and tokens that lie ready, on the same batch size. The two take turns, so that a machine that slows down
slows both; medians of the rounds. The bar is 95%. No captions are kept from round to round. Without --model, an
architecture with random weights: they are as fast as trained ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

from filters.clip import ClipJudge, Pair
from filters.profiles import Preprocessing
from filters.score import _decoded
from filters.weights import ClipWeights
from shards.images import encode

BAR = 0.95
# Of a few million parameters, as for a laptop: the smaller the model, the more the rest weighs.
SMALL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 128, "layers": 6, "width": 192, "head_width": 48, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}


def random_model(architecture: str, folder: Path) -> ClipWeights:
    """A model of this architecture with random weights, as a folder that the judge loads."""
    config = SMALL if architecture == "small" else open_clip.get_model_config(architecture)
    if config is None:
        raise SystemExit(f"--architecture {architecture}: open_clip has no such; 'small' is this benchmark's")
    torch.manual_seed(0)
    text = open_clip.CLIPTextCfg(**config["text_cfg"])
    model = open_clip.CLIP(config["embed_dim"], open_clip.CLIPVisionCfg(**config["vision_cfg"]), text)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    return ClipWeights(f"local-dir:{folder}")


def random_pairs(count: int, size: int) -> list[Pair]:
    """Smooth noise, so that PNG has something to do, and captions that are all different."""
    rng = np.random.default_rng(0)

    def picture() -> np.ndarray[Any, Any]:
        coarse = rng.integers(0, 240, (16, 16, 3), dtype=np.uint8)
        scaled = np.kron(coarse, np.ones((-(-size // 16), -(-size // 16), 1), np.uint8))[:size, :size]
        return scaled + rng.integers(0, 8, scaled.shape, dtype=np.uint8)

    def caption(number: int) -> str:
        return f"a red mug to the left of bottle {number} on a wooden floor at sunset"

    return [Pair(picture(), picture(), caption(2 * i), caption(2 * i + 1)) for i in range(count)]


def bare(judge: ClipJudge, pairs: list[Pair]) -> Callable[[], None]:
    """The model alone: both pictures and both captions of each pair, in two forwards."""
    images = [pair.before for pair in pairs] + [pair.after for pair in pairs]
    captions = [pair.caption_before for pair in pairs] + [pair.caption_after for pair in pairs]
    with torch.inference_mode():
        ready = judge._prepared(images).to(judge.dtype)
        tokens = judge.tokenize(captions).to(judge.device)

    def run() -> None:
        with torch.inference_mode():
            judge.model.encode_image(ready).cpu()
            judge.model.encode_text(tokens).cpu()

    return run


def from_files(judge: ClipJudge, pairs: list[Pair]) -> Callable[[], None]:
    """As the stage does it: PNG files decoded first. In the stage this overlaps with the model's work."""
    rows = [
        {
            "original_image": encode(pair.before), "edited_image": encode(pair.after),
            "original_prompt": pair.caption_before, "edited_prompt": pair.caption_after,
        }
        for pair in pairs
    ]  # fmt: skip

    def run() -> None:
        judge._texts.clear()
        judge.score([pair for _, pair in _decoded(rows) if pair is not None])

    return run


def seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="ViT-L-14/openai or local-dir:PATH")
    parser.add_argument("--weights", help="a local file with a named model's weights")
    parser.add_argument("--architecture", default="small", help="without --model (default %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="pairs (default %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="pixels of the pictures (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    asked = parser.parse_args()
    preparations: tuple[Preprocessing, ...] = ("ip2p", "open_clip")
    with tempfile.TemporaryDirectory() as folder:
        weights = (
            ClipWeights(asked.model, asked.weights)
            if asked.model
            else random_model(asked.architecture, Path(folder))
        )
        judges = {
            name: ClipJudge(weights, name, asked.device, asked.precision, asked.batch)
            for name in preparations
        }
    pairs = random_pairs(asked.batch, asked.size)
    runs = {"bare model": bare(judges["ip2p"], pairs)}
    for prepared, judge in judges.items():
        runs[f"judge, {prepared}"] = _fresh(judge, pairs)
    runs["judge, ip2p, decoding PNG first"] = from_files(judges["ip2p"], pairs)
    device = judges["ip2p"].device
    print(
        f"{asked.model or asked.architecture} on {device}, {asked.precision}, {torch.get_num_threads()} threads, "
        f"batch {asked.batch} pairs of {asked.size} px, {asked.rounds} rounds, medians"
    )
    for run in runs.values():  # warm
        run()
    taken = {name: list[float]() for name in runs}
    for _ in range(asked.rounds):
        for name, run in runs.items():
            taken[name].append(seconds(run))
    for name in runs:
        rate = 2 * asked.batch / statistics.median(taken[name])
        # Of neighbours in time: what else the machine does falls on both.
        ratios = [one / other for one, other in zip(taken["bare model"], taken[name], strict=True)]
        print(f"{name:34}{rate:9.1f} images/s   {statistics.median(ratios):7.1%} of the bare model")
    ratios = [one / other for one, other in zip(taken["bare model"], taken["judge, ip2p"], strict=True)]
    print(f"the bar: {statistics.median(ratios):.1%} of {BAR:.0%}")


def _fresh(judge: ClipJudge, pairs: list[Pair]) -> Callable[[], None]:
    def run() -> None:
        judge._texts.clear()
        judge.score(pairs)

    return run


if __name__ == "__main__":
    main()
