"""Whether pairs show their edits: python -m benchmarks.pairs_edits [--edits 200].

Edits of the starter world whose truth is known, made into pairs by the demo's settings and judged by the reader: did
the named change happen, and did what the edit does not name stay, in kind and place? Beside it the same prompts, budget
and thresholds without attention control. Also how full the batch was, and what was spent outside of the models.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.pairs_data import ROOT, starter_judge, starter_model, starter_reader
from generators.budget import Budget
from generators.pairs import Clock, PairEngine, PairSettings, Preview
from models.starter.draws import TEST, Row, edits, prompts, rows_of
from ray_jobs.config import load

BARS = {"changed": 0.85, "stayed": 0.85, "slots": 0.97, "outside": 0.05}


def demo_settings() -> tuple[PairSettings, Budget, Preview | None, float, int]:
    """As configs/demo.yaml makes pairs: settings, budget, preview and its slack, slots."""
    route = load(ROOT / "configs" / "demo.yaml").routes.p2p
    assert route is not None
    keys = route.pairs.model_dump()
    preview = Preview(route.preview_at) if route.preview_at else None
    return (
        PairSettings(**keys),
        Budget(**route.budget.model_dump()),
        preview,
        route.preview_slack,
        route.slots,
    )


def run(
    settings: PairSettings,
    budget: Budget,
    preview: Preview | None,
    slack: float,
    slots: int,
    number: int,
    seed: int = TEST,
) -> tuple[list[Row], Clock, dict[int, int]]:
    """Rows of all draws, the engine's clock, and each edit's sample-forwards, those too of draws that came too late."""
    asked, reader = edits(number, seed), starter_reader()
    engine = PairEngine(
        starter_model(), settings, starter_judge(slack), slots=slots, budget=budget, preview=preview
    )
    rows: list[Row] = []
    forwards = {}
    for outcome in engine.run(prompts(asked, seed)):
        forwards[int(outcome.prompt.id)] = outcome.forwards
        rows += rows_of(outcome, asked[int(outcome.prompt.id)], reader)
    return rows, engine.clock, forwards


def share(rows: Sequence[Row], of: Callable[[Row], bool | None]) -> str:
    """For example " 91.2% (34)": of the rows that it applies to."""
    known = [found for row in rows if (found := of(row)) is not None]
    return f"{np.mean(known):6.1%} ({len(known)})" if known else "     –    "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=TEST)
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument("--save", type=Path, help="also write all draws, as JSON lines")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    settings, budget, preview, slack, slots = demo_settings()
    free = replace(settings, share=(0.0, 0.0), cross=(0.0, 0.0))
    found = {
        name: run(how, budget, preview, slack, slots, options.edits, options.seed)
        for name, how in (("controlled", settings), ("free", free))
    }
    if options.save is not None:
        lines = [
            json.dumps({"run": name} | asdict(row)) for name, (rows, _, _) in found.items() for row in rows
        ]
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(
        f"{options.edits} edits, {yaml.safe_dump(asdict(settings), default_flow_style=True, width=200).strip()}"
    )
    print(f"{'':12}{'with attention control':^50}{'without':^50}")
    head = f"{'drawn':>6} {'accepted':>14} {'changed':>13} {'stayed':>13} "
    print(f"{'kind':12}{head}{head}")
    kinds = list(dict.fromkeys(edit.kind for edit in edits(options.edits, options.seed)))
    for kind in [*kinds, "all"]:
        line = f"{kind:12}"
        for rows, _, _ in found.values():
            some = [row for row in rows if kind in ("all", row.kind)]
            good = [row for row in some if row.verdict == "accepted"]
            kept = len({row.edit for row in good})
            line += f"{len(some):6} {len(good):5} of {kept:3} e. {share(good, lambda r: r.changed):>13} "
            line += f"{share(good, lambda r: r.stayed):>13} "
        print(line)
    print(
        f"bars: changed {BARS['changed']:.0%}, stayed {BARS['stayed']:.0%} of accepted pairs (in brackets: how many it "
        "applies to)"
    )
    _, clock, forwards = found["controlled"]
    print(
        f"batch: slots in use {clock.occupancy:.1%} (bar {BARS['slots']:.0%}); outside of UNet, VAE, CLIP and text "
        f"{clock.outside:.2%} (bar at most {BARS['outside']:.0%}); UNet {clock.unet:.0f} s, VAE {clock.vae:.0f} s, "
        f"CLIP {clock.judge:.0f} s, {sum(forwards.values()) / clock.unet:.0f} sample-forwards a second"
    )


if __name__ == "__main__":
    main()
