"""`rejudge`: other thresholds, other verdicts, over the pairs that a run has."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ray_jobs.config import Config, Filters, check, load_filters
from ray_jobs.job import parser, run_job


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("rejudge", "Decide again with another profile. Pictures and scores stay as they are.")
    options.add_argument("--run", required=True, metavar="URI", help="a run folder")
    options.add_argument(
        "--profile",
        required=True,
        metavar="P",
        help="default or none (geometry alone), a profile of CLIP's scores (paper, code, starter), or a YAML "
        "file with the keys that stand under 'filters'",
    )
    options.add_argument("--steal", action="store_true", help="take the run from another job without waiting")
    return run_job("rejudge", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    from ray_jobs.generate import execute
    from ray_jobs.recipes import routes_of_pairs

    named = _named_or_read(arguments.profile)  # before the run: it may be far away
    config = configuration_of(arguments.run)
    config = config.model_copy(update={"filters": _of_run(named or arguments.profile, config.filters)})
    return execute(config, lambda run: routes_of_pairs(config, run), steal=arguments.steal)


def _named_or_read(profile: str) -> Filters | None:
    """What stands on its own, "default" or a file; None for a CLIP profile's name. Raises ConfigError."""
    if Path(profile).suffix in (".yaml", ".yml") or Path(profile).is_file():
        return load_filters(profile)
    return Filters() if profile == "default" else None


def _of_run(wanted: Filters | str, had: Filters) -> Filters:
    """What is not said stays as the run had it. wanted: filters, or a CLIP profile's name, which says nothing of
    geometry, nor of pairs made from words. Raises ConfigError."""
    if isinstance(wanted, Filters):
        return wanted if "p2p" in wanted.model_fields_set else wanted.model_copy(update={"p2p": had.p2p})
    values = had.model_dump() | {"profile": wanted, "clip": wanted}
    return check(Filters, values, f"--profile {wanted}")


def configuration_of(uri: str) -> Config:
    """The configuration in a run's run.yaml, `out` being where it is found. Raises NotFound, ConfigError."""
    import yaml

    from shards.run import RUN_FILE, Run
    from shards.storage import open_storage

    storage = open_storage(uri)
    run = Run.open(storage)
    execution = yaml.safe_load(storage.read(RUN_FILE)).get("execution", {})
    return check(Config, {**run.config, **execution, "out": uri}, f"{storage.uri}/{RUN_FILE}")
