"""What was promised beside what the files of results say, the first table of docs/results.md.

What no file has is "not measured", in words: neither a blank nor a figure from elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.results import OWN, RIGHT, UNASKED
from evaluation.trials import interval, share_interval
from scripts.results_files import Found, made_by, of_what, trainings
from scripts.results_parts import ours, percent, points, score_said

NONE = "not measured"
PLAIN, TUNED = "plain", "diffusionclip"
OTHERS = {TUNED: "DiffusionCLIP", "unclip_starter": "unCLIP on the starter model", "dall_e_2": "DALL-E 2"}
# All other kinds of edits are edits in space.
APPEARANCE = ("recolor", "material", "lighting", "background", "style", "replace")
_FEWEST = 5  # tunings: draws of fewer bound nothing
_DRAWS = 10_000
Line = tuple[str, str, str, str]
"""What it is, what was promised, what was measured, and of what that is."""


def promises(found: Found, whole: Mapping[str, Any]) -> list[str]:
    """The section. whole: a `table.summary` of editors without ablations."""
    lines = [
        *_or_none("edits in space that succeed", "from about 50% to about 75% and more",
                  _successes(found, whole, in_space=True)),
        *_or_none("all edits that succeed", "80 to 85%", _successes(found, whole, in_space=False)),
        *_or_none("bias of the data: how far gender goes with occupation", "at least 20% less", _of_texts(found.bias)),
        *_or_none("bias of the editor that mended data teaches", "at least 20% less", _of_editor(found.bias)),
        *_of_fid(found),
        *_or_none("tuning, for each edit", "DiffusionCLIP about 40 times slower", _slower(found, whole)),
        *_or_none("DiffusionCLIP, DALL-E 2", "behind", _others(found, whole)),
        *_or_none("what people say of the pictures", "better", _of_people(found.survey)),
    ]  # fmt: skip
    evaluated = {f"{name} {editor}": one for name, of in found.about.items() for editor, one in of.items()}
    return [
        "## What was promised, and what was measured",
        "The promises were made before there was anything to measure. Measured is what the rows and the files beside "
        "them say, with intervals of 95% and what each is of; no figure is quoted from others. Edits in space are all "
        f"but those of {', '.join(APPEARANCE)}. Edits of light and background cannot be judged by rule, and none is "
        "counted.",
        "\n".join(["| | promised | measured | of |", "|---|---|---|---|", *(_row(line) for line in lines)]),
        f"{made_by(evaluated)} What else a figure comes from is said under its own table.",
    ]  # fmt: skip


def _row(line: Line) -> str:
    return "| " + " | ".join(line) + " |"


def _or_none(what: str, promised: str, measured: Iterator[tuple[str, str]]) -> list[Line]:
    """A line for each that was measured; one that says so where nothing was."""
    return [(what, promised, *one) for one in measured] or [(what, promised, NONE, "–")]


def _successes(found: Found, whole: Mapping[str, Any], in_space: bool) -> Iterator[tuple[str, str]]:
    for name, of in whole.items():
        first = ours(of["editors"])
        if first is None or not of["editors"][first]["success"]:
            continue
        rows = [
            row
            for row in found.rows
            if row["edit_set"] == name and not (in_space and row["edit_kind"] in APPEARANCE)
        ]
        scene = {row["pair_id"]: row["scene_id"] for row in rows}
        mine, plain = (_by_edit(rows, editor) for editor in (first, PLAIN))
        if not mine:
            continue
        said = f"`{first}` {_share(mine, scene)}"
        if not plain:
            alone = of_what(found.about[name], f"{len(mine)} edits of `{name}`", [first])
            yield f"{said}; `{PLAIN}` {NONE}", alone
            continue
        more = {edit: share - plain[edit] for edit, share in mine.items() if edit in plain}
        ahead = interval([*more.values()], [scene[edit] for edit in more])
        ends = {"mean": ahead.mean, "low": ahead.low, "high": ahead.high}
        yield (
            f"{said}, `{PLAIN}` {_share(plain, scene)}: {points(ends)} points more",
            of_what(found.about[name], f"{len(mine)} edits of `{name}`", [first, PLAIN]),
        )


def _by_edit(rows: Sequence[Mapping[str, Any]], editor: str) -> dict[str, float]:
    """How often each edit succeeds, over copies; without those that cannot be said to the editor."""
    tried: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row["editor"] == editor and row["outcome"] != UNASKED:
            tried[row["pair_id"]].append(row["outcome"] == RIGHT)
    return {edit: float(np.mean(some)) for edit, some in sorted(tried.items())}


def _share(success: Mapping[str, float], scene: Mapping[str, str]) -> str:
    one = share_interval([*success.values()], [scene[edit] for edit in success])
    return percent({"mean": one.mean, "low": one.low, "high": one.high})


def _of_texts(bias: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "run" in bias and bias["run"]["before"] and bias["run"]["after"]:
        one = bias["run"]
        before, after = one["before"], one["after"]
        less = f"{1 - after['value'] / before['value']:.0%} less" if before["value"] > 0 else "no skew before"
        yield (
            f"skew {_skew(before)}, mended {_skew(after)}: {less}, a share without an interval",
            f"edits in words of a run, {one['mentions']} mentions of an occupation beside a gender",
        )
    if "texts" in bias:
        one = bias["texts"]
        mended = one["ways"]["mended"]
        share = mended["share"]
        yield (
            f"skew {_skew(one['before'])}, mended {_skew(mended['after'])}: {1 - share['value']:.0%} less "
            f"({1 - share['high']:.0%} to {1 - share['low']:.0%})",
            f"{one['captions']:,} composed captions with an edit each, {one['mentions']:,} mentions; by "
            "`python -m benchmarks.bias --out FILE`",
        )


def _skew(one: Mapping[str, float]) -> str:
    return f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})"


def _of_editor(bias: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "editor" not in bias:
        return
    one = bias["editor"]
    skewed, mended = (one["editors"][one[which]]["gap"] for which in ("skewed", "mended"))
    less = one["less"]
    share = "no share is bounded"
    if less["mean"] is not None:
        low, high = ("unbounded" if less[end] is None else f"{less[end]:.0%}" for end in ("low", "high"))
        share = f"{less['mean']:.0%} less ({low} to {high})"
    copies = len(one["editors"][one["mended"]]["copies"])
    yield (
        f"common edits ahead of rare ones by {points(skewed)} points, mended by {points(mended)}: {share}",
        f"{one['edits']} edits of `{one['set']}`, {one['rare_edits']} of them rare, {trainings(copies)} each",
    )


def _of_fid(found: Found) -> list[Line]:
    """FID, where there is one, and whatever other distances of sets there are, which are none."""
    from ray_jobs.evaluate_distances import edits_said, share_said

    what, promised = "FID", "at least 10% less, of 2,000 edits"
    fids: list[Line] = []
    others: list[Line] = []
    for name, evaluations in found.distances.items():
        for of in evaluations.values():
            for one in of["editors"].get(PLAIN, ()):
                held = one["nearer"]
                if held is None:
                    continue
                told = _named(one["features"])
                where = of_what(found.about[name], f"{edits_said(held)} of `{name}`", [of["first"], PLAIN])
                where += f"; the pictures of training {of['copy']}"
                nearer = f"`{of['first']}` is nearer than `{PLAIN}` by"
                if "FID" in told.values():
                    share = held["frechet"]
                    none = f"{NONE}: too few pictures for one"
                    fids.append((what, promised, f"{nearer} {share_said(share)}" if share else none, where))
                shares = [
                    f"{called} {share_said(held[key])}"
                    for key, called in told.items()
                    if held[key] and called != "FID"
                ]
                if shares:
                    said = f"{nearer} {', '.join(shares)}, as {one['features'].split()[0]} sees it"
                    others.append(("other distances of sets, which are not the FID", promised, said, where))
    return [*(fids or [(what, promised, NONE, "–")]), *others]


def _named(features: str) -> dict[str, str]:
    from ray_jobs.evaluate_distances import names

    return names(features)


def _slower(found: Found, whole: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, of in whole.items():
        first = ours(of["editors"])
        if first is None or TUNED not in of["editors"]:
            continue
        rows = [row for row in found.rows if row["edit_set"] == name and row["outcome"] != UNASKED]
        mine: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if row["editor"] == first:
                mine[row["pair_id"]].append(row["seconds"])
        groups: dict[tuple[int, str], list[tuple[float, float, float]]] = defaultdict(list)
        for row in rows:
            tuned = row.get("tuned_for")
            if row["editor"] == TUNED and tuned and not tuned.startswith(OWN) and row["pair_id"] in mine:
                seconds = row["seconds"], row["tuned_seconds"], float(np.mean(mine[row["pair_id"]]))
                groups[int(row["copy"]), tuned].append(seconds)
        if not groups or not sum(one[2] for some in groups.values() for one in some):
            continue
        edits = sum(len(some) for some in groups.values())
        yield (
            times_slower([*groups.values()], first),
            f"{of_what(found.about[name], f'{edits} edits of `{name}`', [first, TUNED])}, {len(groups)} tunings",
        )


def times_slower(groups: Sequence[Sequence[tuple[float, float, float]]], first: str) -> str:
    """groups: for each tuning its edits, each (seconds without tuning, seconds of the tuning, seconds of the first
    editor at the same edit). Intervals are by bootstrap over tunings, none for fewer than five."""
    tuning = np.array([np.mean([one[1] for one in some]) for some in groups])
    with_share = np.array([sum(one[0] for one in some) for some in groups]) + tuning
    alone = np.array([np.mean([one[0] for one in some]) for some in groups])
    other = np.array([sum(one[2] for one in some) for some in groups])
    sizes = np.array([len(some) for some in groups])
    picks = np.random.default_rng(0).integers(len(groups), size=(_DRAWS, len(groups)))

    def times(value: float, drawn: NDArray[np.float64]) -> str:
        if len(groups) < _FEWEST:
            return f"{value:.1f} times (too few tunings for an interval)"
        low, high = np.quantile(drawn, (0.025, 0.975))
        return f"{value:.1f} times ({low:.1f} to {high:.1f})"

    shared = times(with_share.sum() / other.sum(), with_share[picks].sum(1) / other[picks].sum(1))
    per_edit = other.sum() / sizes.sum()
    begun = times(np.median(tuning + alone) / per_edit, np.median((tuning + alone)[picks], axis=1) / per_edit)
    return f"an edit with its share of tuning takes {shared} as long as `{first}`'s, the first of a tuning {begun}"


def _others(found: Found, whole: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, of in whole.items():
        first = ours(of["editors"])
        there = [editor for editor in OTHERS if editor in of["editors"] and of["editors"][editor]["ahead"]]
        if first is None or not there:
            continue
        said = []
        for editor, called in OTHERS.items():
            if editor in there:
                ahead = of["editors"][editor]["ahead"]
                said.append(
                    f"`{first}` ahead of {called} by {points(ahead)} points on {ahead['edits']} edits"
                )
            elif editor != "unclip_starter":
                said.append(f"{called} {NONE}")
        yield (
            "; ".join(said),
            of_what(found.about[name], f"edits of `{name}` that both can be asked", [first, *there]),
        )


def _of_people(survey: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not survey:
        return
    one = survey["figures"]
    said = ", ".join(f"`{editor}` {score_said(scores['all'])}" for editor, scores in one["score"].items())
    counted = one["raters"] - sum(one["dropped"].values())
    yield f"human evaluation scores: {said}", f"{counted} raters that count, {one['votes']} votes"
