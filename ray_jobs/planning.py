"""What a run will take, reckoned from rates: rows, worker hours, nodes, bytes, dollars. Arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from ray_jobs.config import Config, ConfigError, Model, Pool

Positive = Annotated[float, Field(gt=0)]


class Rate(Model):
    """seconds: of one worker for a row. seconds_per_sample: more, for each sample of a render. pixels: of a picture's
    area, for which that holds; 0 for what pictures' size does not change. where: what was measured on. by: how."""

    seconds: Positive
    seconds_per_sample: Annotated[float, Field(ge=0)] = 0.0
    pixels: Annotated[int, Field(ge=0)] = 0
    measured: bool
    where: str
    by: str


class Share(Model):
    """share: of rows that come out; of p2p, pairs of an edit. draws: of p2p, for an edit."""

    share: Positive
    draws: Positive = 1.0
    measured: bool
    by: str


class PerPixel(Model):
    value: Positive
    measured: bool
    by: str


class Price(Model):
    demand: Positive
    spot: Positive


class Rates(Model):
    """What `benchmarks/rates.yaml` holds."""

    stages: dict[str, Rate]
    accepted: dict[str, Share]
    bytes_per_pixel: PerPixel
    prices: dict[str, Price]
    storage_price: Positive


@dataclass(frozen=True, slots=True)
class Node:
    """A type of node. machine: as the cloud calls it. resources: CPU, GPU, and memory in bytes, as Ray counts them.
    most: nodes of this type, spot and on-demand together."""

    name: str
    machine: str
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    most: int

    def workers(self, pool: Pool) -> int:
        """Workers of the pool that fit onto one node."""
        if any(self.labels.get(key) != value for key, value in pool.labels.items()):
            return 0
        asked = {"CPU": pool.num_cpus, "GPU": pool.num_gpus, "memory": (pool.memory_mb or 0) * 2**20}
        return min(
            (int(self.resources.get(key, 0) / value) for key, value in asked.items() if value), default=1
        )


def nodes_of(cluster: Mapping[str, Any]) -> list[Node]:
    """The kinds of nodes in a `cluster.yaml`; a spot type and the on-demand one behind it are one kind."""
    found: dict[tuple[Any, ...], Node] = {}
    for name, node in cluster["available_node_types"].items():
        if name == cluster["head_node_type"]:
            continue
        labels, machine = node.get("labels", {}), node["node_config"]["InstanceType"]
        key = (machine, *sorted(labels.items()))
        most = int(node.get("max_workers", 0)) + (found[key].most if key in found else 0)
        found[key] = Node(name.removesuffix("-spot"), machine, node["resources"], labels, most)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """units: to be set. rows: that are made. accepted: pairs that come of them. measured: whether the share is."""

    name: str
    units: int
    rows: int
    accepted: int
    gigabytes: float
    measured: bool


@dataclass(frozen=True, slots=True)
class PlannedPool:
    """hours: of one worker. workers: at most. node, machine: where they run. spot, demand: dollars."""

    name: str
    hours: float
    workers: int
    node: str
    machine: str
    gpus: float
    node_hours: float
    spot: float
    demand: float
    measured: bool

    @property
    def wall_hours(self) -> float:
        return self.hours / self.workers


@dataclass(frozen=True, slots=True)
class Plan:
    """wall_hours: with all workers, routes one after another. storage_cost: dollars a month."""

    routes: tuple[PlannedRoute, ...]
    pools: tuple[PlannedPool, ...]
    wall_hours: float
    head_cost: float
    storage_cost: float


# Stages of each route, and which route's edits they need.
_STAGES = {
    "blender": ("pairs", "scores", "verdicts"),
    "edits": ("captions", "edits", "unique"),
    "p2p": ("p2p", "verdicts"),
    "photos": ("photos", "scores", "verdicts"),
}


def plan(config: Config, rates: Rates, cluster: Mapping[str, Any], pairs: int) -> Plan:
    """For `pairs` accepted ones, of each route the share that the configuration's units make of the whole.

    Raises ConfigError for a pool that no node fits, and for rates that are missing.
    """
    rows = _rows(config, rates)
    expected = sum(rows[name] * rates.accepted[name].share for name in rows if name in _MAKES_PAIRS)
    if not expected:
        raise ConfigError("routes: no route of this configuration makes pairs of pictures")
    factor = pairs / expected
    routes = [_route(config, rates, name, count * factor) for name, count in rows.items()]
    nodes, seconds = nodes_of(cluster), _seconds(config, rates, routes)
    pools = [_pool(config, rates, nodes, name, sum(of.values())) for name, of in seconds.items()]
    at_once = {pool.name: pool.workers for pool in pools}
    # Stages of a route run beside each other, so the slowest decides.
    wall = sum(
        max(seconds[stage].get(route.name, 0.0) / at_once[stage] for stage in _stages(config, route.name))
        for route in routes
    )
    head = rates.prices[
        cluster["available_node_types"][cluster["head_node_type"]]["node_config"]["InstanceType"]
    ]
    gigabytes = sum(route.gigabytes for route in routes)
    return Plan(
        tuple(routes), tuple(pools), wall / 3600, wall / 3600 * head.demand, gigabytes * rates.storage_price
    )


_MAKES_PAIRS = ("blender", "p2p", "photos")


def _stages(config: Config, route: str) -> tuple[str, ...]:
    """Scores are taken where there is a CLIP; pairs made from words bring their own."""
    return tuple(
        stage for stage in _STAGES[route] if stage != "scores" or (config.clip is not None and route != "p2p")
    )


def _rows(config: Config, rates: Rates) -> dict[str, float]:
    """Rows of each route, by the configuration's units; of p2p, edits that pairs are tried for."""
    routes, found = config.routes, dict[str, float]()
    if routes.blender is not None:
        found["blender"] = routes.blender.units * routes.blender.unit_size
    if routes.edits is not None:
        found["edits"] = routes.edits.units * routes.edits.unit_size * routes.edits.per_caption
        if routes.p2p is not None:
            found["p2p"] = found["edits"] * rates.accepted["edits"].share
    if routes.photos is not None:
        found["photos"] = routes.photos.units * routes.photos.unit_size * routes.photos.per_photo
    return found


def _side(config: Config, route: str) -> int:
    """Pixels of a picture's side."""
    if route == "blender" and config.routes.blender is not None:
        return config.routes.blender.image_size
    if route == "photos" and config.routes.photos is not None:
        return config.routes.photos.image_size
    return 512 if route == "p2p" else 0  # Stable Diffusion's


def _route(config: Config, rates: Rates, name: str, rows: float) -> PlannedRoute:
    routes, accepted = config.routes, rates.accepted[name]
    of_unit = {
        "blender": lambda: routes.blender.unit_size if routes.blender else 1,
        "edits": lambda: routes.edits.unit_size * routes.edits.per_caption if routes.edits else 1,
        "photos": lambda: routes.photos.unit_size * routes.photos.per_photo if routes.photos else 1,
    }
    units = math.ceil(rows / of_unit[name]()) if name in of_unit else 0  # p2p has the units of its edits
    pixels = _side(config, name) ** 2
    gigabytes = rows * accepted.share * pixels * rates.bytes_per_pixel.value / 1e9
    pairs = round(rows * accepted.share) if name in _MAKES_PAIRS else 0
    return PlannedRoute(name, units, round(rows), pairs, gigabytes, accepted.measured)


def _seconds(config: Config, rates: Rates, routes: list[PlannedRoute]) -> dict[str, dict[str, float]]:
    """Of one worker, by stage and route."""
    found: dict[str, dict[str, float]] = {}
    for route in routes:
        for stage in _stages(config, route.name):
            rate, times = _rate(config, rates, stage), route.rows
            seconds = rate.seconds
            if rate.seconds_per_sample and config.routes.blender is not None:
                seconds += rate.seconds_per_sample * config.routes.blender.render.samples
            if rate.pixels:
                seconds *= _side(config, route.name) ** 2 / rate.pixels
            if stage == "p2p":
                seconds *= rates.accepted["p2p"].draws
            found.setdefault(stage, {})[route.name] = seconds * times
    return found


def _rate(config: Config, rates: Rates, stage: str) -> Rate:
    photos = config.routes.photos
    name = (
        "photos_diffusers"
        if stage == "photos" and photos and photos.inpainting.method == "diffusers"
        else stage
    )
    if name not in rates.stages:
        raise ConfigError(f"rates: there is none for stage {name!r}; add it under `stages`")
    return rates.stages[name]


def _pool(config: Config, rates: Rates, nodes: list[Node], name: str, seconds: float) -> PlannedPool:
    pool: Pool = config.pools.get(name, Pool())  # type: ignore[call-overload]
    fitting = [node for node in nodes if node.workers(pool)]
    if not fitting:
        raise ConfigError(no_node(name, pool, nodes))
    for node in fitting:
        if node.machine not in rates.prices:
            raise ConfigError(f"rates: there is no price of {node.machine}; add it under `prices`")
    node = min(fitting, key=lambda one: rates.prices[one.machine].demand / one.workers(pool))
    room = node.workers(pool)
    # No more than there can be nodes for, however far the pool may grow.
    there = sum(one.workers(pool) * one.most for one in fitting)
    workers = max(1, min(pool.max_size or pool.size or there, there))
    hours, price = seconds / 3600, rates.prices[node.machine]
    node_hours = hours / room
    return PlannedPool(
        name, hours, workers, node.name, node.machine, pool.num_gpus * hours, node_hours,
        node_hours * price.spot, node_hours * price.demand, _rate(config, rates, name).measured,
    )  # fmt: skip


def no_node(name: str, pool: Pool, nodes: list[Node]) -> str:
    """One line: which pool, what a worker of it asks for, and what there is."""
    asked = f"{pool.num_cpus:g} CPUs and {pool.num_gpus:g} GPUs"
    if pool.memory_mb:
        asked += f" and {pool.memory_mb} MB"
    labels = ", ".join(f"{key}={value}" for key, value in pool.labels.items())
    there = "; ".join(
        f"{node.name} has {node.resources.get('CPU', 0):g} and {node.resources.get('GPU', 0):g}"
        + (f" and {node.resources.get('memory', 0) / 2**20:.0f} MB" if pool.memory_mb else "")
        for node in nodes
    )
    return (
        f"pools.{name}: no node fits a worker of {asked}{' labelled ' + labels if labels else ''} ({there})"
    )
