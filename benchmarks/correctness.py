"""Do the accepted pairs of a run agree with their instructions? Judged by code that shares nothing with the filters.

    python benchmarks/correctness.py RUN_FOLDER
    python benchmarks/correctness.py --pairs FOLDER --verdicts FOLDER

Reads the Parquet shards named by RUN_FOLDER/current.json, prints one table (kind and language: pairs, agree, share,
worst figures) and every disagreement with its pair, sentence and reasons. Exit code 1 when any pair disagrees, 2
when there is nothing to judge.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.independent import Report, judge


@dataclass
class Line:
    """One line of the table."""

    pairs: int = 0
    agree: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    def count(self, report: Report) -> None:
        self.pairs += 1
        self.agree += not report.complaints
        for name, value in report.figures.items():
            self.figures[name] = max(value, self.figures.get(name, value))


def folders(run: Path) -> list[tuple[Path, Path]]:
    """(pairs, verdicts) of every route that has both."""
    current = json.loads((run / "current.json").read_text())
    return [
        (run / stages["pairs"], run / stages["verdicts"])
        for stages in current.values()
        if {"pairs", "verdicts"} <= set(stages)
    ]


def accepted(pairs: Path, verdicts: Path) -> Iterator[dict[str, Any]]:
    """Rows of accepted pairs, one shard in memory at a time."""
    chosen = set()
    for shard in sorted(verdicts.glob("part-*.parquet")):
        table = pq.read_table(shard, columns=["pair_id", "verdict"])
        chosen |= {row["pair_id"] for row in table.to_pylist() if row["verdict"] == "accepted"}
    for shard in sorted(pairs.glob("part-*.parquet")):
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(batch_size=32):
                yield from (row for row in batch.to_pylist() if row["pair_id"] in chosen)


def show(lines: dict[tuple[str, str], Line], figures: int) -> None:
    print(f"{'kind':<12}{'language':<10}{'pairs':>6}{'agree':>7}{'share':>8}  worst figures")
    total = Line(sum(x.pairs for x in lines.values()), sum(x.agree for x in lines.values()))
    for (kind, language), line in [*sorted(lines.items()), (("all", ""), total)]:
        own = {name: value for name, value in line.figures.items() if abs(value) > 1e-4}
        worst = ", ".join(f"{name} {abs(value):.3g}" for name, value in list(own.items())[:figures])
        share = line.agree / line.pairs
        print(f"{kind:<12}{language:<10}{line.pairs:>6}{line.agree:>7}{share:>8.1%}  {worst}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", type=Path, help="a run's folder")
    parser.add_argument("--pairs", type=Path, help="a folder of pairs, where there is no current.json")
    parser.add_argument("--verdicts", type=Path, help="the folder of verdicts that goes with it")
    parser.add_argument("--figures", type=int, default=4, help="figures to print for each kind (default 4)")
    options = parser.parse_args()
    if (options.run is None) == (options.pairs is None) or (options.pairs is None) != (
        options.verdicts is None
    ):
        parser.error("give a run's folder, or --pairs and --verdicts")
    if options.run is not None and not (options.run / "current.json").is_file():
        parser.error(f"{options.run} has no current.json; give --pairs and --verdicts instead")

    lines: dict[tuple[str, str], Line] = defaultdict(Line)
    wrong: list[str] = []
    flat = 0
    for pairs, verdicts in folders(options.run) if options.run else [(options.pairs, options.verdicts)]:
        for row in accepted(pairs, verdicts):
            if row["camera_before"] is None:
                flat += 1
                continue
            report = judge(row)
            lines[row["edit_kind"], row["language"]].count(report)
            if report.complaints:
                wrong.append(f"{row['pair_id']}  {row['edit_kind']}  “{row['edit_prompt']}”")
                wrong += [f"    {complaint}" for complaint in report.complaints]
    if not lines:
        print("no accepted pair to judge", file=sys.stderr)
        return 2
    show(lines, options.figures)
    if flat:
        print(f"\n{flat} accepted pairs have no poses and cameras (not renders) and were not judged")
    if wrong:
        print("\nDisagreements:", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
