"""docs/results.md, from the rows of evaluations:

    python -m scripts.results_page --add runs/evaluation --copy 1   # takes in what an evaluation left
    python -m scripts.results_page                                  # writes the page anew

Trainings of one editor with other seeds may be evaluated in several runs: each is a copy. What is taken in are the rows
without pictures (`benchmarks/results/edits.parquet`) and what they are of (`about.json`, beside it); what is said of
them by hand is in `notes.md` there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation import table
from evaluation.results import RESULTS
from evaluation.spatial import NAMED
from ray_jobs.config import ConfigError
from ray_jobs.evaluate_results import results_of
from shards.run import Run
from shards.storage import open_storage
from shards.tables import from_rows, read_table

FOLDER, PAGE = Path("benchmarks/results"), Path("docs/results.md")
_ROWS, _ABOUT, _NOTES = "edits.parquet", "about.json", "notes.md"
# What the table says of an editor, and in which order; the first is what all others are held against.
EDITORS = {
    "full": "spatial layers, all parts",
    "full_text": "the same weights, text scale by what is asked",
    "full_copy": "the same weights, guided away from copies",
    "plain": "InstructPix2Pix's form, the same data",
    "canonical": "the same, words as one English wording per meaning",
    "appearance": "InstructPix2Pix's form, edits of appearance alone",
    "tokens": "spatial tokens alone",
    "grounding": "and grounding",
    "read": "and the warped read",
    "shuffled": "all parts, steps of other examples' words",
    "sdedit": "SDEdit, by captions",
    "decoded": "the true picture through the autoencoder",
    "oracle": "the true picture",
    "identity": "the picture as it was",
}
_TOGETHER = (("digest", "of several sets"), ("rules", "judged by several rules"))
_KEPT = pa.schema([RESULTS.field(name) for name in (*table.COLUMNS, "off", "kept_share")])


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--add", metavar="URI", help="the folder of an evaluation")
    options.add_argument("--copy", type=_counted, default=1, help="which training of each editor it was of")
    options.add_argument("--results", type=Path, default=FOLDER)
    options.add_argument("--page", type=Path, default=PAGE)
    arguments = options.parse_args(argv)
    if arguments.add is not None:
        added = add(Run.open(open_storage(arguments.add)), arguments.results, arguments.copy)
        print(f"{added} rows are in {arguments.results / _ROWS} now")
    arguments.page.write_text(page(arguments.results))
    print(f"written: {arguments.page}")


def _counted(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def add(run: Run, results: Path, copy: int) -> int:
    """How many rows there are now. Rows of the same set, editor and copy are replaced. copy: 1 and more; of the same
    model there is one copy, whatever is said."""
    try:
        made_of = results_of(run)
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    sets, about = made_of["sets"], _about(results) if (results / _ROWS).exists() else {}
    rows: list[dict[str, Any]] = []
    for one in made_of["results"]:
        of_editor = about.setdefault(one["set"], {}).setdefault(one["editor"], {})
        same = [number for number, known in of_editor.items() if known["model"] == one["model"]]
        number = int(same[0]) if same else copy + one["copy"] if one["model"] else 1
        frozen = sets[one["set"]]
        of_editor[str(number)] = {name: frozen[name] for name in ("digest", "edits", "oracle")} | {
            "model": one["model"], "rules": made_of["rules"],
        }  # fmt: skip
        for unit in sorted(run.done(one["folder"])):
            some = read_table(run.storage, run.shard_key(one["folder"], unit), _KEPT.names).to_pylist()
            rows += [row | {"copy": number} for row in some]
    new = {(row["edit_set"], row["editor"], row["copy"]) for row in rows}
    path = results / _ROWS
    if path.exists():
        old = pq.read_table(path).to_pylist()
        rows += [row for row in old if (row["edit_set"], row["editor"], row["copy"]) not in new]
    for name, of_set in about.items():  # before anything is written: what cannot be one table is not taken in
        for what, said in _TOGETHER:
            _alone(of_set, name, what, said)
    rows.sort(key=lambda row: (row["edit_set"], row["editor"], row["copy"], row["pair_id"]))
    results.mkdir(parents=True, exist_ok=True)
    pq.write_table(from_rows(rows, _KEPT), path, compression="zstd", compression_level=19)
    (results / _ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    return len(rows)


def _about(results: Path) -> dict[str, Any]:
    path = results / _ABOUT
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def page(results: Path) -> str:
    """The page as Markdown."""
    for name, how in (
        (_ROWS, "take in an evaluation with --add"),
        (_NOTES, "write what there is to say there"),
    ):
        if not (results / name).exists():
            raise SystemExit(f"{results / name} is not there: {how}")
    rows = pq.read_table(results / _ROWS).to_pylist()
    there = {row["editor"] for row in rows}
    order = [name for name in EDITORS if name in there] + sorted(there - EDITORS.keys())
    whole = table.summary(rows, order)
    notes = (results / _NOTES).read_text().strip()
    about = _about(results)
    parts = ["# Results", notes]
    for name, found in whole.items():
        digest, _ = (_alone(about[name], name, what, said) for what, said in _TOGETHER)
        oracle = next(iter(next(iter(about[name].values())).values()))["oracle"]
        said = f" Before any was left out for that, the reader found {oracle or 0:.1%} of the true pictures right."
        right = "" if oracle is None else said
        parts += [
            f"## Edits of the set `{name}`",
            f"{found['edits']} edits, sha256 {digest[:16]}.{right} Shares of edits that succeed as "
            f"[evaluate.md](evaluate.md) defines it, a named thing within {NAMED:.0%} of the width; intervals are of "
            "95%, by bootstrap over scenes, trainings with other seeds averaged edit by edit and each printed; p by "
            "flips of signs, scene by scene, of kinds corrected for how many there are (Holm).",
            "\n".join(_editors(found["editors"], found["common"])),
            "### By kind of edit",
            "\n".join(_shares(found["editors"], "kinds", "kind")),
            "### By language",
            "\n".join(_shares(found["editors"], "languages", "language")),
            "### How far the first is ahead, kind by kind",
            "\n".join(_ahead(found["editors"])),
            "### Why edits are wrong",
            "\n".join(_reasons(found["editors"])),
        ]
    if said := table.no_lpips(whole):
        parts.append(f"{said}.")
    return "\n\n".join(parts) + "\n"


def _editors(editors: Mapping[str, Any], common: int) -> Iterator[str]:
    lpips = any(found["lpips"] for found in editors.values())
    apart = any(found["not_expressible"] for found in editors.values())
    more = " LPIPS outside |" if lpips else ""
    shared = f" right of the {common} that all can be asked |" if apart else ""
    yield (
        "| editor | | asked | failed | right | 95% |"
        + shared
        + " each training | the first is ahead by | p | "
        f"PSNR outside |{more} s/edit |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|" + "---|" * (lpips + apart)
    for name, found in editors.items():
        success, ahead, psnr = found["success"], found["ahead"], found["psnr"]
        before = (
            f"{100 * ahead['mean']:.1f} ({100 * ahead['low']:.1f} to {100 * ahead['high']:.1f})"
            if ahead
            else ""
        )
        cells = (
            f"`{name}`", EDITORS.get(name, ""), f"{found['asked']}", f"{sum(found['failed'].values())}",
            f"{success['mean']:.1%}" if success else "",
            f"{success['low']:.1%} to {success['high']:.1%}" if success else "",
            *([f"{found['common']['mean']:.1%}" if found["common"] else ""] if apart else ()),
            ", ".join(f"{share:.1%}" for share in found["copies"]) if len(found["copies"]) > 1 else "", before,
            f"{ahead['p']:.4f}" if ahead else "",
            f"{psnr['mean']:.1f}" if psnr else "",
            *([f"{found['lpips']['mean']:.3f}" if found["lpips"] else ""] if lpips else ()),
            _seconds(found) if found.get("seconds") is not None else "",
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def _seconds(found: Mapping[str, Any]) -> str:
    """The median, and the mean where some edits took far longer."""
    usual, mean = found["seconds"], found["seconds_mean"]
    return f"{usual:.2f}" + (f" (mean {mean:.2f})" if mean > 2 * usual else "")


def _shares(editors: Mapping[str, Any], what: str, head: str) -> Iterator[str]:
    names = list(editors)
    yield f"| {head} | edits | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---|---|" + "---|" * len(names)
    for value in sorted({value for one in editors.values() for value in one[what]}):
        found = [one[what].get(value) for one in editors.values()]
        edits = max((one["edits"] for one in found if one), default=0)
        shares = (f"{one['share']:.0%}" if one else "" for one in found)
        yield f"| {value} | {edits} | " + " | ".join(shares) + " |"


def _ahead(editors: Mapping[str, Any]) -> Iterator[str]:
    others = {name: found["ahead_kinds"] for name, found in editors.items() if found["ahead_kinds"]}
    yield "| kind | " + " | ".join(f"`{name}`" for name in others) + " |"
    yield "|---|" + "---|" * len(others)
    for kind in sorted({kind for found in others.values() for kind in found}):
        cells = (
            f"{100 * one['mean']:+.0f} (p {one['p']:.4f}, {one['edits']} edits)"
            if (one := found.get(kind))
            else ""
            for found in others.values()
        )
        yield f"| {kind} | " + " | ".join(cells) + " |"


def _alone(of_set: Mapping[str, Any], name: str, what: str, said: str) -> str:
    """What all rows of a set have in common. Raises SystemExit where they have not."""
    found = sorted({str(one[what]) for of in of_set.values() for one in of.values()})
    if len(found) > 1:
        each = " and ".join(value[:16] for value in found)
        raise SystemExit(f"rows of the set {name} are {said}, {each}: add one's alone")
    return found[0]


def _reasons(editors: Mapping[str, Any]) -> Iterator[str]:
    names = list(editors)
    yield "| reason | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---|" + "---|" * len(names)
    reasons = {reason for one in editors.values() for reason in one["reasons"]} - {"right"}
    for reason in sorted(reasons):
        shares = (
            one["reasons"].get(reason, 0) / max(1, sum(one["reasons"].values())) for one in editors.values()
        )
        yield f"| `{reason}` | " + " | ".join(f"{share:.0%}" for share in shares) + " |"


if __name__ == "__main__":
    main()
