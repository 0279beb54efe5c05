"""Says what a run waits for while nothing comes back: nodes that nobody has, or workers that cannot start."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ray_jobs.config import one_line
from ray_jobs.fitting import cluster_status

EVERY_S = 300.0
_log = logging.getLogger(__name__)


class Silence:
    """A context: prints a line for every `every_s` seconds without a call of `heard`. waits_for: what is said."""

    def __init__(self, every_s: float = EVERY_S, waits_for: Callable[[], str] | None = None) -> None:
        self._every_s = every_s
        self._waits_for = waits_for or pending
        self._heard = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="silence", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(5)  # it may be asking a cluster that is gone

    def heard(self) -> None:
        self._heard = time.monotonic()

    def _listen(self) -> None:
        said = self._heard
        while not self._over.wait(min(self._every_s, 5.0)):
            last = max(self._heard, said)
            if time.monotonic() - last < self._every_s:
                continue
            said = time.monotonic()
            try:
                what = self._waits_for()
            except Exception as error:  # a line for people, of Ray's inner figures: it must not cost the run
                _log.exception("what is waited for is not known")
                what = f"what it waits for is not known ({one_line(error)})"
            print(f"no unit ended for {(said - self._heard) / 60:.0f} min: {what}", flush=True)


def pending() -> str:
    """One line: workers by state and what the last of them died of, what they ask for, nodes that could not be had."""
    import ray

    actors = _workers(ray.get_runtime_context().get_job_id())
    states = Counter(actor["State"].lower().replace("_", " ") for actor in actors)
    said = [", ".join(f"{n} workers {state}" for state, n in sorted(states.items())) or "no workers"]
    said += [f"one ended by {death}" for death in _deaths(actors)[-1:]]
    status = cluster_status()
    for asked in status.cluster_resource_state.pending_resource_requests:
        never = asked.request in status.autoscaling_state.infeasible_resource_requests
        said.append(
            f"{asked.count} ask for {_shape(asked.request)}{', which no node can hold now' if never else ''}"
        )
    for failed in status.autoscaling_state.failed_instance_requests:
        said.append(f"{failed.count} nodes {failed.ray_node_type_name} could not be had: {failed.reason}")
    return "; ".join(" ".join(one.split())[:300] for one in said)


def _workers(job: str) -> list[dict[str, Any]]:
    """Actors of this job that run stages, as Ray's own table has them."""
    import ray

    every = ray._private.state.actors().values()
    return [actor for actor in every if actor["JobID"] == job and "MapWorker" in actor["ActorClassName"]]


def _deaths(actors: list[dict[str, Any]]) -> list[str]:
    return [text for actor in actors if (text := str(actor.get("DeathCause") or ""))]


def _shape(request: Any) -> str:
    asks = [f"{amount:g} {name}" for name, amount in sorted(request.resources_bundle.items()) if amount]
    for selector in request.label_selectors:
        asks += [f"{one.label_key}={'/'.join(one.label_values)}" for one in selector.label_constraints]
    return ", ".join(asks) or "a place"
