"""How often editors succeed in space: python -m benchmarks.editor --dataset D --editor full=DIR --editor plain=DIR

Each editor is a folder that `train` left, or `identity`, which gives the picture back, or `truth`. Seeds of the same
training share a name: --editor full=A --editor full=B. `decoded` is the true picture through the starter autoencoder,
which no editor on it can beat. Edits that the reader cannot judge in the true picture are left
out before any editor runs. Every other name is held against the first: paired, by bootstrap over scenes, seeds averaged
within an edit. What was tried is kept under --kept and not tried again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.paraphrases import paraphrases
from evaluation.trials import Case, Edit, Result, by_kind, by_turns, cases, digest, interval, judgeable, tried
from filters.reader import Reader
from ray_jobs.edit_sheet import Tried, edit_sheet
from shards.dataset import open_dataset
from shards.images import Pixels
from spatial.templates import Chosen
from trainer.frozen import Frozen
from trainer.guidance import Dynamic, TextScale
from trainer.pipeline import Sampling, SpatialPixPipeline
from trainer.words import canonical_text

READER, MODEL = "models/starter/weights/reader", "models/starter/weights/diffusion"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--dataset", required=True, metavar="URI")
    options.add_argument("--split", default="test")
    options.add_argument("--editor", action="append", required=True, metavar="NAME=FOLDER")
    options.add_argument("--words", choices=("withheld", "written", "canonical"), default="withheld")
    options.add_argument(
        "--free", action="store_true", help="only edits with free sentences, worded by these"
    )
    options.add_argument("--most", type=int, help="of each kind")
    options.add_argument("--steps", type=int, default=20, help="of the sampler")
    options.add_argument("--text", type=float, default=3.0, help="scale for the text")
    options.add_argument("--image", type=float, default=1.5, help="scale for the picture")
    options.add_argument("--dynamic", choices=("none", "text", "copy", "both"), default="none")
    options.add_argument("--kept", default="runs/editor-results", metavar="FOLDER")
    options.add_argument("--sheet", metavar="FILE", help="a PNG of what the first editor made")
    arguments = options.parse_args()
    reader = Reader.load(READER)
    dataset = open_dataset(arguments.dataset)
    templates: Chosen = "held_out" if arguments.words == "withheld" else "all"
    chosen = judgeable(list(cases(dataset, arguments.split, templates)), reader)
    if arguments.free:
        chosen = paraphrased(chosen)
    if arguments.words == "canonical":
        chosen = [Case(c.row, canonical_text(c.text), c.before, c.truth, c.yaws) for c in chosen]
    chosen = of_each(chosen, arguments.most)
    print(f"{len(chosen)} edits that the reader can judge, sha256 {digest(chosen)[:16]}", flush=True)
    sampling = Sampling(
        arguments.steps,
        TextScale(arguments.text) if arguments.dynamic in ("text", "both") else arguments.text,
        arguments.image,
        copying=Dynamic() if arguments.dynamic in ("copy", "both") else None,
    )
    found: dict[str, list[list[Result]]] = defaultdict(list)
    for asked in arguments.editor:
        name, _, folder = asked.partition("=")
        kept = Path(arguments.kept) / f"{name}-{_key(folder, chosen, sampling)}.json"
        sheet = Path(arguments.sheet) if arguments.sheet and not found else None
        found[name].append(measured(name, folder or name, chosen, reader, sampling, kept, sheet))
    print_table(found)


def paraphrased(chosen: Sequence[Case]) -> list[Case]:
    """Those that there are free sentences for, once for each."""
    by_name = {str(case.row["pair_id"]): case for case in chosen}
    return [
        Case({**case.row, "language": one.language}, one.text, case.before, case.truth, case.yaws)
        for one in paraphrases()
        if (case := by_name.get(one.pair_id)) is not None
    ]


def of_each(chosen: Sequence[Case], most: int | None) -> list[Case]:
    taken: dict[str, int] = defaultdict(int)
    found = []
    for case in chosen:
        taken[case.kind] += 1
        if most is None or taken[case.kind] <= most:
            found.append(case)
    return found


def _key(folder: str, chosen: Sequence[Case], sampling: Sampling) -> str:
    told = hashlib.sha256(f"{digest(chosen)} {sampling}".encode())
    for path in sorted(Path(folder).rglob("*.safetensors")) if folder else ():
        told.update(hashlib.sha256(path.read_bytes()).digest())
    return told.hexdigest()[:16]


def measured(
    name: str,
    folder: str,
    chosen: Sequence[Case],
    reader: Reader,
    sampling: Sampling,
    kept: Path,
    sheet: Path | None,
) -> list[Result]:
    if kept.is_file() and sheet is None:
        return [Result(**values) for values in json.loads(kept.read_text())]
    began, results, pictures = time.perf_counter(), list[Result](), list[Tried]()
    for case, picture, result in tried(_editor(folder, chosen, sampling), chosen, reader):
        results.append(result)
        if sheet is not None:
            pictures.append(Tried(case.before, picture, case.truth, case.text, case.kind, result.reason))
        if len(results) % 64 == 0:
            good, took = sum(one.success for one in results), time.perf_counter() - began
            print(
                f"  {name}: {len(results)}/{len(chosen)}, {good / len(results):.1%}, {took:.0f} s", flush=True
            )
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(
        json.dumps([{field: getattr(one, field) for field in Result.__slots__} for one in results])
    )
    if sheet is not None:
        sheet.write_bytes(edit_sheet(by_turns(pictures, 36)))
    return results


def _editor(folder: str, chosen: Sequence[Case], sampling: Sampling) -> Edit:
    if folder == "identity":
        return lambda before, _texts, _seeds: before
    if folder == "truth":
        truths = iter(case.truth for case in chosen)
        return lambda before, _texts, _seeds: [next(truths) for _ in before]
    if folder == "decoded":
        frozen, rest = Frozen.load(MODEL), iter(chosen)
        scale = float(frozen.vae.config.scaling_factor)

        def through(before: Sequence[Pixels], _texts: Sequence[str], _seeds: Sequence[int]) -> list[Pixels]:
            latents = frozen.source(frozen.pixels([next(rest).truth for _ in before])) * scale
            return list(frozen.decode(latents).numpy())

        return through
    pipeline = SpatialPixPipeline.from_pretrained(folder)

    def edit(before: Sequence[Pixels], texts: Sequence[str], seeds: Sequence[int]) -> Sequence[Pixels]:
        return pipeline.batch(before, texts, seeds, sampling)

    return edit


def print_table(found: dict[str, list[list[Result]]]) -> None:
    names = list(found)
    print(f"\n{'kind':<12}" + "".join(f"{name:>14}" for name in names) + f"{'edits':>8}")
    counts = {name: [by_kind(results) for results in runs] for name, runs in found.items()}
    for kind in counts[names[0]][0]:
        shares = [np.mean([of[kind][0] / of[kind][1] for of in counts[name]]) for name in names]
        print(
            f"{kind:<12}"
            + "".join(f"{share:>13.1%} " for share in shares)
            + f"{counts[names[0]][0][kind][1]:>7}"
        )
    first = found[names[0]]
    scenes = [one.scene_id for one in first[0]]
    for name in names:
        runs = found[name]
        own = _mean(runs)
        at = interval(own, scenes)
        seeds = ", ".join(f"{np.mean([one.success for one in results]):.1%}" for results in runs)
        print(f"{name}: {at.mean:.1%} ({at.low:.1%} to {at.high:.1%}), each seed: {seeds}")
        for language in sorted({one.language for one in runs[0]}):
            share = np.mean([v for v, one in zip(own, runs[0], strict=True) if one.language == language])
            print(f"    {language}: {share:.1%}")
        if name != names[0]:
            ahead = interval([a - b for a, b in zip(_mean(first), own, strict=True)], scenes)
            points = [100 * value for value in (ahead.mean, ahead.low, ahead.high)]
            print("    {} is {:+.1f} points ahead ({:+.1f} to {:+.1f})".format(names[0], *points))
        wrong: dict[str, int] = defaultdict(int)
        for results in runs:
            for one in results:
                wrong[one.reason or "right"] += 1
        total = sum(wrong.values())
        print(
            "    "
            + ", ".join(
                f"{key} {n / total:.1%}" for key, n in sorted(wrong.items(), key=lambda pair: -pair[1])
            )
        )


def _mean(runs: Sequence[Sequence[Result]]) -> list[float]:
    """Of each edit, over seeds."""
    return [float(value) for value in np.mean([[one.success for one in results] for results in runs], axis=0)]


if __name__ == "__main__":
    main()
