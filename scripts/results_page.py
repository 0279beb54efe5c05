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
from ray_jobs.evaluate import MADE_OF
from shards.run import Run
from shards.storage import NotFound, open_storage
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
_KEPT = pa.schema([RESULTS.field(name) for name in (*table.COLUMNS, "off", "kept_share")])


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--add", metavar="URI", help="the folder of an evaluation")
    options.add_argument("--copy", type=int, default=1, help="which training of each editor it was of")
    options.add_argument("--results", type=Path, default=FOLDER)
    options.add_argument("--page", type=Path, default=PAGE)
    arguments = options.parse_args(argv)
    if arguments.add is not None:
        added = add(Run.open(open_storage(arguments.add)), arguments.results, arguments.copy)
        print(f"{added} rows are in {arguments.results / _ROWS} now")
    arguments.page.write_text(page(arguments.results))
    print(f"written: {arguments.page}")


def add(run: Run, results: Path, copy: int) -> int:
    """How many rows there are now. Rows of the same set, editor and copy are replaced. copy: 1 and more; editors that
    are not trained have one."""
    try:
        made_of = json.loads(run.storage.read(MADE_OF))
    except NotFound:
        raise SystemExit(
            f"{run.storage.uri} has no results yet: submit 'evaluate' until it is done"
        ) from None
    sets, about = made_of["sets"], _about(results)
    if made_of["missing"]:
        raise SystemExit(
            f"{run.storage.uri}: {made_of['missing']} units are missing: submit 'evaluate' again until none is"
        )
    rows: list[dict[str, Any]] = []
    for one in made_of["results"]:
        for unit in sorted(run.done(one["folder"])):
            rows += read_table(run.storage, run.shard_key(one["folder"], unit), _KEPT.names).to_pylist()
    trained = {name for name, one in run.config["editors"].items() if "models" in one}
    for row in rows:
        row["copy"] = copy + row["copy"] if row["editor"] in trained else 1
    for name, one in sets.items():
        for editor in {row["editor"] for row in rows if row["edit_set"] == name}:
            of_set = about.setdefault(name, {}).setdefault(editor, {})
            for number in {row["copy"] for row in rows if (row["edit_set"], row["editor"]) == (name, editor)}:
                of_set[str(number)] = {"digest": one["digest"], "edits": one["edits"]}
    new = {(row["edit_set"], row["editor"], row["copy"]) for row in rows}
    path = results / _ROWS
    if path.exists():
        old = pq.read_table(path).to_pylist()
        rows += [row for row in old if (row["edit_set"], row["editor"], row["copy"]) not in new]
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
    rows = pq.read_table(results / _ROWS).to_pylist()
    there = {row["editor"] for row in rows}
    order = [name for name in EDITORS if name in there] + sorted(there - EDITORS.keys())
    whole = table.summary(rows, order)
    notes = (results / _NOTES).read_text().strip()
    about = _about(results)
    parts = ["# Results", notes]
    for name, found in whole.items():
        digests = sorted({one["digest"][:16] for of in about[name].values() for one in of.values()})
        if len(digests) > 1:
            raise SystemExit(
                f"rows of the set {name} are of several sets, {' and '.join(digests)}: add one's alone"
            )
        parts += [
            f"## Edits of the set `{name}`",
            f"{found['edits']} edits, sha256 {digests[0]}. Shares of edits that succeed as "
            f"[evaluate.md](evaluate.md) defines it, a named thing within {NAMED:.0%} of the width; intervals are of "
            "95%, by bootstrap over scenes, trainings with other seeds averaged edit by edit and each printed.",
            "\n".join(_editors(found["editors"])),
            "### By kind of edit",
            "\n".join(_shares(found["editors"], "kinds", "kind")),
            "### By language",
            "\n".join(_shares(found["editors"], "languages", "language")),
            "### Why edits are wrong",
            "\n".join(_reasons(found["editors"])),
        ]
    return "\n\n".join(parts) + "\n"


def _editors(editors: Mapping[str, Any]) -> Iterator[str]:
    yield "| editor | | right | 95% | each training | the first is ahead by | PSNR outside | s/edit |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, found in editors.items():
        success, ahead, psnr = found["success"], found["ahead"], found["psnr"]
        before = (
            f"{100 * ahead['mean']:.1f} ({100 * ahead['low']:.1f} to {100 * ahead['high']:.1f})"
            if ahead
            else ""
        )
        cells = (
            f"`{name}`", EDITORS.get(name, ""), f"{success['mean']:.1%}" if success else "",
            f"{success['low']:.1%} to {success['high']:.1%}" if success else "",
            ", ".join(f"{share:.1%}" for share in found["copies"]) if len(found["copies"]) > 1 else "", before,
            f"{psnr['mean']:.1f}" if psnr else "",
            f"{found['seconds']:.2f}" if found.get("seconds") is not None else "",
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def _shares(editors: Mapping[str, Any], what: str, head: str) -> Iterator[str]:
    names = list(editors)
    yield f"| {head} | edits | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---|---|" + "---|" * len(names)
    for value in sorted({value for one in editors.values() for value in one[what]}):
        found = [one[what].get(value) for one in editors.values()]
        edits = max((one["edits"] for one in found if one), default=0)
        shares = (f"{one['share']:.0%}" if one else "" for one in found)
        yield f"| {value} | {edits} | " + " | ".join(shares) + " |"


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
