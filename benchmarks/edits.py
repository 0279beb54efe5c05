"""What the stage that writes edits costs beside its language model: python -m benchmarks.edits [--model smollm2].

Output tokens a second of the stage, from captions in a shard to judged edits in another, over those of bare vLLM on the
same prompts with the same sampling, in one engine. The two take turns, and turns at going first, since prompts that
were seen are cached; medians of the rounds. Start-up is apart. The bar is 90%.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from generators.llm import VllmWriter
from generators.prepare import UNIT as CAPTIONS
from generators.prepare import PrepareCaptions
from generators.seeds import KINDS
from generators.stage import WriteEdits
from generators.writing import messages
from ray_jobs.config_stock import Words
from shards.attempts import Attempts
from shards.guard import RowGuard
from shards.run import Run
from shards.storage import open_storage
from shards.units import Unit

BAR = 0.9
PER_CAPTION = 2


def prepared(run: Run, captions: int) -> str:
    """The folder of captions of the starter world."""
    folder = "captions-0"
    settings = {
        "source": "starter", "uri": None, "column": None, "license": None, "share": 1.0, "limit": captions,
        "seed": 0, "stock": Words().filled(),
    }  # fmt: skip
    stage = PrepareCaptions(run_uri=run.storage.uri, folder=folder, inputs={}, settings=settings)
    stage(CAPTIONS, RowGuard(Attempts(run.storage, folder), CAPTIONS.id, 1))
    return folder


def stage_of(run: Run, captions: str, asked: argparse.Namespace) -> WriteEdits:
    model = asked.model
    if model == "smollm2":
        from generators.smollm2 import prepared as weights

        model = str(weights())
    settings = {
        "captions": captions, "per_caption": PER_CAPTION, "kinds": dict.fromkeys(KINDS, 1.0), "languages": {"en": 1.0},
        "seed": 0,
        "llm": {
            "sampling": {"temperature": 0.8, "top_p": 0.95, "max_tokens": asked.max_tokens},
            "vllm": {"model": model, "adapter": asked.adapter, "memory_share": asked.memory_share},
        },
    }  # fmt: skip
    return WriteEdits(run_uri=run.storage.uri, folder="edits-0", inputs={}, settings=settings)


def by_stage(stage: WriteEdits, run: Run, unit: Unit) -> float:
    """Tokens a second."""
    began = time.perf_counter()
    report = stage(unit, RowGuard(Attempts(run.storage, "edits-0"), unit.id, 1))
    return report.details["output_tokens"] / (time.perf_counter() - began)


def bare(writer: VllmWriter, asked: list[Any]) -> float:
    """Tokens a second of the engine on the same requests."""
    talks, plans = [messages(request) for request in asked], writer.plans(asked)
    began = time.perf_counter()
    found = writer.llm.chat(talks, plans, lora_request=writer.adapter, use_tqdm=False)
    return sum(len(one.outputs[0].token_ids) for one in found) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--model", default="smollm2", help="a folder or a name on the Hub (default %(default)s)"
    )
    parser.add_argument("--adapter", help="a folder with a LoRA of PEFT")
    parser.add_argument("--captions", type=int, default=32, help="of a unit (default %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=120)
    parser.add_argument("--memory-share", type=float)
    parser.add_argument("--rounds", type=int, default=6)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create_or_open(open_storage(str(Path(folder) / "run")), {})
        captions = prepared(run, asked.captions * (asked.rounds + 1))
        began = time.perf_counter()
        stage = stage_of(run, captions, asked)
        started = time.perf_counter() - began
        writer = stage.writer
        assert isinstance(writer, VllmWriter)
        units = [Unit("edits", number, asked.captions) for number in range(asked.rounds + 1)]
        by_stage(stage, run, units[0])  # warm
        rates: dict[str, list[float]] = {"bare vLLM": [], "stage": []}
        for turn, unit in enumerate(units[1:]):
            requests = stage.requests(unit)
            for name in list(rates)[:: 1 if turn % 2 else -1]:
                rate = bare(writer, requests) if name == "bare vLLM" else by_stage(stage, run, unit)
                rates[name].append(rate)
    print(
        f"{asked.model}, {asked.captions * PER_CAPTION} edits at once, {asked.rounds} rounds, medians; the engine's "
        f"start took {started:.0f} s"
    )
    for name, found in rates.items():
        ratios = [one / other for one, other in zip(found, rates["bare vLLM"], strict=True)]
        print(
            f"{name:12} {statistics.median(found):8.0f} tokens/s   {statistics.median(ratios):6.1%} of bare vLLM "
            f"({min(ratios):.1%} to {max(ratios):.1%})" + (f"   bar {BAR:.0%}" if name == "stage" else "")
        )


if __name__ == "__main__":
    main()
