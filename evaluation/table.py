"""What results come to: for each editor of a set how often it is right, how sure that is, and what it costs.

Copies of an editor, trainings with other seeds, are averaged edit by edit and each printed; intervals and tests are by
bootstrap over scenes. Edits that an editor failed at are wrong; those that cannot be said to it are shown apart, and
two editors are compared on what both can be asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from evaluation.results import FAILED, OWN, RIGHT, TOLERANCES, UNASKED
from evaluation.trials import chance, holm, interval, share_interval

COLUMNS = (
    "pair_id", "scene_id", "edit_kind", "language", "edit_set", "editor", "copy", "judged", "outcome", "reason",
    "within", "psnr", "ssim", "lpips", "l1", "l2", "clip_image", "clip_direction", "seconds", "memory_mb", "price",
    "tuned_for", "tuned_seconds",
)  # fmt: skip
Row = Mapping[str, Any]
_MEASURES = ("psnr", "ssim", "lpips", "l1", "l2", "clip_image", "clip_direction")


def summary(rows: Sequence[Row], editors: Sequence[str]) -> dict[str, Any]:
    """{set: {"edits", "common", "editors": {editor: figures}}}, plain JSON values. rows: with `COLUMNS`. editors: in
    order; all others are held against the first. common: how many edits every editor could be asked for; "common" of an
    editor is its share of those: shares of edits that differ are no comparison."""
    by_set: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_set[row["edit_set"]].append(row)
    return {name: _of_set(found, editors) for name, found in sorted(by_set.items())}


def no_lpips(sets: Mapping[str, Any]) -> str:
    """What is to be said once of a `summary` of edits that leave something alone, without LPIPS; else empty."""
    figures = [one for found in sets.values() for one in found["editors"].values()]
    missing = any(one["psnr"] for one in figures) and not any(one["lpips"] for one in figures)
    return "LPIPS: no weights were named" if missing else ""


def tuning_said(figures: Mapping[str, Any]) -> str:
    """Of an editor's figures what tuning cost, in a sentence; empty where nothing was tuned."""
    said = {"transformations": "a transformation", "captions": "a picture by its own captions"}
    return "; ".join(
        f"to tune for {said[kind]} takes {of['seconds']:.1f} s, an edit then {of['edit']:.2f} s, and with its share of "
        f"tuning {of['amortised']:.2f} s ({of['edits']} edits, {of['tunings']} tunings)"
        for kind, of in figures["tuning"].items()
    )


def _of_set(rows: Sequence[Row], editors: Sequence[str]) -> dict[str, Any]:
    own = {name: [row for row in rows if row["editor"] == name] for name in editors}
    own = {name: some for name, some in own.items() if some}
    first = next(iter(own))
    judged = any(row["judged"] for row in rows)  # else none is right or wrong, whoever failed
    success = {name: _success(some) if judged else {} for name, some in own.items()}
    about = {row["pair_id"]: row for row in rows}
    # Of those that could be asked for any: one that is asked for nothing leaves nothing in common.
    tried = [set(one) for one in success.values() if one]
    common = set.intersection(*tried) if tried else set()
    found = {}
    for name, some in own.items():
        found[name] = _of_editor(some, success[name], about) | {"ahead": None, "ahead_kinds": {}}
        shared = {edit: share for edit, share in success[name].items() if edit in common}
        found[name]["common"] = (
            asdict(share_interval([*shared.values()], _scenes(shared, about))) if shared else None
        )
        if name != first:
            found[name] |= _against(success[first], success[name], about)
    return {"edits": len(about), "common": len(common), "editors": found}


def _success(rows: Sequence[Row]) -> dict[str, float]:
    """By edit, over copies; without edits that cannot be said to the editor."""
    tried: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row["outcome"] != UNASKED:
            tried[row["pair_id"]].append(row["outcome"] == RIGHT)
    return {name: float(np.mean(found)) for name, found in sorted(tried.items())}


def _of_editor(rows: Sequence[Row], success: Mapping[str, float], about: Mapping[str, Row]) -> dict[str, Any]:
    asked = [row for row in rows if row["outcome"] != UNASKED]
    copies = sorted({int(row["copy"]) for row in rows})
    tried = {row["pair_id"] for row in asked}
    figures: dict[str, Any] = {
        "asked": len(tried),
        "not_expressible": len({row["pair_id"] for row in rows} - tried),
        "failed": Counter(row["reason"] for row in asked if row["outcome"] == FAILED),
        "success": asdict(share_interval([*success.values()], _scenes(success, about))) if success else None,
        "copies": [
            float(np.mean([row["outcome"] == RIGHT for row in asked if row["copy"] == copy]))
            for copy in copies
        ]
        if success
        else [],
        "kinds": _shares(success, about, "edit_kind"),
        "languages": _shares(success, about, "language"),
        "reasons": dict(Counter(row["reason"] or row["outcome"] for row in asked).most_common()),
        "curve": _curve(asked) if success else [],
    }
    for name in _MEASURES:
        values: dict[str, list[float]] = defaultdict(list)
        for row in asked:
            if (value := row.get(name)) is not None:  # rows from before there was a measure lack it
                values[row["pair_id"]].append(_error(value) if name == "psnr" else value)
        means = {edit: float(np.mean(some)) for edit, some in values.items()}
        found = _interval(means, about) if means else None
        figures[name] = _decibels(found) if found and name == "psnr" else found
    if asked:
        seconds = [row["seconds"] for row in asked]
        figures |= {"seconds": float(np.median(seconds)), "seconds_mean": float(np.mean(seconds))}
        figures["memory_mb"] = float(max(row["memory_mb"] for row in asked))
        figures["price"] = float(sum(row["price"] for row in asked))
    return figures | {"tuning": _tuning(asked)}


def _tuning(asked: Sequence[Row]) -> dict[str, dict[str, float]]:
    """What tuning cost, apart for "transformations", which several edits share, and "captions", of one edit's own
    picture: {"tunings", "edits", "seconds": the median of tunings, what a new instruction costs before the first edit,
    "edit": the median of edits without tuning, "amortised": the mean of edits with a share of their tuning}."""
    groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in asked:
        if (name := row.get("tuned_for")) is not None:
            groups[int(row["copy"]), name].append(row)
    found = {}
    for kind, own in (("transformations", False), ("captions", True)):
        some = [rows for (_, name), rows in groups.items() if name.startswith(OWN) == own]
        if not some:
            continue
        # Of several times where workers tuned without knowing of each other.
        tunings = [float(np.mean([row["tuned_seconds"] for row in rows])) for rows in some]
        edits = [row["seconds"] for rows in some for row in rows]
        found[kind] = {
            "tunings": len(tunings), "edits": len(edits), "seconds": float(np.median(tunings)),
            "edit": float(np.median(edits)), "amortised": float((sum(edits) + sum(tunings)) / len(edits)),
        }  # fmt: skip
    return found


def _interval(values: Mapping[str, float], about: Mapping[str, Row]) -> dict[str, float]:
    return asdict(interval([*values.values()], _scenes(values, about)))


def _error(psnr: float) -> float:
    """The mean squared error, of values of 0 to 1. Errors are averaged, not decibels: a few copies to the pixel, of 99,
    would be worth more than many edits that damage little."""
    return float(10 ** (-psnr / 10))


def _decibels(error: Mapping[str, float]) -> dict[str, float]:
    """Of a mean error and its interval; the least error is the most decibels."""
    mean, low, high = (float(-10 * np.log10(error[name])) for name in ("mean", "high", "low"))
    return {"mean": mean, "low": low, "high": high}


def _scenes(values: Mapping[str, float], about: Mapping[str, Row]) -> list[str]:
    return [about[edit]["scene_id"] for edit in values]


def _shares(
    success: Mapping[str, float], about: Mapping[str, Row], column: str
) -> dict[str, dict[str, float]]:
    """{value: {"share", "edits"}}."""
    found: dict[str, list[float]] = defaultdict(list)
    for edit, share in success.items():
        found[str(about[edit][column])].append(share)
    return {name: {"share": float(np.mean(some)), "edits": len(some)} for name, some in sorted(found.items())}


def _curve(asked: Sequence[Row]) -> list[dict[str, float]]:
    """Success against how far a named thing may be off. An edit that failed is wrong at every distance."""
    if not asked:
        return []
    nothing = [False] * len(TOLERANCES)
    whole = np.mean([row["within"] or nothing for row in asked], axis=0)
    return [
        {"tolerance": tolerance, "share": float(share)}
        for tolerance, share in zip(TOLERANCES, whole, strict=True)
    ]


def _against(
    first: Mapping[str, float], other: Mapping[str, float], about: Mapping[str, Row]
) -> dict[str, Any]:
    """How far the first is ahead, on edits that both can be asked; kind by kind, corrected for the number of kinds."""
    ahead = {edit: first[edit] - other[edit] for edit in first if edit in other}
    if not ahead:
        return {"ahead": None, "ahead_kinds": {}}
    kinds: dict[str, list[str]] = defaultdict(list)
    for edit in ahead:
        kinds[str(about[edit]["edit_kind"])].append(edit)
    names = sorted(kinds)
    chances = holm([_chance({edit: ahead[edit] for edit in kinds[name]}, about) for name in names])
    of_kinds = {
        name: {
            "mean": float(np.mean([ahead[edit] for edit in kinds[name]])),
            "edits": len(kinds[name]),
            "p": p,
        }
        for name, p in zip(names, chances, strict=True)
    }
    whole = _interval(ahead, about) | {"edits": len(ahead), "p": _chance(ahead, about)}
    return {"ahead": whole, "ahead_kinds": of_kinds}


def _chance(values: Mapping[str, float], about: Mapping[str, Row]) -> float:
    return chance([*values.values()], _scenes(values, about))
