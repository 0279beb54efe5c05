"""`plan`: what a run will take and cost, before a cent is spent. Needs neither Ray nor a cloud."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ray_jobs.config import ConfigError, check, load, read_yaml
from ray_jobs.job import DONE, parser, run_job
from ray_jobs.planning import Plan, Rates, plan

# Beside the packages in a checkout; an installed project is asked from within one, as in the images.
_ROOTS = Path(__file__).resolve().parents[1], Path(), Path("/opt/spatialpix")


def _found(name: str) -> Path:
    return next((root / name for root in _ROOTS if (root / name).is_file()), Path(name))


RATES, CLUSTER = _found("benchmarks/rates.yaml"), _found("cluster.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("plan", "Say what a run takes: units, hours of each pool, storage, time and cost.")
    options.add_argument("--config", required=True, metavar="FILE", help="of the run, as for generate")
    options.add_argument("--pairs", required=True, type=int, metavar="N", help="accepted pairs to make")
    options.add_argument("--cluster", default=str(CLUSTER), metavar="FILE", help="nodes that there can be")
    options.add_argument(
        "--rates", default=str(RATES), metavar="FILE", help="what things take, and their prices"
    )
    options.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override a key of the configuration"
    )
    return run_job("plan", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    if arguments.pairs < 1:
        raise ConfigError(f"--pairs: must be at least 1, not {arguments.pairs}")
    rates = check(Rates, read_yaml(Path(arguments.rates)), arguments.rates)
    cluster = read_yaml(Path(arguments.cluster))
    if "available_node_types" not in cluster:
        raise ConfigError(f"{arguments.cluster}: names no available_node_types; give a cluster.yaml of Ray's")
    print(told(plan(load(arguments.config, arguments.set), rates, cluster, arguments.pairs)))
    return DONE


def told(made: Plan) -> str:
    """The plan as text; what rests on an assumption has a star."""
    lines = [f"{'route':<10} {'units':>9} {'rows':>12} {'pairs':>10} {'GB':>9}"]
    for route in made.routes:
        units = f"{route.units:,}" if route.units else ""
        pairs = f"{route.accepted:,}{_star(route.measured)}" if route.accepted else ""
        size = f"{route.gigabytes:,.0f}" if route.accepted else ""
        lines.append(f"{route.name:<10} {units:>9} {route.rows:>12,} {pairs:>10} {size:>9}".rstrip())
    lines += ["", f"{'pool':<10} {'hours':>10} {'GPU-hours':>10} {'workers':>8} {'nodes':<24} {'node-hours':>10} "
              f"{'spot $':>8} {'demand $':>9}"]  # fmt: skip
    for pool in made.pools:
        nodes = f"{pool.node} ({pool.machine})"
        lines.append(
            f"{pool.name:<10} {f'{pool.hours:,.1f}{_star(pool.measured)}':>10} {pool.gpus:>10,.1f} "
            f"{pool.workers:>8,} {nodes:<24} {pool.node_hours:>10,.1f} {pool.spot:>8,.0f} {pool.demand:>9,.0f}"
        )
    spot = sum(pool.spot for pool in made.pools) + made.head_cost
    demand = sum(pool.demand for pool in made.pools) + made.head_cost
    gigabytes = sum(route.gigabytes for route in made.routes)
    asked = [f"--set routes.{route.name}.units={route.units}" for route in made.routes if route.name != "p2p"]
    return "\n".join(
        [
            *lines,
            "",
            f"pairs    {sum(route.accepted for route in made.routes):,}",
            f"storage  {gigabytes:,.0f} GB of accepted pairs, {made.storage_cost:,.0f} dollars a month",
            f"time     {made.wall_hours:,.1f} hours with all workers of the pools, routes one after another",
            f"cost     {spot:,.0f} dollars on spot machines, {demand:,.0f} on demand, the head included",
            f"start    generate {' '.join(asked)}",
            "",
            "*: assumed, not measured; see the rates. Nodes that wait, start and load models come on top.",
        ]
    )  # fmt: skip


def _star(measured: bool) -> str:
    return "" if measured else "*"
