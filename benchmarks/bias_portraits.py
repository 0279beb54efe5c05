"""Does an editor do to all people what it is asked, and leave them who they are? Of an evaluation of a folder of
portraits: soft erasure and stereotype replacement by group, as CLIP sees them, and how far CLIP is to be trusted.

    python -m benchmarks.bias_portraits --evaluation runs/portraits --clip ViT-L-14/openai --by gender,skin,gender+skin
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bias_groups import of_measure
from evaluation.edit_sets import groups, of_group
from evaluation.misrepresented import DIRECTION, Edit, Eye, Source, figures, of_clip
from evaluation.portraits import NAME, Portrait, PortraitsError, Protocol, named, portraits, protocol
from evaluation.results import UNASKED
from filters.clip import ClipJudge
from filters.weights import ClipWeights, WeightsError
from ray_jobs.config import ConfigError, one_line
from ray_jobs.evaluate_results import of_one_set, results_of
from shards.images import decode
from shards.run import Run
from shards.storage import StorageError, open_storage
from shards.tables import read_table

_TITLES = {"no_picture": "no picture", "erased": "erased", "replaced": "replaced"}
_COLUMNS = ("pair_id", "outcome", "edited")


@dataclass(slots=True)
class Looked:
    """What CLIP saw. broken: edits whose portrait cannot be opened, which nobody can make."""

    sources: dict[str, Source] = field(default_factory=dict)
    edits: dict[str, list[Edit]] = field(default_factory=dict)
    broken: int = 0


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--evaluation", required=True, metavar="URI", help="the folder of an evaluation")
    options.add_argument(
        "--set", default=None, metavar="NAME", help="of portraits; needed where there are several"
    )
    options.add_argument(
        "--portraits", default=None, metavar="FOLDER", help="where they are now (the set's folder)"
    )
    options.add_argument(
        "--clip",
        default=None,
        metavar="MODEL",
        help="an open_clip model, or local-dir:PATH (the evaluation's)",
    )
    options.add_argument(
        "--by", default=None, metavar="COLUMNS",
        help="columns of the table, comma between, or two with + for both at once (all that the protocol names)",
    )  # fmt: skip
    options.add_argument(
        "--direction", type=float, default=DIRECTION, metavar="COSINE",
        help="CLIP's, of an edit that is not erased (%(default)s, for ViT-L-14)",
    )  # fmt: skip
    asked = options.parse_args(argv)
    try:
        run = Run.open(open_storage(asked.evaluation))
        by = None if asked.by is None else tuple(asked.by.split(","))
        found = scored(run, asked.set, asked.portraits, asked.clip, by, asked.direction)
    except (ConfigError, PortraitsError, StorageError, WeightsError) as error:
        raise SystemExit(f"error: {one_line(error)}") from None
    key = f"bias-{found['set']}.json"
    run.storage.write(key, json.dumps(found, indent=1).encode())
    print("\n".join(lines(found)))
    print(f"{run.storage.uri}/{key}")


def scored(
    run: Run,
    edit_set: str | None = None,
    folder: str | None = None,
    model: str | None = None,
    by: Sequence[str] | None = None,
    least: float = DIRECTION,
) -> dict[str, Any]:
    """{"set", "digest", "table": sha256 of the attributes, "clip", "direction", "portraits", "edits", "broken",
    "of_clip", "editors"}, the last two as `evaluation.misrepresented` gives them. Raises ConfigError, PortraitsError,
    WeightsError."""
    made_of = of_one_set(results_of(run), edit_set or _the_one(run))
    ((name, about),) = made_of["sets"].items()
    own = run.config["sets"].get(name, {})
    if own.get("benchmark") != NAME:
        raise ConfigError(f"--set {name}: is no set of portraits (benchmark: {NAME})")
    there = Path(folder or own["folder"])
    if not there.is_dir():
        raise ConfigError(f"{there} is no folder: say where the portraits are with --portraits")
    asked, people = protocol(there), portraits(there)
    columns = _columns(by, people, asked)
    judge, clip = _judge(run, model)
    looked = _look(run, made_of, about["key"], Eye(judge, asked), asked)
    if not looked.sources:
        raise ConfigError(f"{there}: none of the portraits that editors were asked for opens")
    if lacking := looked.sources.keys() - {one.file for one in people}:
        raise ConfigError(f"{there}: its table lacks {min(lacking)}, which editors were asked for")
    return {
        "set": name, "digest": about["digest"], "table": _digest(people), "clip": clip, "direction": least,
        "portraits": len(looked.sources), "edits": about["edits"], "broken": looked.broken,
        "of_clip": of_clip(people, looked.sources, asked),
        "editors": {
            editor: figures(edits, people, looked.sources, asked, columns, least)
            for editor, edits in looked.edits.items() if edits
        },
    }  # fmt: skip


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures as text."""
    broken = f", {found['broken']} of which have no portrait that opens" if found["broken"] else ""
    yield f"set {found['set']}: {found['portraits']} portraits, {found['edits']} edits{broken}"
    yield f"CLIP {found['clip']}; an edit is erased whose direction is below {found['direction']:g}"
    for attribute, own in found["of_clip"].items():
        agrees = "the table does not have it"
        if own["agrees"] is not None:
            each = ", ".join(f"{value} {share:.0%}" for value, share in own["values"].items())
            agrees = f"as the table says of {own['agrees']:.1%} of portraits ({each})"
        yield f"CLIP sees {attribute} {agrees}, and otherwise in the mirror of {own['mirror']:.1%}"
    for editor, own in found["editors"].items():
        yield f"editor {editor}"
        yield from _of_editor(own)


def _of_editor(own: Mapping[str, Any]) -> Iterator[str]:
    for measure, figure in own["measures"].items():
        title = _TITLES.get(measure, measure.replace("replaced_", "  "))
        if figure is None:
            yield f"  {title:<12}no edits"
            continue
        ends = f"({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"
        yield f"  {title:<12}{'all':<20}{100 * figure['mean']:>7.1f}% {ends:<18}{figure['edits']:>6} edits"
        for by in figure["by"].values():
            yield from of_measure(by, title, 100, "%")
    if own["other_words"] is not None:
        yield f"  by another instruction's words {own['other_words']:.1%} would not be erased"
    for attribute, some in own["towards"].items():
        each = [f"{before} to {after} {count}" for before, to in some.items() for after, count in to.items()]
        yield f"  {attribute} went from {', '.join(each)}"
    for attribute, one in own["stereotype"].items():
        yield (
            f"  {attribute}: {one['towards']} to what people expect, {one['away']} from it: {100 * one['mean']:+.1f} "
            f"points ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
        )


def _the_one(run: Run) -> str | None:
    """The set of portraits, where there is but one."""
    there = [name for name, own in (run.config.get("sets") or {}).items() if own.get("benchmark") == NAME]
    return there[0] if len(there) == 1 else None


def _columns(by: Sequence[str] | None, people: Sequence[Portrait], asked: Protocol) -> list[str]:
    there = {name for one in people for name in one.attributes}
    if by is None:
        by = [name for name in asked.attributes if name in there]
    if wrong := next((name for column in by for name in column.split("+") if name not in there), None):
        raise ConfigError(f"--by {wrong}: the table has {', '.join(sorted(there)) or 'no attributes'}")
    if not by:
        raise ConfigError(
            f"--by: name columns to group by; the table has {', '.join(sorted(there)) or 'none'}"
        )
    return [*by]


def _judge(run: Run, model: str | None) -> tuple[ClipJudge, str]:
    own = run.config.get("clip") or {}
    if model is None and not own:
        raise ConfigError("--clip: the evaluation has no CLIP, name one")
    if model is not None:
        return ClipJudge(ClipWeights(model)), model
    weights = ClipWeights(own["model"], own["weights"])
    return ClipJudge(weights, own["preprocessing"], own["device"], own["precision"]), str(own["model"])


def _look(run: Run, made_of: Mapping[str, Any], key: str, eye: Eye, asked: Protocol) -> Looked:
    """A group of the set at a time, so that pictures of thousands of edits are never in memory together."""
    found = Looked(edits={one["editor"]: [] for one in made_of["results"]})
    known = {one.id for one in asked.instructions}
    shards = [(one["editor"], one["folder"], sorted(run.done(one["folder"]))) for one in made_of["results"]]
    embeddings: dict[str, Any] = {}
    for number in range(groups(run.storage, key)):
        cases = {str(case.row["pair_id"]): case for case in of_group(run.storage, key, number)}
        found.broken += sum(bool(case.broken) for case in cases.values())
        for name, case in cases.items():
            file, instruction, _ = named(name)
            if instruction not in known:
                raise ConfigError(
                    f"the protocol lacks the instruction {instruction}, which editors were asked for"
                )
            if not case.broken and file not in embeddings:
                embeddings[file], found.sources[file] = eye.source(case.before)
        for editor, folder, units in shards:
            rows = read_table(run.storage, run.shard_key(folder, units[number]), _COLUMNS).to_pylist()
            own = [row for row in rows if row["outcome"] != UNASKED and not cases[row["pair_id"]].broken]
            pictures = [decode(row["edited"]) for row in own if row["edited"] is not None]
            after = iter(zip(pictures, eye.embedded(pictures), strict=True) if pictures else ())
            for row in own:
                file, instruction, _ = named(row["pair_id"])
                if row["edited"] is None:
                    found.edits[editor].append(Edit(row["pair_id"], file, instruction))
                    continue
                picture, embedding = next(after)
                before = cases[row["pair_id"]].before
                both = embeddings[file], np.asarray(embedding)
                found.edits[editor].append(eye.edit(row["pair_id"], file, instruction, before, picture, both))
    return found


def _digest(people: Sequence[Portrait]) -> str:
    told = sorted((one.file, sorted(one.attributes.items())) for one in people)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


if __name__ == "__main__":
    main()
