"""A pool that no node can hold ends a run at once, with the pool's name, on clusters that grow and on others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from ray_jobs import fitting
from ray_jobs.config import ConfigError, Pool
from ray_jobs.fitting import refuse_unfit
from tests.fake_cluster import fake_cluster, fake_types, shipped

BLENDER = {"spatialpix/role": "blender"}
ASKS = """
import json, sys, ray
from ray_jobs.config import ConfigError, Pool
from ray_jobs.fitting import refuse_unfit
ray.init(log_to_driver=False, logging_level="ERROR")
for pools in json.loads(sys.argv[1]):
    try:
        refuse_unfit({name: Pool(**pool) for name, pool in pools.items()}, patience_s=20)
        print("fits")
    except ConfigError as error:
        print(error)
"""


@pytest.mark.usefixtures("cluster")
def test_cluster_that_does_not_grow_refuses_what_none_of_its_nodes_can_hold():
    refuse_unfit({"pairs": Pool(num_cpus=1)})
    with pytest.raises(ConfigError, match=r"pools\.scores: no node of this cluster, which does not grow,"):
        refuse_unfit({"pairs": Pool(num_cpus=1), "scores": Pool(num_cpus=64)})


def test_a_node_that_takes_minutes_to_start_hides_no_pool_that_fits_nowhere(monkeypatch):
    """As on a cloud: the first answer comes while a node for another pool is on its way, beyond the patience."""
    pools = {"pairs": Pool(num_cpus=1), "scores": Pool(num_cpus=1, num_gpus=1)}
    began, starts = time.monotonic(), 1.5
    monkeypatch.setattr(fitting, "_EVERY_S", 0.05)
    monkeypatch.setattr(fitting, "_fixed", lambda: False)
    monkeypatch.setattr(fitting, "_asked_for", lambda pool: pool)
    monkeypatch.setattr("ray.kill", lambda worker: None)

    def started() -> bool:
        return time.monotonic() - began > starts

    def unfit(asked):
        return {name: pool for name, pool in asked.items() if name == "scores" or not started()}

    def status():
        request = SimpleNamespace(resources_bundle={"CPU": 1.0, "GPU": 1.0}, label_selectors=[])
        state = SimpleNamespace(
            pending_instance_requests=[], pending_instances=[] if started() else ["pairs"],
            infeasible_resource_requests=[request], last_seen_cluster_resource_state_version=1,
        )  # fmt: skip
        asked = SimpleNamespace(pending_resource_requests=[], cluster_resource_state_version=1)
        return SimpleNamespace(autoscaling_state=state, cluster_resource_state=asked)

    monkeypatch.setattr(fitting, "_unfit_now", unfit)
    monkeypatch.setattr(fitting, "cluster_status", status)
    with pytest.raises(ConfigError, match=r"pools\.scores: no type of node"):
        refuse_unfit(pools, patience_s=0.5)
    assert time.monotonic() - began > starts
    began = time.monotonic()
    starts = 3600
    refuse_unfit(pools, patience_s=0.2, longest_s=1.0)  # not known by then: the autoscaler is trusted
    assert 0.5 < time.monotonic() - began < 30


@pytest.mark.slow
def test_cluster_that_grows_refuses_what_no_type_of_node_can_hold_within_a_minute(tmp_path):
    fits = {"num_cpus": 1, "labels": BLENDER}
    unfit = {
        "2 CPU, spatialpix/role=blender": {"num_cpus": 2, "labels": BLENDER},
        "1 CPU, 1 GPU": {"num_cpus": 1, "num_gpus": 1},
        "1 CPU, spatialpix/role=painter": {"num_cpus": 1, "labels": {"spatialpix/role": "painter"}},
    }
    asked = [{"pairs": fits}, *({"pairs": fits, "scores": pool} for pool in unfit.values())]
    with fake_cluster(fake_types(shipped(), {"blender": {"CPU": 1}}), tmp_path) as cluster:
        began = time.monotonic()
        said = subprocess.run(  # a process of its own: this one may be connected to another Ray
            [sys.executable, "-c", ASKS, json.dumps(asked)],
            env=os.environ | {"RAY_ADDRESS": cluster.address, "RAY_AUTH_MODE": "disabled"},
            capture_output=True, text=True, check=True, timeout=180,
        ).stdout.splitlines()  # fmt: skip
        took = time.monotonic() - began
    said = [line for line in said if line.startswith(("fits", "pools."))]  # Ray says something of its own
    assert said[0] == "fits"
    for line, what in zip(said[1:], unfit, strict=True):
        assert line.startswith(
            f"pools.scores: no type of node of this cluster can hold a worker of it ({what})"
        )
    assert took < 120
