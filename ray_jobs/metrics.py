"""What a run does, as Prometheus series of Ray's: every node's metrics port has them, as `ray_spatialpix_...`.

The driver counts what comes back, so that a series ends with its job and nothing is counted by workers that died. What
was there before a job is not counted again; `status` and the report know of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray_jobs.driver import Watcher
from ray_jobs.worker import Failure
from shards.units import Unit, UnitReport

SERIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "units": ("Units that went through all stages, or were given up.", ("outcome",)),
    "rows": ("Rows of finished stages, by what became of them.", ("stage", "outcome", "reason")),
    "stage_units": ("Units that a stage finished.", ("stage",)),
    "stage_seconds_spent": ("Seconds that workers spent on units.", ("stage",)),
    "bytes": ("Bytes of the pictures made.", ("stage",)),
    "tokens": ("Tokens that the language model wrote.", ("stage",)),
    "slots_used": ("Places in the UNet's batches that held a picture.", ("stage",)),
    "slots_offered": ("Places in the UNet's batches.", ("stage",)),
}
"""Counters: what they count and by what, beside run and route. Exported with `_total` at the end."""

GAUGES: Mapping[str, str] = {
    "units_left": "Units of the route that are not whole yet.",
    "cost": "What the nodes of this job have cost so far, by the prices of its configuration.",
}
SECONDS = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_PREFIX, _COMMON = "spatialpix_", ("run_id", "route")
_DETAILS = {
    "image_bytes": "bytes",
    "output_tokens": "tokens",
    "slots_used": "slots_used",
    "slots_offered": "slots_offered",
}


class Meters(Watcher):
    """The series of one route. units: of the route. cost: so far, None where nobody knows. Ray's calls are made when
    the first unit is back, by when Ray is connected."""

    def __init__(
        self, run_id: str, route: str, units: int, cost: Callable[[], float | None] = lambda: None
    ) -> None:
        self._common = {"run_id": run_id, "route": route}
        self._left, self._cost = units, cost
        self._made: dict[str, Any] = {}

    def resumed(self, units: int) -> None:
        self._left -= units

    def unit(self, unit: Unit, reports: Sequence[UnitReport], failure: Failure | None) -> None:
        self._left -= failure is None
        self._add("units", 1, outcome="done" if failure is None else "failed")
        self.gauge("units_left", self._left)
        if (cost := self._cost()) is not None:
            self.gauge("cost", cost)
        for report in reports:
            if report.skipped:  # another's work
                continue
            stage = report.stage
            self._add("stage_units", 1, stage=stage)
            self._add("stage_seconds_spent", report.seconds, stage=stage)
            self._histogram().observe(max(report.seconds, 1e-3), self._common | {"stage": stage})
            for outcome, rows in report.counts.items():
                kind, _, reason = outcome.partition(":")
                self._add("rows", rows, stage=stage, outcome=kind, reason=reason)
            for name, series in _DETAILS.items():
                self._add(series, report.details.get(name, 0), stage=stage)

    def gauge(self, name: str, value: float) -> None:
        """name: of `GAUGES`."""
        from ray.util.metrics import Gauge

        if name not in self._made:
            self._made[name] = Gauge(_PREFIX + name, description=GAUGES[name], tag_keys=_COMMON)
        self._made[name].set(value, self._common)

    def _add(self, name: str, amount: float, **tags: str) -> None:
        from ray.util.metrics import Counter

        if amount <= 0:
            return
        if name not in self._made:
            description, keys = SERIES[name]
            self._made[name] = Counter(_PREFIX + name, description=description, tag_keys=(*_COMMON, *keys))
        self._made[name].inc(amount, self._common | tags)

    def _histogram(self) -> Any:
        from ray.util.metrics import Histogram

        if "seconds" not in self._made:
            self._made["seconds"] = Histogram(
                f"{_PREFIX}stage_seconds",
                description="Seconds that a unit takes.",
                boundaries=list(SECONDS),
                tag_keys=(*_COMMON, "stage"),
            )
        return self._made["seconds"]
