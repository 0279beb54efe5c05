"""`evaluate`: editors against sets of edits, on Ray, to a row for each edit, a table and a page.

A set is chosen and frozen first, under `sets/`: which edits the reader can judge is asked of the true pictures, before
any editor runs. Then each editor's units are stages like all others: what is committed is not asked again, and the same
command goes on where it stopped. Results lie in one folder for each set, editor and copy, as `results.json` says.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evaluation.made import STAGE as MADE
from evaluation.rules import JUDGING, identity, making, rules
from ray_jobs.config import ConfigError, check, one_line, overridden, read_yaml
from ray_jobs.config_evaluate import (
    AnyEditor,
    Decoded,
    DiffusionClip,
    EvaluateConfig,
    Hosted,
    Trained,
    UnClip,
)
from ray_jobs.evaluate_results import MADE_OF, made_of
from ray_jobs.evaluate_sets import Frozen, frozen
from ray_jobs.evaluate_table import table
from ray_jobs.evaluate_tuning import TuningPlan, tuning_plans
from ray_jobs.job import DONE, parser, run_job

if TYPE_CHECKING:
    from ray_jobs.recipes import Route
    from ray_jobs.worker import Failure
    from shards.run import Run

STAGE = "evaluation.stage:EditAndMeasure"
# Where and how fast it goes is no part of what it is; sets and editors may become more.
_EXECUTION = ("out", "pool", "limits")
# Of an editor: models are told by what is in them, and the rest makes no other picture.
_NOT_SHAPING = ("models", "model", "device", "key", "price")
# And what tunes no other model: it is tuned once for all sets.
_NOT_TUNING = ("name", "transformations", "numeric", *_NOT_SHAPING)


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
        sets = [frozen(run, name, asked, config) for name, asked in config.sets.items()]
        for one in sets:
            print(one.said())
        tunings = tuning_plans(run, config, sets)
        for tuning in tunings:
            print(tuning.said())
        plan = routes(config, sets, tunings)
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
            if lease.lost.is_set():  # what is current, and the report, are the other job's to say
                raise driver.TakenOver
            # What was made is kept by `prune`, too: it may have been paid.
            run.set_current({route.name: route.folders | {MADE: route.stages[0].settings["made"]}})
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


def hold_to_budget(run: Run, config: EvaluateConfig, plan: Sequence[Route], spend: float) -> None:
    """What is left to be asked of hosted editors is said, and refused if it costs more, with what was asked before.
    Raises ConfigError."""
    total = 0.0
    for name, editor in config.editors.items():
        if not isinstance(editor, Hosted):
            continue
        own = [route for route in plan if route.stages[0].settings["editor"]["name"] == name]
        done = {route.name: run.done(route.stages[0].settings["made"]) for route in own}
        left = sum(unit.id not in done[route.name] for route in own for unit in route.units) * config.unit
        # By whatever model and settings: what was paid is paid.
        paid = [f"{MADE}-{route.name}-" for route in own]
        shards = sum(entry.key.endswith(".parquet") for start in paid for entry in run.storage.list(start))
        before = shards * config.unit
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
    files = {"lpips": _weights("lpips", config.lpips), "inception": _weights("inception", config.inception)}
    return config.model_copy(update={"reader": str(reader.resolve()), "editors": editors, **files})


def _weights(key: Literal["lpips", "inception"], file: str | None) -> str | None:
    if file is None:
        return None
    from evaluation.inception import Inception
    from evaluation.lpips import Lpips
    from filters.weights import WeightsError

    try:  # here, so that no worker starts for a file that is no such thing
        Lpips.load(file) if key == "lpips" else Inception.load(file)
    except WeightsError as error:
        raise ConfigError(f"{key}: {one_line(error)}") from None
    return str(Path(file).expanduser().resolve())


def _model(key: str, model: str) -> str:
    folder = Path(model)
    if folder.is_dir():
        return str(folder.resolve())
    if folder.is_absolute() or model.startswith(".") or model.count("/") != 1:
        raise ConfigError(f"{key}: {model} is neither a folder nor a name on the Hub (owner/name)")
    return model


def routes(config: EvaluateConfig, sets: Sequence[Frozen], tunings: Sequence[TuningPlan] = ()) -> list[Route]:
    """One for each set, editor and copy. tunings: of sets and editors that are tuned. Raises ConfigError."""
    from ray_jobs.recipes import Route
    from ray_jobs.worker import StageSpec
    from shards.fingerprint import fingerprint
    from shards.run import Run
    from shards.units import Unit

    clip = None if config.clip is None else config.clip.model_dump(mode="json") | {"identity": _clip(config)}
    files = (("lpips", config.lpips), ("inception", config.inception))
    measured_by = {
        key: None if file is None else [identity(file), rules((f"evaluation/{key}.py",))]
        for key, file in files
    }
    version = _version()
    # Which edits are tried follows from the set, `numeric` and the code: all of these are in the results' identity.
    numeric = {(one.set, one.editor): list(one.chosen.numeric) for one in tunings}
    found = []
    for one in sets:
        for name, editor in config.editors.items():
            own = (editor.model,) if isinstance(editor, Decoded | Hosted) else ("",)
            copies = editor.models if isinstance(editor, Trained) else own
            for copy, model in enumerate(copies):
                about = editor.model_dump(mode="json") | {"name": name}
                route = f"{one.name}_{name}" + (f"_{copy + 1}" if len(copies) > 1 else "")
                weights = identity(model) if model else ""
                shaping = {
                    "stage": MADE, "version": version, "set": [one.name, one.digest], "unit": config.unit,
                    "editor": {k: v for k, v in about.items() if k not in _NOT_SHAPING}, "copy": copy,
                    "model": weights, "seed": config.seed, "batch": config.batch,
                    "made_by": rules(making(editor.kind)), "stands_on": _stands_on(editor),
                }  # fmt: skip
                if isinstance(editor, DiffusionClip):
                    tried = numeric[one.name, name] if editor.numeric else []
                    about |= {"tuned": _tuned(config, shaping), "numeric_edits": tried}
                settings = {
                    "set": {"name": one.name, "key": one.key}, "editor": about, "copy": copy, "batch": config.batch,
                    "seed": config.seed, "reader": config.reader, "clip": clip, "lpips": config.lpips,
                    "inception": config.inception, "model": weights,
                    "made": Run.folder(MADE, route, fingerprint(shaping)),
                }  # fmt: skip
                judged_by = None
                if clip is not None:
                    judged_by = [clip[key] for key in ("identity", "preprocessing", "precision")]
                shaping |= {
                    "stage": "edits", "reader": identity(config.reader), "clip": judged_by, "rules": rules(JUDGING),
                    **measured_by,
                }  # fmt: skip
                units = [Unit(route, index, config.unit) for index in range(-(-one.edits // config.unit))]
                folder = Run.folder("edits", route, fingerprint(shaping))
                found.append(Route(route, units, [StageSpec("edits", STAGE, settings, folder, config.pool)]))
    names = [route.name for route in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            f"editors: two of them, or of their copies, would both be {twice!r}: name one otherwise"
        )
    return found


def _tuned(config: EvaluateConfig, shaping: Mapping[str, Any]) -> str:
    """The folder of an editor's tuned models, for all sets: what else they depend on is in its name."""
    from shards.fingerprint import fingerprint
    from shards.run import Run
    from shards.storage import open_storage

    of_models = {key: shaping[key] for key in ("model", "made_by", "stands_on")}
    of_models["editor"] = {k: v for k, v in shaping["editor"].items() if k not in _NOT_TUNING}
    folder = Run.folder("tuned", shaping["editor"]["name"], fingerprint(of_models))
    return open_storage(config.out).sub(folder).uri


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
