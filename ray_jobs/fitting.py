"""Whether a cluster can ever hold a run's pools: said before the run waits.

A pool that fits a node that is there is fine. For any other a worker that does nothing is asked for: the autoscaler
starts a node for it, or says that no type of node can hold it. Ray itself waits for ever in that case.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ray_jobs.config import ConfigError, Pool

PATIENCE_S = 60.0
LONGEST_S = 1200.0  # that a machine takes to start, its image included
_EVERY_S = 1.0


def refuse_unfit(
    pools: Mapping[str, Pool],
    patience_s: float = PATIENCE_S,
    longest_s: float = LONGEST_S,
    within: str = "pools.",
) -> None:
    """pools: by stage. Ray must be connected. patience_s: how long the autoscaler may take to answer; one that does not
    is trusted: Ray's first autoscaler does not say such things. The second says the same of a type all of whose nodes
    are taken, so it must say it while no node is on its way, and that is waited for, `longest_s` at most. within: what
    stands before a stage's name in the configuration.

    Raises ConfigError with the pool's name where no node, running or to come, can hold one worker.
    """
    import ray

    waiting = _unfit_now(pools)
    if not waiting:
        return
    began = time.monotonic()
    until = began + patience_s
    while (fixed := _fixed()) is None and time.monotonic() < until:
        time.sleep(_EVERY_S)
    if fixed:
        name, pool = next(iter(waiting.items()))
        raise ConfigError(_why(within + name, pool, "no node of this cluster, which does not grow,"))
    asked = [_asked_for(pool) for pool in waiting.values()]
    try:
        known: int | None = None  # the cluster's state in which all that we ask for is known
        refused: str | None = None
        while (waiting := _unfit_now(waiting)) and time.monotonic() < until:
            time.sleep(_EVERY_S)
            said = cluster_status()
            state, resources = said.autoscaling_state, said.cluster_resource_state
            coming = state.pending_instance_requests or state.pending_instances
            infeasible = _refused(waiting, state.infeasible_resource_requests)
            refused = None if coming else infeasible
            if coming and infeasible:
                until = min(time.monotonic() + patience_s, began + longest_s)
            pending = [one.request for one in resources.pending_resource_requests]
            if known is None and all(any(_same(p, one) for one in pending) for p in waiting.values()):
                known = resources.cluster_resource_state_version
            elif (
                infeasible is None
                and known is not None
                and state.last_seen_cluster_resource_state_version > known
            ):
                return  # the autoscaler has looked at that, and has found a type of node for all
        if waiting and refused in waiting:
            raise ConfigError(_why(within + refused, waiting[refused], "no type of node of this cluster"))
    finally:
        for worker in asked:
            ray.kill(worker)


def _refused(pools: Mapping[str, Pool], infeasible: Iterable[Any]) -> str | None:
    """The first pool of which the autoscaler says that it has no node for a worker."""
    requests = list(infeasible)
    return next((name for name, pool in pools.items() if any(_same(pool, one) for one in requests)), None)


def _unfit_now(pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """Those that no node that is there can hold."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    return {name: pool for name, pool in pools.items() if not any(_fits(pool, node) for node in nodes)}


class _Nothing:
    """Asks for room, and does nothing with it."""


def _asked_for(pool: Pool) -> Any:
    import ray

    return (
        ray.remote(_Nothing)
        .options(
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            memory=pool.memory_mb * 2**20 if pool.memory_mb else None,
            label_selector=pool.labels or None,
        )
        .remote()
    )


def _wanted(pool: Pool) -> dict[str, float]:
    every = {"CPU": pool.num_cpus, "GPU": pool.num_gpus, "memory": (pool.memory_mb or 0) * 2**20}
    return {name: amount for name, amount in every.items() if amount}


def _fits(pool: Pool, node: Mapping[str, Any]) -> bool:
    """Onto a node that is there, if nothing else were on it."""
    if any(node["Labels"].get(key) != value for key, value in pool.labels.items()):
        return False
    return all(node["Resources"].get(name, 0) >= amount for name, amount in _wanted(pool).items())


def _same(pool: Pool, request: Any) -> bool:
    """Whether a request that cannot be met is one of the pool's workers."""
    bundle = {name: amount for name, amount in request.resources_bundle.items() if amount}
    labels = {
        constraint.label_key: constraint.label_values[0]
        for selector in request.label_selectors
        for constraint in selector.label_constraints
        if len(constraint.label_values) == 1
    }
    return bundle == _wanted(pool) and labels == dict(pool.labels)


def _why(name: str, pool: Pool, who: str) -> str:
    asks = [f"{amount:g} {what}" for what, amount in _wanted(pool).items() if what != "memory"]
    asks += [f"{pool.memory_mb} MB"] if pool.memory_mb else []
    asks += [f"{key}={value}" for key, value in pool.labels.items()]
    return (
        f"{name}: {who} can hold a worker of it ({', '.join(asks) or 'nothing asked'}): change what it asks for, "
        "or the types of nodes and their max_workers in cluster.yaml"
    )


def cluster_status() -> Any:
    """What is asked of the cluster, and what the second autoscaler last said of it."""
    import ray
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    reply = ray._private.worker.global_worker.gcs_client.get_cluster_status()
    return GetClusterStatusReply.FromString(reply)


def _fixed() -> bool | None:
    """Whether no node will ever join by itself; None while neither autoscaler has said a word, as just after the start.
    A Ray that nobody told how to grow is watched by the first autoscaler, to which each node is a type of its own."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_get

    if cluster_status().autoscaling_state.autoscaler_state_version:
        return False
    said = _internal_kv_get("__autoscaling_status")
    if said is None:
        return None
    types = set(json.loads(said)["autoscaler_report"]["active_nodes"])
    return types <= {f"node_{node['NodeID']}" for node in ray.nodes()}
