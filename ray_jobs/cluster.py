"""Ray, set up the way runs need it: found or started, quiet, without the guards that end long waits."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ray_jobs.config import ConfigError, Pool

# Set before Ray is imported, and inherited by its processes.
_QUIET = {
    "RAY_DEDUP_LOGS": "1",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


# Ray Data asks the autoscaler for more of what is busy, without the labels of pools, and gets nodes of types that no
# worker of ours runs on. No use is this high, so it asks for nothing: workers that wait for a place do, with labels.
_NEVER = "1e9"
_ASKS = ("CPU", "GPU", "MEMORY", "OBJECT_STORE_MEMORY")
_QUIET |= {f"RAY_DATA_DEFAULT_CLUSTER_SCALING_UP_{what}_UTIL_THRESHOLD": _NEVER for what in _ASKS}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What there is to work with. local: this machine only, nothing will join."""

    cpus: float
    gpus: float
    local: bool


# A busy machine may take longer than the half a minute that Ray gives itself to start.
_STARTS, _SLOW = 3, "timed out during startup"


@contextmanager
def connected(num_cpus: int | None = None) -> Iterator[Cluster]:
    """Ray for the time of the block: the cluster of RAY_ADDRESS where set, else one of this machine's own.

    num_cpus: pretend to have so many, on a machine's own only; None for what there is. A Ray that was
    connected before is used, and left connected.
    """
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    address = os.environ.get("RAY_ADDRESS")
    # A cluster asks for the token that it was started with; a Ray of our own on this machine, for none.
    os.environ.setdefault("RAY_AUTH_MODE", "token" if address else "disabled")
    import ray

    ours = not ray.is_initialized()
    if ours:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            if address:
                # Workers' lines stay on their nodes here, too: those of hundreds would drown the driver's.
                ray.init(logging_level=logging.WARNING, log_to_driver=False)
            else:
                _start(num_cpus)
    try:
        _configure_data()
        resources = ray.cluster_resources()
        yield Cluster(resources.get("CPU", 0.0), resources.get("GPU", 0.0), local=not address)
    finally:
        if ours:
            ray.shutdown()


def _start(num_cpus: int | None) -> None:
    """A Ray on this machine alone."""
    import ray

    for left in reversed(range(_STARTS)):
        try:
            # Workers' output lands in Ray's session folder: what people need to know travels in reports.
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except Exception as error:  # Ray's own word for it
            if _SLOW not in str(error) or not left:
                raise
            ray.shutdown()
        else:
            return


def _configure_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    # Waiting for a node may take hours; units have their own limit.
    context.execution_no_progress_timeout_s = -1
    context.wait_for_min_actors_s = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def sized(pools: Mapping[str, Pool], cluster: Cluster) -> dict[str, int]:
    """How many workers each stage starts with, by stage name.

    Pools without a size share what the others leave of the cluster, evenly, at least one each. Raises
    ConfigError where this machine can never hold all pools at once: Ray would wait for ever.
    """
    sizes = {name: pool.size for name, pool in pools.items() if pool.size is not None}
    cpus = cluster.cpus - sum(pools[name].num_cpus * size for name, size in sizes.items())
    gpus = cluster.gpus - sum(pools[name].num_gpus * size for name, size in sizes.items())
    open_ended = {name: pool for name, pool in pools.items() if name not in sizes}
    cpu_sharers = sum(pool.num_cpus > 0 for pool in open_ended.values())
    gpu_sharers = sum(pool.num_gpus > 0 for pool in open_ended.values())
    for name, pool in open_ended.items():
        fits = [cluster.cpus]
        if pool.num_cpus:
            fits.append(cpus / cpu_sharers / pool.num_cpus)
        if pool.num_gpus:
            fits.append(gpus / gpu_sharers / pool.num_gpus)
        sizes[name] = max(1, int(min(fits)))
    if cluster.local:
        _fit("CPUs", cluster.cpus, {name: pool.num_cpus * sizes[name] for name, pool in pools.items()})
        _fit("GPUs", cluster.gpus, {name: pool.num_gpus * sizes[name] for name, pool in pools.items()})
    return sizes


def _fit(what: str, have: float, shares: Mapping[str, float]) -> None:
    need = sum(shares.values())
    if need > have + 1e-9:
        each = ", ".join(f"pools.{name} {share:g}" for name, share in shares.items())
        raise ConfigError(
            f"pools need {need:g} {what} and this machine has {have:g} ({each}): lower their size or "
            f"num_{what.lower()}"
        )
