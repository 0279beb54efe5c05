"""A second opinion on pairs: does the edit agree with its instruction, judged from the dataset alone.

It imports nothing of the project and shares no code, words or thresholds with it: the sentence is read with
regular expressions written for this, the edit is measured on the stored masks, and on poses and cameras where
masks cannot tell. What both agree on is unlikely to be wrong in the same way twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.independent import named, sentence
from tests.independent.edits import JUDGES, Report
from tests.independent.pictures import state

__all__ = ["Report", "judge"]

_VIETNAMESE = re.compile(
    r"[ăâđêôơưàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ]", re.IGNORECASE
)


def judge(row: Mapping[str, Any]) -> Report:
    """All complaints and figures for one accepted pair (one row of a pairs shard)."""
    report = Report()
    text, language = row["edit_prompt"], row["language"]
    said, done = row["instructions"], row["operations"]
    report.hold(bool(_VIETNAMESE.search(text)) == (language == "vi"), f"the sentence is not in {language}")
    kind = done[0]["kind"] if len(done) == 1 else "sequence"
    report.hold(row["edit_kind"] == kind, f"labelled {row['edit_kind']}, done {kind}")
    parts = sentence.split(text, language, len(done))
    report.hold(
        len(parts) == len(said) == len(done), f"{len(parts)} sentences, {len(said)} said, {len(done)} done"
    )
    before, after = state(row, "before"), state(row, "after")
    for part, words, operation in zip(parts, said, done):
        for complaint in sentence.check(part, language, words, operation):
            report.hold(False, f"sentence: {complaint}")
        try:
            with np.errstate(all="ignore"):  # what did not change at all divides by zero, and fails its bound
                JUDGES[operation["kind"]](before, after, operation, report)
        except (KeyError, TypeError, ValueError) as error:
            report.hold(False, f"{operation['kind']} cannot be judged: {error!r}")
    for complaint in named.listen(language, said, done, before, after):
        report.hold(False, f"named: {complaint}")
    named.stays(done, before, after, report)
    named.stands(before, report)
    named.stands(after, report)
    return report
