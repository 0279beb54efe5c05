"""docs/results.md, from the rows of evaluations:

    python -m scripts.results_page --add runs/evaluation --copy 1   # takes in what an evaluation left
    python -m scripts.results_page --survey runs/evaluation/survey-results.json
    python -m scripts.results_page --bias runs/bias.json   # of benchmarks.bias_editor or benchmarks.bias, or a report
    python -m scripts.results_page                                  # writes the page anew

Trainings of one editor with other seeds may be evaluated in several runs: each is a copy. What is taken in are the rows
without pictures (`benchmarks/results/edits.parquet`), what they are of (`about.json`, beside it), the distances of sets
of pictures that the evaluation's report has (`distances.json`), what people said (`survey.json`) and what skews of the
data do (`bias.json`); what is said of them by hand is in `notes.md` there. Editors whose names begin with `ab_` are
ablations, in a section of their own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation import table
from evaluation.edit_sets import of_group
from evaluation.results import RESULTS
from ray_jobs.config import ConfigError
from ray_jobs.evaluate_results import results_of
from scripts.results_files import (
    ABOUT,
    BIAS,
    DISTANCES,
    ROWS,
    SURVEY,
    Json,
    digest_of,
    hold_together,
    read,
    read_json,
)
from scripts.results_parts import (
    EDITORS,
    ablations,
    is_ablation,
    ordered,
    picture,
    section_of_set,
    skew_of_editors,
    survey,
)
from scripts.results_promised import promises
from shards.run import Run
from shards.storage import NotFound, open_storage
from shards.tables import from_rows, read_table

FOLDER, PAGE = Path("benchmarks/results"), Path("docs/results.md")
_KEPT = pa.schema([RESULTS.field(name) for name in (*table.COLUMNS, "off", "kept_share")])
_BY_HAND = "What figures do not say"
_STARTER = ("models", "starter", "weights", "reader")  # it reads one world


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--add", metavar="URI", help="the folder of an evaluation")
    options.add_argument("--copy", type=_counted, default=1, help="which training of each editor it was of")
    options.add_argument(
        "--config", type=_named, default=None, metavar="FILE",
        help="what the evaluation was asked with, as the page is to name it",
    )  # fmt: skip
    options.add_argument(
        "--survey",
        type=Path,
        default=None,
        metavar="FILE",
        help="survey-results.json of an evaluation's folder",
    )
    options.add_argument(
        "--bias", type=Path, default=None, metavar="FILE",
        help="of benchmarks.bias_editor or benchmarks.bias, or report.json of a run with edits in words",
    )  # fmt: skip
    options.add_argument("--results", type=Path, default=FOLDER)
    options.add_argument("--page", type=Path, default=PAGE)
    arguments = options.parse_args(argv)
    if arguments.config is not None and arguments.add is None:
        options.error("--config is of what --add takes in")
    if arguments.add is not None:
        run = Run.open(open_storage(arguments.add))
        added = add(run, arguments.results, arguments.copy, arguments.config)
        print(f"{added} rows are in {arguments.results / ROWS} now")
    if arguments.survey is not None:
        take_survey(arguments.survey, arguments.results)
    if arguments.bias is not None:
        take_bias(arguments.bias, arguments.results)
    arguments.page.write_text(page(arguments.results, arguments.page.parent))
    print(f"written: {arguments.page}")


def _counted(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _named(text: str) -> str:
    if Path(text).is_absolute() or "`" in text:
        raise argparse.ArgumentTypeError(f"{text} is to be named from the folder of the project on")
    return Path(text).as_posix()


def add(run: Run, results: Path, copy: int, config: str | None = None) -> int:
    """How many rows there are now. Rows of the same set, editor and copy are replaced. copy: 1 and more; of the same
    model there is one copy, whatever is said. config: the file that it was asked with. Raises SystemExit, before
    anything is written, for what is not done, or cannot stand beside what is there."""
    try:
        made_of = results_of(run)
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    is_new = not (results / ROWS).exists()
    sets, about = made_of["sets"], {} if is_new else read_json(results / ABOUT)
    seen = {
        name: _seen(run, frozen) | ({"config": config} if config else {}) for name, frozen in sets.items()
    }
    distances = _distances(run, sets)
    rows: list[dict[str, Any]] = []
    for one in made_of["results"]:
        of_editor = about.setdefault(one["set"], {}).setdefault(one["editor"], {})
        same = [number for number, known in of_editor.items() if known["model"] == one["model"]]
        number = int(same[0]) if same else copy + one["copy"] if one["model"] else 1
        frozen = sets[one["set"]]
        of_editor[str(number)] = {name: frozen[name] for name in ("digest", "edits", "oracle")} | {
            "model": one["model"], "rules": made_of["rules"], **seen[one["set"]],
        }  # fmt: skip
        if one["set"] in distances and one["editor"] == distances[one["set"]]["first"] and one["copy"] == 0:
            distances[one["set"]]["copy"] = number
        for unit in sorted(run.done(one["folder"])):
            some = read_table(run.storage, run.shard_key(one["folder"], unit), _KEPT.names).to_pylist()
            rows += [row | {"copy": number} for row in some]
    new = {(row["edit_set"], row["editor"], row["copy"]) for row in rows}
    if not is_new:
        old = pq.read_table(results / ROWS).to_pylist()
        rows += [row for row in old if (row["edit_set"], row["editor"], row["copy"]) not in new]
    hold_together(about)  # before anything is written: what cannot be one table is not taken in
    known = {} if is_new else read_json(results / DISTANCES)
    for name, found in distances.items():
        of_set = {
            key: one for key, one in known.get(name, {}).items() if one["digest"] == digest_of(about[name])
        }
        known[name] = of_set | {f"{run.id}-{found['copy']}": found}
    rows.sort(key=lambda row: (row["edit_set"], row["editor"], row["copy"], row["pair_id"]))
    results.mkdir(parents=True, exist_ok=True)
    pq.write_table(from_rows(rows, _KEPT), results / ROWS, compression="zstd", compression_level=19)
    _write(results / ABOUT, about)
    if known:
        _write(results / DISTANCES, known, sort=False)  # the order of editors says which is the first
    else:
        (results / DISTANCES).unlink(missing_ok=True)
    return len(rows)


def _seen(run: Run, frozen: Mapping[str, Any]) -> Json:
    """Of a set what its pictures are: "px", the longer side, where all of the first group have the same, and "world",
    where the reader that judges it knows but one."""
    sides = {
        max(case.before.shape[:2]) for case in of_group(run.storage, frozen["key"], 0) if not case.broken
    }
    found: Json = {"px": sides.pop()} if len(sides) == 1 else {}
    if frozen["oracle"] is not None and Path(run.config.get("reader", "")).parts[-4:] == _STARTER:
        found["world"] = "starter world"
    return found


def _distances(run: Run, sets: Mapping[str, Any]) -> Json:
    """Of the sets whose pictures the report of the evaluation compares with the true ones, as in `Found`, but for the
    copy. Raises SystemExit where the report is not of these results."""
    try:
        report = json.loads(run.storage.read("report.json"))
    except NotFound:
        return {}
    found: Json = {}
    for name, of in report["sets"].items():
        editors = {editor: figures.get("distances") for editor, figures in of["editors"].items()}
        if not any(editors.values()):
            continue
        if name not in sets or of["digest"] != sets[name]["digest"]:
            raise SystemExit(
                f"{run.storage.uri}/report.json is of another set {name}: submit 'evaluate' again"
            )
        found[name] = {
            "digest": of["digest"], "edits": of["edits"], "copy": 1, "first": next(iter(editors)),
            "editors": {editor: entries for editor, entries in editors.items() if entries},
        }  # fmt: skip
    return found


def take_survey(file: Path, results: Path) -> None:
    """Keeps what `evaluate --survey` wrote, with what it is of where that lies beside it. Raises SystemExit."""
    figures = _of_file(file)
    if not {"raters", "dropped", "votes", "languages", "score", "strength", "alpha"} <= figures.keys():
        raise SystemExit(f"{file} is not what 'evaluate --survey' leaves, survey-results.json")
    from ray_jobs.survey_files import FILE

    of: Json = {}
    if asked := read_json(file.parent / FILE):
        frozen = read_json((file.parent / asked["key"]).with_suffix(".json"))
        if "digest" in frozen:
            of = {"set": asked["set"], "digest": frozen["digest"], "edits": len(asked["entries"])}
    results.mkdir(parents=True, exist_ok=True)
    _write(results / SURVEY, {"figures": figures, "of": of}, sort=False)


def take_bias(file: Path, results: Path) -> None:
    """Keeps figures of bias, beside those of other kinds that are there. Raises SystemExit."""
    found = _of_file(file)
    what = found.get("what")
    if what not in ("editor", "texts"):
        what, report = "run", found
        found = (report.get("text") or {}).get("bias") or {}
        if not {"before", "after", "mentions"} <= found.keys():
            raise SystemExit(
                f"{file} is neither of benchmarks.bias_editor or benchmarks.bias (--out) nor the report.json of a run "
                "with edits in words"
            )
    results.mkdir(parents=True, exist_ok=True)
    _write(results / BIAS, read_json(results / BIAS) | {what: found}, sort=False)


def _of_file(file: Path) -> Json:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise SystemExit(f"{file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise SystemExit(f"{file} holds no figures")
    return found


def _write(path: Path, found: Json, sort: bool = True) -> None:
    path.write_text(json.dumps(found, indent=1, sort_keys=sort) + "\n")


def page(results: Path, beside: Path = PAGE.parent) -> str:
    """The page as Markdown. beside: the folder that it is to lie in, with its picture. Raises SystemExit where there
    is nothing to make it of."""
    found = read(results)
    rows = [row for row in found.rows if not is_ablation(row["editor"])]
    whole = table.summary(rows, ordered({row["editor"] for row in rows}, EDITORS)) if rows else {}
    parts = [
        "# Results",
        "Made by `python -m scripts.results_page` of the files in `benchmarks/results`. By hand is only what stands "
        f'under "{_BY_HAND}". How it is measured: [evaluate.md](evaluate.md).',
        *promises(found, whole),
        f"## {_BY_HAND}",
        found.notes,
        *picture(beside),
    ]
    for name, one in whole.items():
        parts += section_of_set(name, one, found)
    parts += [*ablations(found), *skew_of_editors(found.bias), *survey(found.survey)]
    if said := table.no_lpips(whole):
        parts.append(f"{said}.")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
