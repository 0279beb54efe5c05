"""Plans are the arithmetic of their rates, and say what cannot run before anything is started."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ray_jobs import __main__ as command
from ray_jobs.config import Config, ConfigError, check, load
from ray_jobs.plan import CLUSTER, RATES
from ray_jobs.planning import Rates, nodes_of, plan

ROOT = Path(__file__).resolve().parents[2]
SCENES = {
    "out": "runs/x",
    "routes": {"blender": {"units": 10, "unit_size": 5, "image_size": 256, "render": {"samples": 8}}},
    "pools": {"pairs": {"size": 4, "num_cpus": 2, "labels": {"role": "blender"}}, "verdicts": {"size": 1}},
}
ONE = {"seconds": 1, "measured": True, "where": "a core", "by": "hand"}
SIMPLE: dict[str, Any] = {
    "stages": {
        "pairs": ONE | {"seconds": 2, "seconds_per_sample": 0.5, "pixels": 128 * 128},
        "verdicts": ONE | {"seconds": 0.1, "measured": False},
    },
    "accepted": {"blender": {"share": 0.5, "measured": True, "by": "hand"}},
    "bytes_per_pixel": {"value": 4, "measured": True, "by": "hand"},
    "prices": {"big": {"demand": 2, "spot": 1}, "small": {"demand": 1, "spot": 0.4}},
    "storage_price": 0.02,
}
NODES: dict[str, Any] = {
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {"InstanceType": "small"}},
        "blender-spot": {"resources": {"CPU": 8}, "max_workers": 3, "labels": {"role": "blender"},
                         "node_config": {"InstanceType": "big"}},
        "blender": {"resources": {"CPU": 8}, "max_workers": 2, "labels": {"role": "blender"},
                    "node_config": {"InstanceType": "big"}},
    },
}  # fmt: skip


def rates(**changes: Any) -> Rates:
    return check(Rates, copy.deepcopy(SIMPLE) | changes, "test")


def config(**changes: Any) -> Config:
    return check(Config, copy.deepcopy(SCENES) | changes, "test")


def test_a_plan_is_the_arithmetic_of_its_rates():
    made = plan(config(), rates(), NODES, pairs=1000)
    (route,) = made.routes
    assert (route.rows, route.units, route.accepted) == (2000, 400, 1000)
    assert route.gigabytes == pytest.approx(1000 * 256 * 256 * 4 / 1e9)
    pairs, verdicts = made.pools
    seconds = 2000 * (2 + 0.5 * 8) * 4  # samples, and four times the pixels that were measured
    assert pairs.hours == pytest.approx(seconds / 3600) and pairs.workers == 4
    assert pairs.node == "blender" and pairs.node_hours == pytest.approx(seconds / 3600 / 4)  # four a node
    assert (pairs.spot, pairs.demand) == pytest.approx((pairs.node_hours, 2 * pairs.node_hours))
    assert pairs.measured and not verdicts.measured
    assert made.wall_hours == pytest.approx(seconds / 3600 / 4)  # the slower stage decides
    assert made.head_cost == pytest.approx(made.wall_hours)
    assert made.storage_cost == pytest.approx(route.gigabytes * 0.02)


def test_memory_that_workers_reserve_is_room_that_nodes_must_have():
    nodes = copy.deepcopy(NODES)
    for name in ("blender", "blender-spot"):
        nodes["available_node_types"][name]["resources"]["memory"] = 8 * 2**30
    asks = SCENES["pools"]["pairs"]
    small, large = ({**asks, "memory_mb": mb} for mb in (2048, 4096))
    one, two = (
        plan(config(pools={**SCENES["pools"], "pairs": pool}), rates(), nodes, pairs=1000).pools[0]
        for pool in (small, large)
    )
    assert two.node_hours == pytest.approx(2 * one.node_hours)  # two a node, not four
    with pytest.raises(ConfigError, match=r"pools\.pairs: no node fits .* 9000 MB .* 8192 MB"):
        pools = {**SCENES["pools"], "pairs": {**asks, "memory_mb": 9000}}
        plan(config(pools=pools), rates(), nodes, pairs=1000)


def test_twice_the_pairs_take_twice_as_much():
    one, two = (plan(load(ROOT / "configs" / "cluster.yaml"), real(), cluster(), n) for n in (45_000, 90_000))
    for first, second in zip(one.pools, two.pools, strict=True):
        assert second.hours == pytest.approx(2 * first.hours, rel=1e-3)
    assert two.wall_hours == pytest.approx(2 * one.wall_hours, rel=1e-3)
    assert sum(route.accepted for route in two.routes) == pytest.approx(90_000, abs=3)


def real() -> Rates:
    return check(Rates, yaml.safe_load(RATES.read_text()), str(RATES))


def cluster() -> dict[str, Any]:
    return yaml.safe_load(CLUSTER.read_text())


def test_spot_and_on_demand_are_one_kind_of_node():
    (node,) = nodes_of(NODES)
    assert (node.name, node.machine, node.most) == ("blender", "big", 5)


def test_a_pool_that_no_node_fits_is_named_with_what_there_is():
    asked = {**SCENES["pools"], "pairs": {"num_cpus": 16, "labels": {"role": "blender"}}}
    with pytest.raises(
        ConfigError, match=r"pools\.pairs: no node fits .*16 CPUs.*role=blender.*blender has 8"
    ):
        plan(config(pools=asked), rates(), NODES, 10)
    asked["pairs"] = {"num_cpus": 1, "labels": {"role": "gpu"}}
    with pytest.raises(ConfigError, match=r"pools\.pairs: no node fits"):
        plan(config(pools=asked), rates(), NODES, 10)


def test_a_pool_has_no_more_workers_than_nodes_can_hold():
    asked = {
        **SCENES["pools"],
        "pairs": {"size": 4, "max_size": 900, "num_cpus": 2, "labels": {"role": "blender"}},
    }
    made = plan(config(pools=asked), rates(), NODES, 10)
    assert made.pools[0].workers == 5 * 4  # five nodes, four workers each


def test_a_rate_or_a_price_that_is_missing_is_named():
    with pytest.raises(ConfigError, match="none for stage 'verdicts'"):
        plan(config(), rates(stages={"pairs": SIMPLE["stages"]["pairs"]}), NODES, 10)
    with pytest.raises(ConfigError, match="no price of big"):
        plan(config(), rates(prices={"small": SIMPLE["prices"]["small"]}), NODES, 10)


def test_the_job_prints_what_to_start_and_marks_what_is_assumed(capsys):
    assert (
        command.main(["plan", "--config", str(ROOT / "configs" / "cluster.yaml"), "--pairs", "450000"]) == 0
    )
    said = capsys.readouterr().out
    assert "pairs    450,000" in said and "--set routes.blender.units=" in said
    assert "*: assumed, not measured" in said
    for pool in ("pairs", "edits", "p2p", "photos", "scores"):
        assert f"\n{pool} " in said


def test_wrong_use_is_one_line(capsys, tmp_path):
    def said(*arguments: str) -> str:
        assert command.main(["plan", "--config", str(ROOT / "configs" / "cluster.yaml"), *arguments]) == 2
        return capsys.readouterr().err

    assert "--pairs: must be at least 1" in said("--pairs", "0")
    assert "there is no such file" in said("--pairs", "9", "--rates", str(tmp_path / "none.yaml"))
    assert "available_node_types" in said("--pairs", "9", "--cluster", str(RATES))
