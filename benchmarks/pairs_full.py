"""The pair engine at full size: python -m benchmarks.pairs_full [--images 256] [--model starter].

Stable Diffusion 2.1-base's architecture with random weights, since speed does not depend on their values: images a
second of the engine, whose attention is controlled, against diffusers' own pipeline that makes the same number of
images, like for like (dtype, sampler, steps, guidance, decoding; the batch tuned for each; eager against eager,
compiled against compiled), in one run. Also the share of the device's measured matrix peak, and memory. Needs an
accelerator; without one `--model starter` compares the two on the starter model, which says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from benchmarks.pairs_data import WEIGHTS
from generators.budget import Budget
from generators.diffusion import Diffusion, ModelSettings
from generators.pairs import Candidate, Judged, PairEngine, PairSettings, Prompt

STEPS, GUIDANCE = 20, 7.5
BAR = 1.3
BATCHES = (8, 16, 32, 64)  # images at a time; the engine makes two with each slot
SETTINGS = PairSettings(steps=STEPS, guidance=(GUIDANCE, GUIDANCE), share=(0.1, 0.9), cross=(0.3, 0.9))
ROUNDS = 3


def base_pipeline(dtype: torch.dtype, device: str) -> StableDiffusionPipeline:
    """Stable Diffusion 2.1-base in all but the weights, and but for the tokenizer, which is the starter's."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "diffusion" / "tokenizer", model_max_length=77)
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=512,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=23,
                num_attention_heads=16,
                max_position_embeddings=77,
                hidden_act="gelu",
            )
        )
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="epsilon",
        timestep_spacing="leading",
        steps_offset=1,
    )
    return _assembled(unet.to(dtype), vae.to(dtype), text.to(dtype), tokenizer, scheduler)


def starter_pipeline(dtype: torch.dtype, device: str) -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(
        str(WEIGHTS / "diffusion"), local_files_only=True, dtype=dtype
    )
    scheduler = DPMSolverMultistepScheduler.from_config(loaded.scheduler.config)
    return _assembled(loaded.unet, loaded.vae, loaded.text_encoder, loaded.tokenizer, scheduler).to(device)


def _assembled(unet: Any, vae: Any, text: Any, tokenizer: Any, scheduler: Any) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline(
        unet=unet, vae=vae, text_encoder=text, tokenizer=tokenizer, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def captions(number: int) -> list[tuple[str, str]]:
    words = ("red", "blue", "green", "white", "pink")
    return [
        (f"a {words[i % 5]} mug to the left of a ball", f"a {words[(i + 1) % 5]} mug to the left of a ball")
        for i in range(number)
    ]


def theirs(pipeline: StableDiffusionPipeline, images: int, batch: int) -> None:
    """diffusers' pipeline: so many pictures, decoded."""
    texts = [text for two in captions(images // 2) for text in two]
    for start in range(0, images, batch):
        some = texts[start : start + batch]
        pipeline(some, num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="np")


def ours(model: Diffusion, images: int, batch: int) -> None:
    """The engine: as many pictures as pairs, decoded, and judged by nothing."""

    def accept(some: Sequence[Candidate]) -> list[Judged]:
        return [Judged("accepted") for _ in some]

    slots = batch // 2
    engine = PairEngine(
        model, SETTINGS, accept, slots=slots, budget=Budget(want=1, most=1), decode_batch=max(1, slots // 2)
    )
    asked = [Prompt(str(i), *two, "recolor", i) for i, two in enumerate(captions(images // 2))]
    for _ in engine.run(asked):
        pass


def rate(work: Callable[[int, int], None], images: int, batch: int) -> float:
    """Images a second, the median of a few rounds after one to warm up."""
    found = []
    for round_ in range(ROUNDS + 1):
        _wait()
        began = time.monotonic()
        work(images, batch)
        _wait()
        if round_:
            found.append(images / (time.monotonic() - began))
    return float(np.median(found))


def best(work: Callable[[int, int], None], images: int) -> tuple[float, int]:
    """The best rate, and with how many images at a time; what has no room for more stops there."""
    found = []
    for batch in BATCHES:
        try:
            found.append((rate(work, images, batch), batch))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
    return max(found)


def peak_flops(dtype: torch.dtype, device: str) -> float:
    """Of a large product of matrices, a second."""
    size = 8192 if device == "cuda" else 2048
    one, other = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    one @ other
    _wait()
    began = time.monotonic()
    for _ in range(10):
        one @ other
    _wait()
    return 10 * 2 * size**3 / (time.monotonic() - began)


def flops_of(model: Diffusion) -> float:
    """Of one sample-forward of the UNet."""
    tokens = model.tokenizer.model_max_length
    width = model.unet.config.cross_attention_dim
    sample = torch.randn(1, *model.latent_shape, dtype=model.dtype, device=model.device)
    context = torch.randn(1, tokens, width, dtype=model.dtype, device=model.device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.unet(sample, torch.tensor([500.0], device=model.device), context)
    return float(counter.get_total_flops())


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--model", choices=("base", "starter"), default="base")
    parser.add_argument("--compiled", action="store_true", help="also both with torch.compile")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and options.model == "base":
        print("no accelerator here: images a second – , share of the peak – , memory – (not measured)")
        return
    dtype = torch.float16 if device == "cuda" else torch.float32
    make = base_pipeline if options.model == "base" else starter_pipeline
    precision: Any = "fp16" if device == "cuda" else "fp32"
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{name}, {precision}, DPM-Solver++ 2M, {STEPS} steps, guidance {GUIDANCE}, {options.images} images"
    )
    print(f"{'':10} {'diffusers':>20} {'engine':>20} {'ratio':>7}   bar {BAR}")
    for compiled in (False, True) if options.compiled else (False,):
        pipeline = make(dtype, device).to(device)
        if compiled:
            pipeline.unet.compile()
        plain = best(lambda images, batch, p=pipeline: theirs(p, images, batch), options.images)  # type: ignore[misc]
        model = Diffusion(
            ModelSettings("in memory", precision=precision, compiled=compiled), make(dtype, device)
        )
        mine = best(lambda images, batch, m=model: ours(m, images, batch), options.images)  # type: ignore[misc]
        print(
            f"{'compiled' if compiled else 'eager':10} {plain[0]:9.2f} ({plain[1]:3} images) {mine[0]:9.2f} "
            f"({mine[1]:3} images) {mine[0] / plain[0]:6.2f}x",
            flush=True,
        )
    each = flops_of(model)
    share = mine[0] * 2 * STEPS * each / peak_flops(dtype, device)
    print(
        f"engine: {mine[0] / 2:.2f} pairs a second, {each / 1e9:.1f} GFLOP a sample-forward, {share:.0%} of the peak"
    )
    if device == "cuda":
        print(f"memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")


if __name__ == "__main__":
    main()
