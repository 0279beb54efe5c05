"""The sections of docs/results.md, and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation import table
from evaluation.spatial import NAMED
from scripts.results_files import Found, digest_of, made_by, of_what

PICTURE = "edits.jpg"
BOUNDS = ("decoded", "oracle", "identity")
THEIRS = (
    "plain",
    "canonical",
    "appearance",
    "sdedit",
    "diffusionclip",
    "unclip_starter",
)  # what ours is held against
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
    "diffusionclip": "DiffusionCLIP, tuned for each transformation",
    "unclip_starter": "unCLIP on the starter model, by captions; not DALL-E 2",
    "decoded": "the true picture through the autoencoder",
    "oracle": "the true picture",
    "identity": "the picture as it was",
}
_ABLATION = "ab_"
# Editors that differ in their parts alone, in the order of the design; the first is what all others are held against.
ABLATIONS = {
    "ab_plain": "InstructPix2Pix's form, no spatial layer",
    "ab_tokens": "spatial tokens alone",
    "ab_grounding": "tokens and grounding",
    "ab_read": "and the warped read, with landing",
    "ab_full": "and pasting: all parts",
    "ab_canonical": "the plain form, words as one English wording per meaning",
    "ab_shuffled": "all parts, steps of other examples' words",
    "ab_appearance": "the plain form, edits of appearance alone",
}
_SLIM = (
    "pair_id", "scene_id", "edit_kind", "language", "edit_set", "editor", "copy", "judged", "outcome", "reason",
    "within", "seconds", "memory_mb", "price",
)  # fmt: skip


def is_ablation(editor: str) -> bool:
    return editor.startswith(_ABLATION)


def ordered(there: set[str], known: Mapping[str, str]) -> list[str]:
    """As they are known, then all others by name, bounds last."""
    first = [name for name in known if name in there and name not in BOUNDS]
    return [*first, *sorted(there - known.keys()), *(name for name in BOUNDS if name in there)]


def ours(editors: Mapping[str, Any]) -> str | None:
    """The editor of which the promises are: the first, unless that is one of those that it is held against."""
    first = next(iter(editors), None)
    return None if first in (*BOUNDS, *THEIRS) else first


def percent(found: Mapping[str, Any]) -> str:
    """A share and its interval."""
    return f"{found['mean']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def points(found: Mapping[str, Any]) -> str:
    return f"{100 * found['mean']:.1f} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def section_of_set(name: str, found: Mapping[str, Any], all_found: Found) -> list[str]:
    """A set's paragraphs. found: of a `table.summary`."""
    of_set = {editor: of for editor, of in all_found.about[name].items() if editor in found["editors"]}
    oracle = next(iter(next(iter(of_set.values())).values()))["oracle"]
    said = (
        f" Before any was left out for that, the reader found {oracle or 0:.1%} of the true pictures right."
    )
    right = "" if oracle is None else said
    made = made_by(of_set)
    parts = [
        f"## Edits of the set `{name}`",
        f"{found['edits']} edits, sha256 {digest_of(of_set)[:16]}.{right} Shares of edits that succeed as "
        f"[evaluate.md](evaluate.md) defines it, a named thing within {NAMED:.0%} of the width; intervals are of "
        "95%, by bootstrap over scenes, trainings with other seeds averaged edit by edit and each printed; p by "
        "flips of signs, scene by scene, of kinds corrected for how many there are (Holm).",
    ]
    tables = {
        "": _editors(found["editors"], found["common"]),
        "### By kind of edit": _shares(found["editors"], "kinds", "kind"),
        "### By language": _shares(found["editors"], "languages", "language"),
        "### How far the first is ahead, kind by kind": _ahead(found["editors"]),
        "### Why edits are wrong": _reasons(found["editors"]),
    }
    for title, lines in tables.items():
        parts += [*([title] if title else []), "\n".join(lines), made]
    tuned = {editor: table.tuning_said(figures) for editor, figures in found["editors"].items()}
    if any(tuned.values()):
        said = "\n".join(f"- `{editor}`: {one}." for editor, one in tuned.items() if one)
        parts += ["### What tuning costs", said, made]
    if name in all_found.distances:
        parts += [
            "### How far the pictures are from the true ones, as sets",
            "Only what Inception-v3 sees is the FID, or the KID of the literature.",
            "\n".join(_distances(all_found.distances[name])),
            made,
        ]
    return parts


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


def ablations(all_found: Found) -> list[str]:
    """The section of editors that differ in their parts alone, a table for each set; nothing where there are none."""
    rows = [{name: row[name] for name in _SLIM} for row in all_found.rows if is_ablation(row["editor"])]
    if not rows:
        return []
    parts = [
        "## Ablations",
        "Editors that are held against one another alone: each has a part more than the one above it, or one thing "
        "that is other. They do not stand in the tables of other editors, and may be asked for fewer edits. What one "
        "is ahead by is in points, on the edits that it and `ab_plain` were both asked for, with 95% by bootstrap over "
        "scenes; p by flips of signs.",
    ]
    for name, found in table.summary(rows, ordered({row["editor"] for row in rows}, ABLATIONS)).items():
        of_set = {editor: of for editor, of in all_found.about[name].items() if editor in found["editors"]}
        edits = f"{found['edits']} edits"
        parts += [
            f"### Ablations on the set `{name}`",
            f"{of_what(of_set, edits, [*of_set])}; sha256 {digest_of(of_set)[:16]}.",
            "\n".join(_ablations(found["editors"])),
            made_by(of_set),
        ]
    return parts


def _ablations(editors: Mapping[str, Any]) -> Iterator[str]:
    yield "| editor | | asked | failed | right | 95% | each training | ahead of `ab_plain` by | p |"
    yield "|---|---|---|---|---|---|---|---|---|"
    first = next(iter(ABLATIONS))
    for name, found in editors.items():
        success, behind = found["success"], found["ahead"]
        ahead, p = ("–", "–") if name == first else ("not measured", "")
        if behind and first in editors:  # of the first over this one; here it is the other way round
            ahead = points({"mean": 0 - behind["mean"], "low": 0 - behind["high"], "high": 0 - behind["low"]})
            p = f"{behind['p']:.4f}"
        cells = (
            f"`{name}`", ABLATIONS.get(name, ""), f"{found['asked']}", f"{sum(found['failed'].values())}",
            f"{success['mean']:.1%}" if success else "not measured",
            f"{success['low']:.1%} to {success['high']:.1%}" if success else "",
            ", ".join(f"{share:.1%}" for share in found["copies"]), ahead, p,
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def _distances(evaluations: Mapping[str, Any]) -> Iterator[str]:
    """One line for each evaluation, editor and extractor. evaluations: of a set, as in `Found`."""
    from ray_jobs.evaluate_distances import edits_said, names, share_said

    yield "| editor | training | seen by | distances | pictures | another is nearer by | of how many |"
    yield "|---|---|---|---|---|---|---|"
    for of in evaluations.values():
        for editor, entries in of["editors"].items():
            for one in entries:
                called, held = names(one["features"]), one["nearer"]
                parts = []
                for key, name in called.items():
                    value = one[key]
                    if key == "frechet":
                        parts.append(
                            f"{name} " + ("of too few pictures" if value is None else f"{value:.2f}")
                        )
                    elif value is not None:
                        parts.append(
                            f"{name} {value['mean']:.4f} ({value['low']:.4f} to {value['high']:.4f})"
                        )
                shares = (
                    [f"{name} {share_said(held[key])}" for key, name in called.items() if held[key]]
                    if held
                    else []
                )
                cells = (
                    f"`{editor}`", f"{of['copy']}", one["features"], ", ".join(parts), f"{one['pictures']:,}",
                    f"`{of['first']}`: {', '.join(shares)}" if shares else "–", edits_said(held) if held else "–",
                )  # fmt: skip
                yield "| " + " | ".join(cells) + " |"


def picture(beside: Path) -> list[str]:
    """The section of edits as they came; nothing where nobody made the picture. beside: the folder of the page."""
    if not (beside / PICTURE).exists():
        return []
    return [
        "## Edits as they came",
        f"![Edits of the test set by the starter editor, the first right and the first wrong of each kind]({PICTURE})",
        "Edits of the test set by the starter editor: before, made, as it should be; of each kind the first that is "
        "right and the first that is wrong, by name. Made by `python -m scripts.edits_picture --evaluation RUN`.",
    ]


def skew_of_editors(found: Mapping[str, Any]) -> list[str]:
    """The section of editors taught by skewed and by mended data. found: `Found.bias`; nothing where it has none."""
    if "editor" not in found:
        return []
    one = found["editor"]
    lines = ["| editor | common | rare | gap, points | each training |", "|---|---|---|---|---|"]
    for name, own in one["editors"].items():
        each = ", ".join(f"{100 * gap:+.1f}" for gap in own["copies"])
        lines.append(
            f"| `{name}` | {own['common']:.1%} | {own['rare']:.1%} | {points(own['gap'])} | {each} |"
        )
    return [
        "## What a skew of the data does to an editor",
        f"{one['edits']} edits of the set `{one['set']}` (sha256 {one['digest'][:16]}), {one['rare_edits']} of which "
        f"ask for what the skewed set has little of (`{one['column']}`: {', '.join(one['rare'])}).",
        "\n".join(lines),
        f"The gap of `{one['mended']}` is smaller by {points(one['narrower'])} points.",
        f"Made by `python -m benchmarks.bias_editor --evaluation RUN --skewed {one['skewed']} --mended {one['mended']} "
        f"--column {one['column']} --rare {','.join(one['rare'])} --out FILE`, then `python -m scripts.results_page "
        "--bias FILE`.",
    ]


def survey(found: Mapping[str, Any]) -> list[str]:
    """The section of what people said. found: `Found.survey`; nothing where it is empty."""
    if not found:
        return []
    one, of = found["figures"], found["of"]
    asked = (
        f" They were asked about {of['edits']} edits of the set `{of['set']}`, sha256 {of['digest'][:16]}."
        if of
        else ""
    )
    dropped = ", ".join(f"{number} {why.replace('_', ' ')}" for why, number in one["dropped"].items())
    languages = ", ".join(f"{name} {number}" for name, number in one["languages"].items())
    alphas = ", ".join(f"{key} {_or_none(alpha, '.2f')}" for key, alpha in one["alpha"].items())
    keys = [*one["alpha"], "all"]
    lines = ["| editor | " + " | ".join(keys) + " | ranks |", "|---|" + "---|" * (len(keys) + 1)]
    for editor, scores in one["score"].items():
        ranks = ", ".join(
            f"{key} {_or_none(of_all[editor]['rank'] if editor in of_all else None, 'd')}"
            for key, of_all in one["strength"].items()
        )
        lines.append(
            f"| `{editor}` | "
            + " | ".join(score_said(scores[key]) for key in keys)
            + f" | {ranks or 'none'} |"
        )
    return [
        "## What people said",
        f"{one['raters']} raters, {one['votes']} votes that count, by language {languages or 'none'}; left out: "
        f"{dropped or 'nobody'}.{asked} Human evaluation scores, 0 to 100, with 95% by bootstrap over raters, and "
        f"ranks of choices (Bradley and Terry). Agreement, Krippendorff's alpha: {alphas}.",
        "\n".join(lines),
        "Made by `python -m ray_jobs evaluate --survey RUN`, then `python -m scripts.results_page --survey "
        "RUN/survey-results.json`.",
    ]


def score_said(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "not rated"
    if score["low"] is None:
        return f"{score['mean']:.1f} (too few raters for an interval)"
    return f"{score['mean']:.1f} ({score['low']:.1f} to {score['high']:.1f})"


def _or_none(value: float | None, form: str) -> str:
    return "none" if value is None else f"{value:{form}}"
