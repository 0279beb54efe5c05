"""What the InstructPix2Pix protocol would give: python -m benchmarks.pairs_yield [--prompts 16] [--draws 100].

The engine in reference mode (every draw of every prompt, Euler ancestral, 100 steps, self-attention alone), which makes
the pairs that the plain reference makes (`benchmarks.pairs_reference` checks that), many at a time. Takes hours on a
CPU, so it is kept: finished prompts are read from the cache, and the command goes on where it stopped. The figures of
every draw lie beside this file, pictures nowhere; another cache starts anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.pairs_data import starter_judge, starter_model, starter_reader
from generators.budget import Budget
from generators.pairs import PairEngine, PairSettings
from models.starter.draws import TEST, Row, edits, load, prompts, rows_of, write

GUIDANCE = (3.0, 6.0)  # of the starter model, chosen on validation; the paper's is 7.5 to 15
REFERENCE = PairSettings(
    sampler="euler_ancestral", steps=100, guidance=GUIDANCE, share=(0.1, 0.9), cross=(0.0, 0.0)
)
CACHE = Path(__file__).with_name("pairs_yield.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = load(options.cache)[1] if options.cache.exists() else []
    done = {row.edit for row in rows}
    asked, reader = edits(options.prompts), starter_reader()
    left = [prompt for prompt in prompts(asked, TEST) if int(prompt.id) not in done]
    engine = PairEngine(
        starter_model(),
        REFERENCE,
        starter_judge(),
        budget=Budget(want=None, most=options.draws),
        keep=lambda _: True,
    )
    for outcome in engine.run(left):
        rows += rows_of(outcome, asked[int(outcome.prompt.id)], reader)
        write(options.cache, rows, {"draws": options.draws})
        print(
            f"prompt {outcome.prompt.id}: {len(outcome.draws)} draws, {engine.clock.total:.0f} s", flush=True
        )
    print_table(rows)


def print_table(rows: list[Row]) -> None:
    for edit in sorted({row.edit for row in rows}):
        some = [row for row in rows if row.edit == edit]
        accepted = sum(row.verdict == "accepted" for row in some)
        print(f"{edit:4} {some[0].kind:11} {accepted:4} of {len(some)} accepted")


if __name__ == "__main__":
    main()
