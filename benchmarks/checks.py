"""Whether the checks of edits are right: python -m benchmarks.checks.

edit_labels.jsonl holds what the fine-tuned SmolLM2 wrote, as `benchmarks.good_edits --save` keeps it, and whether
somebody who read it, without knowing what the checks say, called it a good edit: an instruction that a picture of the
caption can follow, and a caption after it that shows what was asked and nothing else that is new. The rules were made
with edit_labels_of_rules.jsonl in view, and not with edit_labels.jsonl: the first line is the honest one.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from filters.edits import EditChecks, TextEdit
from generators.writing import read_answer

LABELS = Path(__file__).parent / "edit_labels.jsonl"
LABELS_OF_RULES = LABELS.with_name("edit_labels_of_rules.jsonl")
BARS = {"precision": 0.90, "recall": 0.80}


@dataclass(frozen=True, slots=True)
class Agreement:
    """accepted, good, both, of: how many the checks accept, are good, are both, and all. reasons: of good edits that
    were refused, by rule. precision: share of the accepted that are good; recall: of the good that are accepted."""

    accepted: int
    good: int
    both: int
    of: int
    reasons: dict[str, int]

    @property
    def precision(self) -> float:
        return self.both / self.accepted if self.accepted else float("nan")

    @property
    def recall(self) -> float:
        return self.both / self.good if self.good else float("nan")


def measured(path: Path = LABELS) -> Agreement:
    checks, counts, reasons = EditChecks(), Counter[str](), Counter[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        texts = read_answer(row["answer"] or "")
        reason = "no_json" if texts is None else checks.reason(TextEdit(row["caption"], *texts))
        counts["of"] += 1
        counts["accepted"] += reason is None
        counts["good"] += row["good"]
        counts["both"] += reason is None and row["good"]
        if reason is not None and row["good"]:
            reasons[reason] += 1
    return Agreement(
        counts["accepted"], counts["good"], counts["both"], counts["of"], dict(reasons.most_common())
    )


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def main() -> None:
    for path in (LABELS, LABELS_OF_RULES):
        found = measured(path)
        print(f"{path.name}: {found.of} outputs read, {found.good} good; the checks accept {found.accepted}")
        for name, hits, of in (("precision", found.both, found.accepted), ("recall", found.both, found.good)):
            low, high = wilson(hits, of)
            print(
                f"{name:10} {hits / of:6.1%} ({low:.1%} to {high:.1%}), {hits} of {of}; bar {BARS[name]:.0%}"
            )
        refused = ", ".join(f"{name} {n}" for name, n in found.reasons.items())
        print(f"good edits refused: {refused or 'none'}")


if __name__ == "__main__":
    main()
