"""`evaluate`: editors against sets of edits, on Ray, to a row for each edit, a table and a page.

A set is chosen and frozen first, under `sets/`: which edits the reader can judge is asked of the true pictures, before
any editor runs. Then each editor's units are stages like all others: what is committed is not asked again, and the same
command goes on where it stopped. Results lie in one folder for each set, editor and copy, as `results.json` says.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.rules import CHOOSING, JUDGING, rules
from ray_jobs.config import ConfigError, check, one_line, overridden, read_yaml
from ray_jobs.config_evaluate import (
    AnyEditor,
    Decoded,
    DiffusionClip,
    EditSet,
    EvaluateConfig,
    Hosted,
    Trained,
    UnClip,
)
from ray_jobs.job import DONE, parser, run_job

if TYPE_CHECKING:
    from evaluation.trials import Case
    from filters.reader import Reader
    from ray_jobs.recipes import Route
    from ray_jobs.worker import Failure
    from shards.run import Run
    from spatial.templates import Chosen

STAGE = "evaluation.stage:EditAndMeasure"
MADE_OF = "results.json"  # which sets, editors and folders the results are of
# Where and how fast it goes is no part of what it is; sets and editors may become more.
_EXECUTION = ("out", "pool", "limits")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A set as it lies in the run. key: of its file. digest: `evaluation.trials.digest`. looked_at: edits of the
    dataset; edits: those that count."""

    name: str
    key: str
    digest: str
    edits: int
    looked_at: int


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(
        "evaluate", "Try editors on sets of edits. Submit the same command again to go on where it stopped."
    )
    what = options.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="a YAML file; see docs/evaluate.md")
    what.add_argument(
        "--survey", metavar="URI", help="an evaluation's folder: say what the votes of people come to"
    )
    options.add_argument("--votes", metavar="URL", help="with --survey: the database (a file in the folder)")
    options.add_argument("--out", metavar="URI", help="where results go: a path or s3://bucket/prefix")
    options.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override a key of the configuration"
    )
    options.add_argument("--steal", action="store_true", help="take over from a job that holds the folder")
    options.add_argument(
        "--spend", type=float, default=0.0, metavar="SUM", help="what hosted editors may cost in all"
    )
    arguments = options.parse_args(argv)
    return run_job("evaluate", _work if arguments.survey is None else _survey, arguments)


def _survey(arguments: argparse.Namespace) -> int:
    from ray_jobs.survey_results import write
    from shards.run import Run
    from shards.storage import open_storage

    print(write(Run.open(open_storage(arguments.survey)), arguments.votes))
    return DONE


def _work(arguments: argparse.Namespace) -> int:
    from ray_jobs import driver, evaluate_page
    from ray_jobs.progress import Counted, Progress, duration
    from shards.lease import Lease
    from shards.run import Run
    from shards.storage import open_storage

    values = overridden(read_yaml(Path(arguments.config)), arguments.set)
    if arguments.out is not None:
        values["out"] = arguments.out
    config = _anywhere(check(EvaluateConfig, values, arguments.config))
    began, storage = time.monotonic(), open_storage(config.out)
    with Lease(storage).acquire(steal=arguments.steal) as lease:
        described = config.model_dump(mode="json", exclude=set(_EXECUTION))
        about = {"execution": config.model_dump(mode="json", include=set(_EXECUTION))}
        run = Run.create_or_open(storage, described, about, {"seed": config.seed})
        sets = [_frozen(run, name, asked, config) for name, asked in config.sets.items()]
        for one in sets:
            print(
                f"set {one.name}: {one.edits} of {one.looked_at} edits can be judged, sha256 {one.digest[:16]}"
            )
        plan = routes(config, sets)
        hold_to_budget(run, config, plan, arguments.spend)
        counted = Counted("edits", "right", ("wrong", "failed"), ("right", "wrong", "failed"))
        failures: list[Failure] = []
        missing = 0
        for route in plan:
            print(f"{route.name}: {len(route.units)} units", flush=True)
            with Progress(len(route.units), "edits", run.append_reports, counted=counted) as progress:
                outcome = driver.run(route.units, route.stages, run, config.limits, progress, lost=lease.lost)
            failures += outcome.failures.values()
            missing += outcome.missing
            run.set_current({route.name: route.folders})
        run.storage.write(MADE_OF, json.dumps(made_of(sets, plan, missing), indent=1).encode())
        folders = {route.name: route.folders["edits"] for route in plan}
        report = evaluate_page.write(run, config, sets, folders, missing)
        print("\n" + table(report))
        print(
            f"{'failed' if missing else 'done'} in {duration(time.monotonic() - began)}: {storage.uri}/report.html"
        )
    if missing:
        said = f", for example: {failures[0].message}" if failures else ""
        raise driver.RunFailed(f"{missing} units are missing{said}; submit the same command again to go on")
    return DONE


def made_of(sets: Sequence[Frozen], plan: Sequence[Route], missing: int) -> dict[str, Any]:
    """What readers of results are told: {"sets": by name, "results": [{"set", "editor", "copy", "folder"}], "missing":
    units}."""
    results = []
    for route in plan:
        of = route.stages[0].settings
        which = {"set": of["set"]["name"], "editor": of["editor"]["name"], "copy": of["copy"]}
        results.append(which | {"folder": route.folders["edits"]})
    return {"sets": {one.name: asdict(one) for one in sets}, "results": results, "missing": missing}


def hold_to_budget(run: Run, config: EvaluateConfig, plan: Sequence[Route], spend: float) -> None:
    """What is left to be asked of hosted editors is said, and refused if it costs more, with what was asked before.
    Raises ConfigError."""
    total = 0.0
    for name, editor in config.editors.items():
        if not isinstance(editor, Hosted):
            continue
        own = [route for route in plan if route.stages[0].settings["editor"]["name"] == name]
        done = {route.name: run.done(route.folders["edits"]) for route in own}
        left = sum(unit.id not in done[route.name] for route in own for unit in route.units) * config.unit
        before = sum(len(units) for units in done.values()) * config.unit
        total += (left + before) * editor.price
        asked = f", and {before} were asked before" if before else ""
        print(f"editor {name}: up to {left} edits at {editor.price:g} each: {left * editor.price:.2f}{asked}")
    if total > spend:
        most = math.ceil(100 * total - 1e-9) / 100
        raise ConfigError(
            f"--spend: hosted editors cost up to {most:.2f} in all, and {spend:.2f} may be spent: allow it with "
            f"--spend {most:.2f}, or take a smaller set"
        )


def _anywhere(config: EvaluateConfig) -> EvaluateConfig:
    """Paths of this machine in full: workers have folders of their own. Raises ConfigError for what is not there."""
    reader = Path(config.reader)
    if not (reader / "config.json").is_file():
        raise ConfigError(f"reader: {reader} holds no reader (config.json)")
    editors: dict[str, AnyEditor] = {}
    for name, editor in config.editors.items():
        editors[name] = editor
        if isinstance(editor, Decoded):
            model = _model(f"editors.{name}.model", editor.model)
            editors[name] = editor.model_copy(update={"model": model})
        if isinstance(editor, Trained):
            models = tuple(_model(f"editors.{name}.models", model) for model in editor.models)
            editors[name] = editor.model_copy(update={"models": models})
    return config.model_copy(update={"reader": str(reader.resolve()), "editors": editors})


def _model(key: str, model: str) -> str:
    folder = Path(model)
    if folder.is_dir():
        return str(folder.resolve())
    if folder.is_absolute() or model.startswith(".") or model.count("/") != 1:
        raise ConfigError(f"{key}: {model} is neither a folder nor a name on the Hub (owner/name)")
    return model


def _frozen(run: Run, name: str, asked: EditSet, config: EvaluateConfig) -> Frozen:
    """The set, chosen once: the same settings, data and reader find it again. Raises ConfigError, StorageError."""
    from evaluation.edit_sets import written
    from evaluation.trials import digest
    from filters.reader import Reader
    from shards.dataset import open_dataset
    from shards.fingerprint import fingerprint
    from shards.storage import NotFound

    made_of = fingerprint(
        {
            **asked.model_dump(mode="json", exclude={"dataset", "folder", "digest"}), "unit": config.unit,
            "source": open_dataset(asked.dataset).manifest.sha256 if asked.dataset else _listing(asked.folder or ""),
            "reader": identity(config.reader), "rules": rules(CHOOSING),
        }
    )  # fmt: skip
    note = f"sets/{name}-{made_of[:8]}.json"
    try:
        found = Frozen(**json.loads(run.storage.read(note)))
    except NotFound:
        chosen, looked_at = _chosen(name, asked, Reader.load(config.reader))
        if not chosen:
            raise ConfigError(
                f"sets.{name}: none of the {looked_at} edits of split {asked.split!r} can be judged"
            ) from None
        found = Frozen(name, f"sets/{name}-{made_of[:8]}.parquet", digest(chosen), len(chosen), looked_at)
        run.storage.write(found.key, written(chosen, config.unit))
        run.storage.write(note, json.dumps(asdict(found), indent=1).encode())
    if asked.digest is not None and not found.digest.startswith(asked.digest):
        raise ConfigError(
            f"sets.{name}.digest: the set is {found.digest[:16]}, not {asked.digest[:16]}: other data, words or reader "
            "than it was frozen with"
        )
    return found


def _chosen(name: str, asked: EditSet, reader: Reader) -> tuple[list[Case], int]:
    """The edits that count, and how many were looked at. Raises ConfigError for a picture that is broken."""
    from evaluation.benchmarks import BenchmarkError, edits
    from evaluation.edit_sets import of_each
    from evaluation.paraphrases import paraphrases
    from evaluation.trials import cases, judgeable, worded
    from shards.dataset import open_dataset

    if asked.benchmark is not None:
        try:
            there = list(edits(asked.benchmark, asked.folder or "", asked.side))
        except BenchmarkError as error:
            raise ConfigError(f"sets.{name}: {one_line(error)}") from None
        return of_each(there, asked.most), len(there)
    held: Chosen = "held_out" if asked.words == "withheld" else "all"
    try:
        there = list(cases(open_dataset(asked.dataset or ""), asked.split, held))
    except ValueError as error:
        raise ConfigError(f"sets.{name}: {one_line(error)}") from None
    chosen = judgeable(there, reader)
    if asked.words == "free":
        chosen = worded(chosen, [(one.pair_id, one.language, one.text) for one in paraphrases()])
    elif asked.words == "canonical":
        chosen = [_canonical(case) for case in chosen]
    return of_each(chosen, asked.most), len(there)


def _canonical(case: Case) -> Case:
    """What is understood is English then."""
    from evaluation.trials import Case
    from trainer.words import canonical_text

    text = canonical_text(case.text)
    row = case.row if text == case.text else {**case.row, "language": "en"}
    return Case(row, text, case.before, case.truth, case.yaws)


def _listing(folder: str) -> str:
    """Of a benchmark's folder: names and sizes of all that is in it."""
    total = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    return total.hexdigest()


def routes(config: EvaluateConfig, sets: Sequence[Frozen]) -> list[Route]:
    """One for each set, editor and copy. Raises ConfigError."""
    from ray_jobs.recipes import Route
    from ray_jobs.worker import StageSpec
    from shards.fingerprint import fingerprint
    from shards.run import Run
    from shards.units import Unit

    clip = None if config.clip is None else config.clip.model_dump(mode="json") | {"identity": _clip(config)}
    version = _version()
    found = []
    for one in sets:
        for name, editor in config.editors.items():
            own = (editor.model,) if isinstance(editor, Decoded) else ("",)
            copies = editor.models if isinstance(editor, Trained) else own
            for copy, model in enumerate(copies):
                about = editor.model_dump(mode="json") | {"name": name}
                settings = {
                    "set": {"name": one.name, "key": one.key}, "editor": about, "copy": copy, "batch": config.batch,
                    "seed": config.seed, "reader": config.reader, "clip": clip,
                }  # fmt: skip
                judged_by = None
                if clip is not None:
                    judged_by = [clip[key] for key in ("identity", "preprocessing", "precision")]
                shaping = {
                    "stage": "edits", "version": version, "set": [one.name, one.digest], "unit": config.unit,
                    "editor": {k: v for k, v in about.items() if k not in ("models", "model", "device")}, "copy": copy,
                    "model": identity(model) if model else "", "seed": config.seed, "batch": config.batch,
                    "reader": identity(config.reader), "clip": judged_by, "rules": rules(JUDGING),
                    "stands_on": _stands_on(editor),
                }  # fmt: skip
                route = f"{one.name}_{name}" + (f"_{copy + 1}" if len(copies) > 1 else "")
                units = [Unit(route, index, config.unit) for index in range(-(-one.edits // config.unit))]
                folder = Run.folder("edits", route, fingerprint(shaping))
                found.append(Route(route, units, [StageSpec("edits", STAGE, settings, folder, config.pool)]))
    names = [route.name for route in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            f"editors: two of them, or of their copies, would both be {twice!r}: name one otherwise"
        )
    return found


def _stands_on(editor: AnyEditor) -> list[str]:
    """What an editor is made of beside its model, by content."""
    from filters.weights import ClipWeights, WeightsError
    from shards.dataset import open_dataset

    found = []
    try:
        if isinstance(editor, DiffusionClip | UnClip):
            found.append(ClipWeights(editor.clip).identity())
        if isinstance(editor, DiffusionClip):
            found.append(open_dataset(editor.dataset).manifest.sha256)
        if isinstance(editor, UnClip):
            found.append(identity(editor.base))
    except WeightsError as error:
        raise ConfigError(f"clip: {one_line(error)}") from None
    return found


def _version() -> int:
    from evaluation.stage import EditAndMeasure

    return EditAndMeasure.version


def _clip(config: EvaluateConfig) -> str:
    from filters.weights import ClipWeights, WeightsError

    assert config.clip is not None
    try:
        return ClipWeights(config.clip.model, config.clip.weights).identity()
    except WeightsError as error:
        raise ConfigError(f"clip.model: {one_line(error)}") from None


def identity(model: str) -> str:
    """Of a folder: its weights and settings, byte by byte; of a name on the Hub: the name."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt", ".model") and path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()}\n".encode())
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:32]


def table(report: Mapping[str, Any]) -> str:
    """The figures as text, a table for each set."""
    return "\n\n".join("\n".join(_lines(name, found)) for name, found in report["sets"].items())


def _lines(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}: {found['edits']} edits, sha256 {found['digest'][:16]}"
    heads = f"{'right':>8}{'95%':>18}{'the first is ahead by':>26}{'asked':>7}{'failed':>8}{'PSNR':>7}{'s/edit':>8}"
    yield f"  {'editor':<16}{heads}"
    for editor, figures in found["editors"].items():
        success, ahead = figures["success"], figures["ahead"]
        share = f"{success['mean']:.1%}" if success else "–"
        sure = f"{success['low']:.1%} to {success['high']:.1%}" if success else ""
        before = (
            f"{100 * ahead['mean']:+.1f} ({100 * ahead['low']:+.1f} to {100 * ahead['high']:+.1f})"
            if ahead
            else ""
        )
        psnr = f"{figures['psnr']['mean']:.1f}" if figures["psnr"] else "–"
        seconds = f"{figures['seconds']:.2f}" if "seconds" in figures else "–"
        failed = sum(figures["failed"].values())
        yield f"  {editor:<16}{share:>8}{sure:>18}{before:>26}{figures['asked']:>7}{failed:>8}{psnr:>7}{seconds:>8}"
