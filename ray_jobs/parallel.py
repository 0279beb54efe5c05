"""Independent tasks carried out by whoever is there: Ray's workers, or this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers(Protocol):
    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results in the order of the tasks. Tasks are drawn as workers become free, and never all at once."""


class ThisProcess:
    """One task after the other, here."""

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        return map(function, tasks)


class RayWorkers:
    """One CPU a task; a task whose worker dies is done again. Needs Ray to be connected."""

    def __init__(self, cpus: float) -> None:
        """cpus: of the cluster by now; an autoscaling one sees twice as many tasks, and grows."""
        self._at_once = max(2, int(2 * cpus))

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Raises what a task raised."""
        import ray

        def call(task: Any) -> Any:
            return function(task)

        remote = ray.remote(num_cpus=1, max_retries=3)(call)
        waiting: list[Any] = []
        for task in tasks:
            waiting.append(remote.remote(task))
            if len(waiting) >= self._at_once:
                yield _result(waiting.pop(0))
        while waiting:
            yield _result(waiting.pop(0))


def _result(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
