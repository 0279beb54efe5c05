"""What Prometheus gets of a run, from Ray's own port, is what its shards say; the dashboard asks for nothing else."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from ray_jobs.driver import Watchers, run
from ray_jobs.metrics import GAUGES, SERIES, Meters
from ray_jobs.worker import Failure
from shards.units import Unit, UnitReport
from tests.ray_jobs.ray_job_stages import stages, units

DASHBOARD = Path(__file__).parents[2] / "k8s" / "grafana-dashboard.json"
PREFIX = "ray_spatialpix_"
NAMES = {f"{PREFIX}{name}_total" for name in SERIES} | {f"{PREFIX}{name}" for name in GAUGES}
NAMES |= {f"{PREFIX}stage_seconds_{part}" for part in ("bucket", "count")}


def scraped(wanted: str, patience_s: float = 60) -> dict[str, dict[frozenset, float]]:
    """Samples of this run by name and labels, once there are any of that name."""
    import ray

    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        found: defaultdict[str, dict[frozenset, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith(PREFIX) and sample.labels.get("run_id") == "metered":
                    kept = {"route", "stage", "outcome", "reason", "le"} & sample.labels.keys()
                    found[sample.name][frozenset((key, sample.labels[key]) for key in kept)] = sample.value
        if wanted in found:
            return found
        time.sleep(1)
    raise AssertionError(f"no {wanted} within {patience_s:.0f} s")


def labels(**values: str) -> frozenset:
    return frozenset(values.items())


@pytest.mark.usefixtures("cluster")
def test_series_say_what_became_of_units_and_rows(run_folder):
    meters = Meters("metered", "test", 6, cost=lambda: 2.5)
    bad = {"bug": [units(6)[3].id]}
    outcome = run(units(6), stages(bad), run_folder, watcher=Watchers(meters))
    assert outcome.done == 5
    pictures = {"image_bytes": 1000.0, "output_tokens": 7.0, "slots_used": 3.0, "slots_offered": 4.0}
    report = UnitReport("test-0000007", "drawn", 2, {"rejected:hidden": 2}, 5.0, details=pictures)
    meters.unit(Unit("test", 7, 2), [report, UnitReport("test-0000007", "late", 2, {}, 9.0, skipped=True)],
                Failure("late", "busy", "the server is too busy"))  # fmt: skip
    found = scraped(f"{PREFIX}tokens_total")
    assert found[f"{PREFIX}units_total"] == {
        labels(route="test", outcome="done"): 5, labels(route="test", outcome="failed"): 2,
    }  # fmt: skip
    rows = found[f"{PREFIX}rows_total"]
    assert rows[labels(route="test", stage="verdicts", outcome="accepted", reason="")] == 20
    assert rows[labels(route="test", stage="drawn", outcome="rejected", reason="hidden")] == 2
    drawn = labels(route="test", stage="drawn")
    for name, value in (("bytes", 1000), ("tokens", 7), ("slots_used", 3), ("slots_offered", 4)):
        assert found[f"{PREFIX}{name}_total"] == {drawn: value}
    assert found[f"{PREFIX}stage_seconds_spent_total"][drawn] == 5
    assert found[f"{PREFIX}stage_units_total"][labels(route="test", stage="pairs")] == 5
    assert found[f"{PREFIX}units_left"] == {labels(route="test"): 1}
    assert found[f"{PREFIX}cost"] == {labels(route="test"): 2.5}
    assert found[f"{PREFIX}stage_seconds_bucket"][drawn | labels(le="10.0")] == 1
    assert not any("late" in str(key) for key in found[f"{PREFIX}stage_units_total"])
    assert found.keys() <= NAMES | {f"{PREFIX}stage_seconds_sum"}


def names_in(expression: str) -> set[str]:
    """Of all series that a query reads."""
    found: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        for part in ("expr", "lhs", "rhs", "args", "vector_selector", "param"):
            below = getattr(node, part, None)
            for one in below if isinstance(below, list) else [below]:
                if one is not None:
                    walk(one)

    walk(promql_parser.parse(expression))
    return found


def test_dashboard_loads_and_asks_for_series_that_there_are():
    text = DASHBOARD.read_text()
    told = json.loads(text)
    dashboard = Dashboard.from_json(told)
    again = json.loads(JSONEncoder(sort_keys=True).encode(dashboard))
    assert [panel["title"] for panel in again["panels"]] == [panel["title"] for panel in told["panels"]]
    panels = [panel for panel in told["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in told["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    asked: set[str] = set()
    for panel in panels:
        assert panel["targets"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            query = (
                target["expr"].replace("$__rate_interval", "5m").replace("$run", "x").replace("$route", "y")
            )
            found = names_in(query)
            assert found and found <= NAMES, query
            asked |= found
    assert asked >= {f"{PREFIX}{name}_total" for name in SERIES} | {f"{PREFIX}{name}" for name in GAUGES}
    assert {one["name"] for one in told["templating"]["list"]} == {"source", "run", "route"}
