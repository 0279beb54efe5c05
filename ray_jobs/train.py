"""`train`: teaches an editor from a published dataset, on Ray Train.

Checkpoints lie under `out`/checkpoints and are whole or not there: a pointer names the last one. Workers that die are
replaced and go on from it; so does the same command submitted again, with another number of workers, too. What comes
out lies under `out`/editor, as `trainer.export` describes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray_jobs.config import ConfigError, check, one_line, overridden, read_yaml
from ray_jobs.config_train import MODEL_PARTS, TrainConfig
from ray_jobs.job import DONE, parser, run_job
from ray_jobs.training import launch, tell

if TYPE_CHECKING:
    import torch

    from ray_jobs.tracking import Tracked
    from ray_jobs.validation import Figures, Validator
    from shards.dataset import Dataset
    from shards.storage import Storage
    from trainer.latents import LatentStore
    from trainer.learn import Learner, LearnSettings, Line
    from trainer.stream import StreamSettings

RESULT, CHECKPOINTS, LATEST = "editor", "checkpoints", "latest.json"
SETTINGS, FAILURE = "training.json", "failure.json"
# May differ between a training and its going on: where it is, how long, and who does it.
_FREE = frozenset(
    {
        "out",
        "dataset",
        "workers",
        "learn.samples",
        "learn.every",
        "data.workers",
        "data.latents",
        "learn.recompute",
        "validation",
        "track",
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(
        "train", "Teach an editor from a published dataset. The same command again goes on where it stopped."
    )
    options.add_argument(
        "--config", required=True, metavar="FILE", help="a YAML file; see configs/train.yaml"
    )
    options.add_argument("--out", metavar="URI", help="where the editor goes: a path or s3://bucket/prefix")
    options.add_argument(
        "--dataset", metavar="URI", help="a published dataset's folder, or the folder of one version"
    )
    options.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override a key of the configuration"
    )
    options.add_argument("--steal", action="store_true", help="take over from a job that holds the folder")
    return run_job("train", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    from ray_jobs.driver import RunFailed
    from shards.lease import Lease
    from shards.storage import open_storage

    values = overridden(read_yaml(Path(arguments.config)), arguments.set)
    for name in ("out", "dataset"):
        if getattr(arguments, name) is not None:
            values[name] = getattr(arguments, name)
    config = _anywhere(check(TrainConfig, values, arguments.config))
    _look(config)
    storage = open_storage(config.out)
    with Lease(storage).acquire(steal=arguments.steal):
        _hold_to(config, storage)
        storage.delete(FAILURE)
        try:
            launch(work, config.model_dump(mode="json"), config.workers, config.out)
        except RunFailed:
            if (said := _failure(storage)) is not None:
                raise RunFailed(said) from None
            raise
    print(f"done: {config.out.rstrip('/')}/{RESULT}")
    return DONE


def _anywhere(config: TrainConfig) -> TrainConfig:
    """Paths of this machine in full: workers have folders of their own. Raises ConfigError for a model's folder that is
    none."""
    from shards.storage import open_storage

    model = Path(config.model)
    if model.is_dir():
        if missing := [part for part in MODEL_PARTS if not (model / part).is_dir()]:
            raise ConfigError(f"model: {model} holds no diffusion model: there is no {missing[0]} in it")
        if (layers := model / "spatial" / "config.json").is_file():
            _goes_on_with(json.loads(layers.read_text()), config)
    elif model.is_absolute() or config.model.startswith(".") or config.model.count("/") != 1:
        raise ConfigError(f"model: {config.model} is neither a folder nor a name on the Hub (owner/name)")
    full = {name: open_storage(getattr(config, name)).uri for name in ("out", "dataset")}
    full = {name: uri if "://" in uri else str(Path(uri).resolve()) for name, uri in full.items()}
    if model.is_dir():
        full["model"] = str(model.resolve())
    data = config.data
    if data.latents is not None:
        data = data.model_copy(update={"latents": str(Path(data.latents).resolve())})
    looks = config.validation.model_copy(update={"reader": str(Path(config.validation.reader).resolve())})
    return config.model_copy(update=full | {"data": data, "validation": looks})


def _goes_on_with(layers: dict[str, Any], config: TrainConfig) -> None:
    """An editor goes on with the spatial layers that it has. Raises ConfigError that says which differ."""
    there = {**layers["parts"], "width": layers["token_width"]}
    if differ := [f"{name} {there[name]}" for name, value in config.layers if there.get(name) != value]:
        raise ConfigError(
            f"model: {config.model} is an editor whose spatial layers are others ({', '.join(differ)}): give `layers` "
            "the same, or name the text-to-image model that it was made of"
        )


def _look(config: TrainConfig) -> None:
    """What is wrong with the data is said before workers start. Raises ConfigError, StorageError."""
    from ray_jobs.tracking import installed
    from ray_jobs.validation import Validator
    from shards.dataset import open_dataset
    from shards.storage import StorageError, open_storage
    from trainer.stream import groups_of

    installed(config)
    try:
        found = groups_of(open_dataset(config.dataset), config.data.split, frozenset(config.data.kinds))
    except StorageError as error:
        if error.reason != "no_column":
            raise
        raise ConfigError(f"dataset: {one_line(error)}") from None
    asked = config.validation
    if asked.every % config.learn.every:
        raise ConfigError(
            f"validation.every: {asked.every} is no multiple of learn.every ({config.learn.every}); looks are at "
            "checkpoints"
        )
    if not found:
        of = f" of the kinds {', '.join(config.data.kinds)}" if config.data.kinds else ""
        raise ConfigError(f"data.split: {config.data.split!r} has no rows{of} in {config.dataset}")
    if asked.every:  # also that there is something to judge: workers would find out minutes later
        Validator(config, open_dataset(config.dataset), open_storage(config.out))
    print(f"training: {sum(group.size for group in found)} pairs in {config.dataset}", flush=True)


def _hold_to(config: TrainConfig, storage: Storage) -> None:
    """A training that goes on is the one that was begun. Raises ConfigError that names the key that differs."""
    from shards.dataset import open_dataset
    from shards.storage import NotFound

    # A dataset counts by what is in it, not by where it lies.
    now = _flat(config.model_dump(mode="json")) | {"dataset": open_dataset(config.dataset).manifest.sha256}
    place = storage.sub(CHECKPOINTS)
    try:
        place.read(LATEST)
        begun = json.loads(place.read(SETTINGS))
    except NotFound:  # nothing is kept yet that these settings would have to go with
        place.write(SETTINGS, json.dumps(now, indent=1).encode())
        return
    for key in sorted(now.keys() | begun.keys()):
        if now.get(key) != begun.get(key):
            raise ConfigError(
                f"{key}: {config.out} holds a training with {begun.get(key)!r}, not {now.get(key)!r}; go on with that, "
                "or choose another --out"
            )


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = before + name
        if key in _FREE:
            continue
        found |= _flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return found


def _failure(storage: Storage) -> str | None:
    """What a worker said that no further try would mend."""
    from shards.storage import NotFound

    try:
        return str(json.loads(storage.read(FAILURE))["line"])
    except NotFound:
        return None


def work(settings: dict[str, Any]) -> None:
    """What each worker of Ray Train does; the first also keeps checkpoints and puts the result."""
    import ray.train
    import ray.train.torch
    import torch

    from ray_jobs.driver import RunFailed
    from ray_jobs.tracking import tracked
    from ray_jobs.validation import Validator
    from shards.dataset import open_dataset
    from shards.storage import open_storage
    from trainer.examples import RowError
    from trainer.learn import Diverged
    from trainer.stream import Stream

    config = TrainConfig.model_validate(settings)
    context = ray.train.get_context()
    rank, ranks = context.get_world_rank(), context.get_world_size()
    storage = open_storage(config.out)
    if (said := _failure(storage)) is not None:  # the same rows would fail again
        raise RunFailed(said)
    device = ray.train.torch.get_device()  # workers of a machine see all its GPUs: each has its own
    if device.type == "cuda":
        torch.cuda.set_device(device)
    learner = learner_of(config, rank, ranks, device)
    try:
        restore(learner, storage)
    except OSError as error:
        storage.write(FAILURE, json.dumps({"line": one_line(error)}).encode())
        raise

    dataset, data = open_dataset(config.dataset), config.data
    try:
        validator = Validator(config, dataset, storage) if rank == 0 and config.validation.every else None
    except ConfigError as error:
        storage.write(FAILURE, json.dumps({"line": str(error)}).encode())
        raise

    store = store_of(config, dataset, learner)
    try:
        learner.kept = None if store is None else store.opened()
    except OSError as error:
        line = f"data.latents: {one_line(error)}; make room there, name another folder, or leave it out"
        storage.write(FAILURE, json.dumps({"line": line}).encode())
        raise
    try:
        with tracked(config, storage, learner.progress.step, rank == 0) as track:
            heard = _heard(config, storage, validator, track)
            if learner.finding:
                with Stream(dataset, data.split, stream_of(config, finding=True), store) as batches:
                    learner.run(batches, *heard)
            with Stream(dataset, data.split, stream_of(config), store) as batches:
                learner.run(batches, *heard)
    except (Diverged, RowError, ConfigError) as error:
        storage.write(FAILURE, json.dumps({"line": str(error)}).encode())
        raise
    put(learner, config, storage.sub(RESULT))


def _heard(
    config: TrainConfig, storage: Storage, validator: Validator | None, track: Tracked
) -> tuple[Callable[[Line], None], Callable[[Learner], None]]:
    """What is done after each step, and at each checkpoint."""
    import ray.train

    from ray_jobs.validation import due

    first = ray.train.get_context().get_world_rank() == 0

    def told(line: Line) -> None:
        track.line(line)
        if first and (line.step < 4 or line.step % 10 == 0):
            tell(config.out, line_of(line, config.learn.samples))

    def saved(now: Learner) -> None:
        keep(now, storage)
        editor = now.average() if due(config.validation, now.progress.step) else None  # by all ranks
        if validator is not None and editor is not None:
            figures, sheet = validator.look(editor, now, config.model, config.revision)
            tell(config.out, validated(figures))
            track.look(figures, sheet)
        track.flush()
        ray.train.report({"step": now.progress.step})  # waits for all: nobody runs ahead of a checkpoint

    return told, saved


def learner_of(
    config: TrainConfig, rank: int = 0, ranks: int = 1, device: str | torch.device = "cpu"
) -> Learner:
    """An editor that has learned nothing here: of a text-to-image model, or one with spatial layers that goes on from
    its weights. Raises OSError where the model is not there."""
    import torch

    from trainer.frozen import Frozen, text_to_image
    from trainer.learn import Learner
    from trainer.model import SpatialEditor
    from trainer.parallel import Parallel
    from trainer.spatial_attention import Parts

    layers = config.layers
    parts = Parts(**layers.model_dump(exclude={"width"})) if layers.tokens else None
    torch.manual_seed(config.seed)  # new layers begin alike on all ranks
    frozen = Frozen.load(config.model, config.revision).to(device)
    if (Path(config.model) / "spatial").exists():
        editor = SpatialEditor.load(Path(config.model), frozen.pasting).to(device)
    else:
        unet = text_to_image(config.model, config.revision)
        editor = SpatialEditor(unet, parts, layers.width, frozen.pasting).to(device)
    convolved: tuple[Any, ...] = (frozen.vae,) if config.workers.sharded else (editor, frozen.vae)
    for part in convolved:  # a tenth faster on a CPU; what is sharded must lie one row after another
        part.to(memory_format=torch.channels_last)
    parallel = Parallel(rank, ranks, config.workers.sharded)
    return Learner(editor, frozen, settings_of(config), parallel)


def stream_of(config: TrainConfig, finding: bool = False) -> StreamSettings:
    from trainer.examples import Seen
    from trainer.stream import StreamSettings

    data = config.data
    seen = Seen(data.side, data.mirror, data.phrasings, finding, config.layers.paste)
    return StreamSettings(data.batch, seen, config.seed, data.per_block, data.workers, frozenset(data.kinds))


def store_of(config: TrainConfig, dataset: Dataset, learner: Learner) -> LatentStore | None:
    """Where latents are kept, if they are."""
    from trainer.latents import LatentStore, name_of

    if config.data.latents is None:
        return None
    split, side = config.data.split, config.data.side
    rows = sum(file.rows for file in dataset.files("data", split))
    name = name_of(dataset.manifest.sha256, split, str(side), learner.frozen.identity())
    return LatentStore(config.data.latents, name, rows, learner.frozen.latents_of(side))


def settings_of(config: TrainConfig) -> LearnSettings:
    from trainer.learn import LearnSettings
    from trainer.step import StepSettings

    learn = config.learn
    step = StepSettings(
        drop=learn.drop,
        gamma=learn.gamma,
        floor=learn.floor,
        grounding=learn.grounding,
        shuffled=learn.shuffled,
    )
    return LearnSettings(
        learn.samples, learn.find, learn.rate, learn.spatial, learn.warmup, learn.fall, learn.decay, learn.ema,
        learn.clip, learn.accumulate, learn.every, config.seed, learn.bf16, learn.recompute, learn.lora, step,
    )  # fmt: skip


def validated(figures: Figures) -> str:
    kinds = ", ".join(f"{kind} {good}/{total}" for kind, (good, total) in figures.by_kind.items())
    return f"training: step {figures.step}, {figures.success:.1%} of {figures.edits} held-out edits succeed ({kinds})"


def line_of(line: Line, samples: int) -> str:
    loss = "finding alone" if line.finding else f"loss {line.loss:.4f}"
    return (
        f"training: step {line.step}, {line.seen}/{samples} samples, {loss}, grounding "
        f"{line.grounding:.3f}, {line.samples_per_second:.1f} samples/s, waited {line.waited:.0%}"
    )


def keep(learner: Learner, storage: Storage) -> None:
    """Puts a checkpoint, then the pointer to it, then removes those before the last two. All ranks take part in what is
    kept, the first puts it."""
    from shards.local import scratch

    checkpoints = storage.sub(CHECKPOINTS)
    name = f"step-{learner.progress.step:08d}"
    with scratch("checkpoint") as folder:
        learner.save(folder)
        if learner.parallel.rank:
            return
        _put_folder(folder, checkpoints.sub(name))
    checkpoints.write(LATEST, json.dumps({"checkpoint": name}).encode())
    there = sorted({entry.key.partition("/")[0] for entry in checkpoints.list()} - {LATEST, SETTINGS})
    for old in [other for other in there if other < name][:-1]:
        for entry in list(checkpoints.sub(old).list()):
            checkpoints.sub(old).delete(entry.key)


def restore(learner: Learner, storage: Storage) -> bool:
    """Goes on from the last checkpoint, if there is one. Raises StorageError, OSError."""
    from shards.local import scratch
    from shards.storage import NotFound

    checkpoints = storage.sub(CHECKPOINTS)
    try:
        name = json.loads(checkpoints.read(LATEST))["checkpoint"]
    except NotFound:
        return False
    with scratch("checkpoint") as folder:
        kept = checkpoints.sub(name)
        for entry in kept.list():
            path = folder / entry.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(kept.read(entry.key))
        learner.restore(folder)
    return True


def put(learner: Learner, config: TrainConfig, storage: Storage) -> None:
    """The averaged editor with all that it needs. All ranks take part, the first puts it."""
    from shards.local import scratch
    from trainer.export import export

    with scratch("editor") as folder:
        learner.averaged(folder)
        if learner.parallel.rank:
            return
        export(learner.frozen, config.model, folder, config.revision)
        about: dict[str, Any] = {
            "seed": config.seed,
            "steps": learner.progress.step,
            "samples": learner.progress.seen,
        }
        about |= {"learn": config.learn.model_dump()}
        if (before := Path(config.model) / SETTINGS).is_file():  # an editor that went on
            about["before"] = json.loads(before.read_text())
        (folder / SETTINGS).write_text(json.dumps(about, indent=1))
        _put_folder(folder, storage)


def _put_folder(folder: Path, storage: Storage) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = path.relative_to(folder).as_posix()
            storage.delete(key)
            storage.create_file(key, path)
