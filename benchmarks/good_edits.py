"""Whether fine-tuning pays: python -m benchmarks.good_edits [--model smollm2] [--adapter FOLDER] [--save FILE].

Good edits, by `filters.edits` and in words alone, of the base model and of the same with its adapter: on 200 captions
of the starter world, none of which is among the seeds or the composed lessons, and on the 150 of captions.txt, written
for this and for nothing else. Both are asked the same, held to the same JSON, and sampled alike. Kinds are asked for as
often as the configuration says, and of the general captions as often as the seeds have them. Doubles count.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from filters.edits import EditChecks, TextEdit
from generators.llm import Sampling, VllmSettings, VllmWriter
from generators.prepare import composed_captions
from generators.seeds import KINDS, read_seeds
from generators.smollm2 import prepared
from generators.writing import Answer, Request, drawn_kind, read_answer
from ray_jobs.config import check, read_yaml
from ray_jobs.config_stock import Words
from ray_jobs.finetune_llm import FinetuneConfig, lessons

ROOT = Path(__file__).parents[1]
ADAPTER = ROOT / "models" / "starter" / "weights" / "llm"
FINETUNE = ROOT / "configs" / "finetune.yaml"
GENERAL = Path(__file__).parent / "captions.txt"
BARS = {"starter world": 0.80, "general": 0.60}


@dataclass(frozen=True, slots=True)
class Said:
    """What one of the two said. reason: None for a good edit."""

    request: Request
    answer: Answer
    reason: str | None


def starter(number: int, seed: int, taken: set[str]) -> list[str]:
    """Captions of the starter world that are not among `taken`."""
    stock = yaml.safe_load((ROOT / "configs" / "edits.yaml").read_text())["routes"]["edits"]["captions"][
        "stock"
    ]
    found: list[str] = []
    for caption in composed_captions(Words.model_validate(stock).filled(), seed):
        if caption.text.lower() not in taken and caption.text not in found:
            found.append(caption.text)
        if len(found) == number:
            break
    return found


def asked(captions: list[str], kinds: Mapping[str, float], seed: int) -> list[Request]:
    """One edit of each caption, of a kind that fits it, drawn by its weight as in a run."""
    rng = np.random.default_rng(seed)
    return [
        Request(caption, drawn_kind(kinds, caption, rng), "en", number)
        for number, caption in enumerate(captions)
    ]


def judged(requests: list[Request], answers: list[Answer]) -> list[Said]:
    checks, found = EditChecks(), []
    for request, answer in zip(requests, answers, strict=True):
        texts = read_answer(answer.text or "")
        if answer.error is not None or texts is None:
            reason: str | None = answer.error or "no_json"
        else:
            reason = checks.reason(TextEdit(request.caption, *texts, request.language))
        found.append(Said(request, answer, reason))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--model", default="smollm2", help="a folder or a name on the Hub (default %(default)s)"
    )
    parser.add_argument("--adapter", default=str(ADAPTER), help="a folder with a LoRA of PEFT")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--save", type=Path, help="also write what the fine-tuned model said, a line each")
    options = parser.parse_args()
    model = str(prepared()) if options.model == "smollm2" else options.model
    sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=120)
    writer = VllmWriter(VllmSettings(model, adapter=options.adapter, sampling=sampling))
    adapter = writer.adapter

    seeds = read_seeds()
    learned = check(FinetuneConfig, read_yaml(FINETUNE), str(FINETUNE))
    taken = {edit.before.lower() for edit in (*seeds, *lessons(learned))}
    usual = Counter(seed.kind for seed in seeds if seed.language == "en" and seed.kind in KINDS)
    general = GENERAL.read_text(encoding="utf-8").splitlines()
    if taken & {caption.lower() for caption in general}:
        raise SystemExit(f"{GENERAL} holds captions of the seeds")
    route = yaml.safe_load((ROOT / "configs" / "edits.yaml").read_text())["routes"]["edits"]
    sets = {
        "starter world": asked(starter(200, options.seed, taken), route["kinds"], options.seed),
        "general": asked(general, usual, options.seed),
    }
    print(f"{'captions':16} {'model':12} {'good':>6}   why not")
    lines = []
    for name, requests in sets.items():
        for who, its in (("base", None), ("fine-tuned", adapter)):
            writer.adapter = its
            said = judged(requests, writer.write(requests))
            good = sum(one.reason is None for one in said) / len(said)
            why = Counter(one.reason for one in said if one.reason is not None).most_common(6)
            bar = f"   bar {BARS[name]:.0%}" if its is not None else ""
            print(
                f"{name:16} {who:12} {good:6.1%}{bar}   " + ", ".join(f"{w} {n}" for w, n in why), flush=True
            )
            if its is not None:
                lines += [
                    {"captions": name, "kind": one.request.kind, "caption": one.request.caption,
                     "answer": one.answer.text, "reason": one.reason}
                    for one in said
                ]  # fmt: skip
    if options.save is not None:
        options.save.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
