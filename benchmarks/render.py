"""What rendering costs, and where the time goes: python -m benchmarks.render [--pairs 4] [--memory-scenes 500].

One table: pairs a minute of the scene stage's own loop, the share of its wall time inside Cycles (the floor:
what Blender needs for those pictures whatever drives it), the same pictures by a fresh Blender process per
image (what a script that starts Blender for each picture pays), and a worker's memory over many small scenes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np
import psutil

from renderers.sampler import SamplerSettings, sample_scene
from renderers.worker import BlenderWorker, RenderSettings
from spatial.operation import apply
from spatial.propose import SCENE_KINDS, propose
from spatial.resolve import resolve
from spatial.scene import Scene, Shapes, SpatialError

MEMORY_PIXELS = 64


def drafts(size: int, shapes: Shapes, seed: int) -> Iterator[tuple[Scene, Scene]]:
    """Scenes before and after, as the stage draws them, kinds in turn."""
    number = 0
    while True:
        kind = SCENE_KINDS[number % len(SCENE_KINDS)]
        rng = np.random.default_rng([seed, number])
        number += 1
        try:
            before = sample_scene(kind, SamplerSettings(size, size, (2, 4)), shapes, rng)
            operation = resolve(propose(kind, before, shapes, rng), before, shapes, rng)
            yield before, apply(operation, before, shapes)
        except SpatialError:
            continue


def one_process(settings: RenderSettings, pairs: int, size: int) -> tuple[float, float, float]:
    """Seconds of wall time, of Cycles, and of sampling and resolving, for all pairs."""
    with BlenderWorker(settings) as worker:
        source = drafts(size, worker.shapes, seed=1)
        worker.prepare(*next(source))
        worker.render()
        began, cycles, drawing = time.perf_counter(), worker.cycles_seconds, 0.0
        for _ in range(pairs):
            start = time.perf_counter()
            pair = next(source)
            drawing += time.perf_counter() - start
            worker.prepare(*pair)
            worker.render()
        return time.perf_counter() - began, worker.cycles_seconds - cycles, drawing


def process_per_image(settings: RenderSettings, pairs: int, size: int) -> float:
    """Seconds of wall time for the same pairs when each image gets a Blender of its own.

    A worker renders a pair; here each of its two pictures is paid for by one start, and by half of a pair's
    render: a scene against itself costs two pictures, so the time inside Cycles is halved.
    """
    source, seconds = None, 0.0
    for number in range(pairs + 1):
        for side in (0, 1):
            start = time.perf_counter()
            with BlenderWorker(settings) as worker:
                source = source or drafts(size, worker.shapes, seed=1)
                if side == 0:
                    pair = next(source)
                    start = time.perf_counter()
                scene = pair[side]
                worker.prepare(scene, scene)
                worker.render()
                cycles = worker.cycles_seconds
            if number:  # the first pair is the warm-up, as above
                seconds += time.perf_counter() - start - cycles / 2
    return seconds


def memory(scenes: int) -> list[float]:
    """MB resident of one worker that is never recycled, at ten points over `scenes` small scenes."""
    settings = RenderSettings(samples=1, denoise=False)
    found = []
    with BlenderWorker(settings, max_scenes=scenes + 1, max_memory_mb=1 << 20) as worker:
        source = drafts(MEMORY_PIXELS, worker.shapes, seed=2)
        for number in range(1, scenes + 1):
            worker.prepare(*next(source))
            worker.render()
            if number % max(1, scenes // 10) == 0 and worker.pid is not None:
                found.append(psutil.Process(worker.pid).memory_info().rss / 2**20)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4, help="pairs of each timed run (default %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=3, help="timed runs; medians are shown (default %(default)s)"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels (default %(default)s)")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--memory-scenes", type=int, default=500)
    asked = parser.parse_args()
    settings = RenderSettings(samples=asked.samples)
    print(
        f"{asked.size} px, {asked.samples} samples, {asked.pairs} pairs x {asked.runs} runs, medians",
        flush=True,
    )
    shares, rates, ratios, drawn = [], [], [], []
    for _ in range(asked.runs):  # in turn, so that a machine that slows down slows both
        wall, cycles, drawing = one_process(settings, asked.pairs, asked.size)
        fresh = process_per_image(settings, asked.pairs, asked.size)
        rates.append(asked.pairs / wall * 60)
        shares.append(cycles / wall)
        drawn.append(drawing / wall)
        ratios.append(fresh / wall)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    _show("pairs a minute, one process, all cores", f"{statistics.median(rates):.1f}")
    _show("share of wall time inside Cycles", f"{statistics.median(shares):.1%}")
    _show("share of wall time drawing scenes and edits", f"{statistics.median(drawn):.1%}")
    _show("a fresh process per image takes, times as long", f"{statistics.median(ratios):.2f} ({spread})")
    if asked.memory_scenes:
        curve = memory(asked.memory_scenes)
        _show(f"MB over {asked.memory_scenes} scenes", " ".join(f"{mb:.0f}" for mb in curve))
        _show("growth over the second half", f"{curve[-1] / curve[len(curve) // 2 - 1] - 1:+.1%}")


def _show(name: str, value: str) -> None:
    print(f"{name:48}{value}", flush=True)


if __name__ == "__main__":
    main()
