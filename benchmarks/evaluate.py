"""What measuring costs an evaluation: how fast its worker gets edits made, beside the editor alone on the same edits.

    python -m benchmarks.evaluate --dataset datasets/editor-test [--editor models/starter/weights/editor] [--most 8]

"bare": the editor, called in this process on the set's edits, in the same batches, and nothing else. "evaluate": the
command on one worker with the same threads: pictures read and kept, judged by the reader and CLIP, rows committed; from
its first shard to its last, so without the start of Ray and of models. They take turns; the ratio is the median over
the rounds. bar: 0.9.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evaluation.asked import Asked
from evaluation.edit_sets import every
from evaluation.editors import editor
from evaluation.preserved import subject_of
from evaluation.trials import Case
from ray_jobs.evaluate_results import results_of
from shards.run import Run
from shards.storage import open_storage

UNIT = 32


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--dataset", required=True, metavar="FOLDER", help="published, on this machine")
    options.add_argument("--editor", default="models/starter/weights/editor", metavar="FOLDER")
    options.add_argument("--most", type=int, default=8, help="edits of each kind (%(default)s)")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    about: dict[str, Any] = {
        "kind": "spatialpix",
        "models": [asked.editor],
        "steps": 12,
        "text": 3,
        "sharp": 4,
    }
    alone: list[float] = []
    ours: list[float] = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rate, cases = evaluated(about, asked.dataset, asked.most, asked.threads, Path(folder))
        ours.append(rate)
        alone.append(bare(about, cases))
        print(f"bare {alone[-1]:.2f}, evaluate {ours[-1]:.2f} edits a second", flush=True)
    ratios = [made / most for made, most in zip(ours, alone, strict=True)]
    print(f"\n{'':<10}{'edits/s':>9}{'min':>8}{'max':>8}")
    for name, rates in (("bare", alone), ("evaluate", ours)):
        print(f"{name:<10}{statistics.median(rates):>9.2f}{min(rates):>8.2f}{max(rates):>8.2f}")
    print(
        f"evaluate / bare: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); bar: 0.9"
    )


def evaluated(
    about: Mapping[str, Any], dataset: str, most: int, threads: int, folder: Path
) -> tuple[float, list[Case]]:
    """Edits a second from the first shard to the last, and the set's edits."""
    config: dict[str, Any] = {
        "out": str(folder / "run"),
        "sets": {"spatial": {"dataset": str(Path(dataset).resolve()), "most": most}},
        "editors": {"one": dict(about)},
        "clip": {"model": "local-dir:models/starter/weights/clip"},
        "unit": UNIT,
        "pool": {"size": 1, "num_cpus": 1},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "ray_jobs", "evaluate", "--config", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    run = Run.open(open_storage(config["out"]))
    found = results_of(run)
    cases = every(run.storage, found["sets"]["spatial"]["key"])
    shards = sorted((folder / "run" / found["results"][0]["folder"]).glob("*.parquet"))
    if len(shards) < 3:
        raise SystemExit(f"--most: {len(cases)} edits are {len(shards)} units, too few to tell: give more")
    ended = sorted(shard.stat().st_mtime for shard in shards)
    first = min(shards, key=lambda shard: shard.stat().st_mtime)
    # The last unit may be a short one, and need not end last: what the first one held is left out.
    short = len(cases) - UNIT * (len(shards) - 1) if first == shards[-1] else UNIT
    return (len(cases) - short) / (ended[-1] - ended[0]), cases


def bare(about: Mapping[str, Any], cases: list[Case], batch: int = 16) -> float:
    """Edits a second of the editor alone, after one batch that does not count."""
    one = editor({**about, "name": "one", "image": 1.2, "dynamic": "none", "device": "cpu"}, 0)
    asked = [_asked(case) for case in cases]
    one(asked[:batch])
    began = time.perf_counter()
    for start in range(0, len(asked), batch):
        one(asked[start : start + batch])
    return len(asked) / (time.perf_counter() - began)


def _asked(case: Case) -> Asked:
    row = case.row
    captions = row["original_prompt"], row["edited_prompt"]
    return Asked(
        case.before, case.text, case.seed, case.kind, *captions, case.truth, subject_of(row), row["pair_id"]
    )


if __name__ == "__main__":
    main()
