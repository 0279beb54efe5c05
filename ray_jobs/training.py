"""What jobs that train share: workers of Ray Train, restarted when they die, and their progress, printed here."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ray_jobs.config import Model, Pool, one_line

PROGRESS = "progress.json"


class Workers(Model):
    """number: of Ray Train; 0 trains in this process. num_cpus, num_gpus: of each. labels: only nodes with these."""

    number: Annotated[int, Field(ge=0)] = 1
    num_cpus: Annotated[float, Field(gt=0)] = 1.0
    num_gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
    labels: dict[str, str] = Field(default_factory=dict)


def launch(
    work: Callable[[dict[str, Any]], None], settings: Mapping[str, Any], workers: Workers, out: str
) -> None:
    """Runs `work(settings)` on every worker, and prints what they leave by `tell`. Raises RunFailed, and ConfigError
    where no node can hold a worker."""
    from ray_jobs.cluster import connected
    from ray_jobs.driver import RunFailed
    from ray_jobs.fitting import refuse_unfit

    with connected() as cluster:
        if not cluster.local:
            pool = Pool(num_cpus=workers.num_cpus, num_gpus=workers.num_gpus, labels=workers.labels)
            refuse_unfit({"workers": pool}, within="")
        from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        resources = {"CPU": workers.num_cpus}
        if workers.num_gpus:
            resources["GPU"] = workers.num_gpus
        trainer = TorchTrainer(
            work,
            train_loop_config=dict(settings),
            scaling_config=ScalingConfig(
                num_workers=workers.number,
                use_gpu=workers.num_gpus > 0,
                resources_per_worker=resources,
                label_selector=workers.labels or None,
            ),
            run_config=RunConfig(
                name="train",
                storage_path=out if "://" in out else str(Path(out).resolve()),
                failure_config=FailureConfig(max_failures=3),
                # One may be lost that was reported just before a crash, so two; every epoch's would fill the disk.
                checkpoint_config=CheckpointConfig(num_to_keep=2),
            ),
        )
        try:
            with _told(out):
                trainer.fit()
        except Exception as error:
            raise RunFailed(f"training failed: {_said(error)[:300]}") from error


def _said(error: BaseException) -> str:
    """What went wrong in a worker, without the traces around it; those are in the log."""
    while error.__cause__ is not None:
        error = error.__cause__
    # Ray Train's text is the workers' traces, whose last lines are the exceptions' own.
    lines = (line for line in reversed(str(error).splitlines()) if _NAMED.match(line))
    return next(lines, one_line(error))


_NAMED = re.compile(r"[A-Za-z_.]+(Error|Exception|Failed|Diverged|Interrupt)\b")


def tell(out: str, line: str) -> None:
    """By a worker: a line for the driver to print. A line is not worth the training, so nothing is raised."""
    from shards.storage import StorageError, open_storage

    with contextlib.suppress(StorageError):
        open_storage(out).write(PROGRESS, json.dumps({"line": line}).encode())


@contextlib.contextmanager
def _told(out: str, every_s: float = 5.0) -> Iterator[None]:
    """Prints what the workers leave in progress.json: their own output stays on their nodes."""
    from shards.storage import StorageError, open_storage

    storage, over = open_storage(out), threading.Event()
    print("training: workers start", flush=True)

    def listen() -> None:
        last = b""
        while not over.wait(every_s):
            with contextlib.suppress(StorageError, ValueError):
                text = storage.read(PROGRESS)
                if text != last:
                    print(json.loads(text)["line"], flush=True)
                last = text

    with contextlib.suppress(StorageError):
        storage.delete(PROGRESS)
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
