"""A pool that no node can hold ends a run at once, with the pool's name, on clusters that grow and on others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

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
