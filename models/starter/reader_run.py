"""The commands `reader-train` and `reader-eval`: from the cache's scenes to committed weights with their card."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from filters.reader import CONFIG as CONFIG_FILE
from filters.reader import WEIGHTS, Reader
from models.starter.data import Scenes, load
from models.starter.reader import NAME, Recipe, save
from models.starter.reader import train_reader as train
from models.starter.reader_data import CONFIG, Labelled, labelled, round_trips
from models.starter.reader_eval import Figures, below_bar, confusions, evaluate, table
from models.starter.training import averaged
from models.starter.world import SPLITS
from shards.storage import open_storage

FIGURES = "figures.json"
LEGS = "training.json"  # one entry for each leg: its command, steps and hours


def train_reader(
    cache: Path,
    splits: list[str],
    recipe: Recipe,
    vae: Path | None,
    folder: Path,
    threads: int,
    until_s: float | None,
    start: Path | None = None,
) -> int:
    """Trains, or goes on, then writes weights, configuration, figures and card to `folder`. Returns an exit code.

    start: folder of weights, with their legs of training, to begin from.

    splits: whose scenes to learn from. vae: a folder of diffusers' `AutoencoderKL`, for round trips. until_s:
    stop after so many seconds; what there is by then is measured too.
    """
    torch.set_num_threads(threads)
    # Read first: what is missing is told before hours go by.
    legs = [] if start is None else json.loads((start / LEGS).read_text())
    data = labelled(_read(cache, splits))
    wanted = sum(SPLITS[split].images for split in splits)
    print(f"reader: learns from {len(data)} pictures of {wanted} in {', '.join(splits)}", flush=True)
    if vae is not None:
        data = replace(data, round_trips=round_trips(data.images, vae))
    checkpoints = cache / "checkpoints"
    train(data, recipe, checkpoints, until_s=until_s, start=start)
    save(checkpoints, folder)
    figures = measure(cache, folder, "reader_test", vae, None)
    (folder / FIGURES).write_text(_json(figures), encoding="utf-8")
    legs.append(_leg(recipe, splits, vae, checkpoints, start))
    (folder / LEGS).write_text(json.dumps(legs, indent=1) + "\n")
    text = card(data, recipe, splits, figures, legs, checkpoints)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return _verdict(figures)


def _leg(
    recipe: Recipe, splits: list[str], vae: Path | None, checkpoints: Path, start: Path | None
) -> dict[str, Any]:
    usual = Recipe()
    command = "python -m models.starter reader-train"
    command += "".join(f" --split {split}" for split in splits if splits != ["reader_train"])
    command += f" --steps {recipe.steps}" if recipe.steps != usual.steps else ""
    command += f" --rate {recipe.rate}" if recipe.rate != usual.rate else ""
    share = recipe.round_trip_share
    command += f" --round-trip-share {share}" if share != usual.round_trip_share else ""
    command += " --bf16" if recipe.bf16 else ""
    command += " --vae models/starter/weights/diffusion/vae" if vae is not None else ""
    command += " --start models/starter/weights/reader" if start is not None else ""
    _, steps, seconds = averaged(NAME, checkpoints)
    return {"command": command, "steps": steps, "hours": round(seconds / 3600, 2)}


def evaluate_reader(
    cache: Path, folder: Path, split: str, vae: Path | None, limit: int | None, threads: int
) -> int:
    """Prints the figures of committed weights. Returns an exit code: 1 below the bars."""
    torch.set_num_threads(threads)
    return _verdict(measure(cache, folder, split, vae, limit))


def read_by_eye(folder: Path, threads: int) -> int:
    """Prints the reader's agreement with labels by eye, and adds it to the card. Returns an exit code.

    Raises ValueError where the diffusion model is not the one whose pictures were labelled.
    """
    from models.starter.eye import Labels, add_to_card, measure_by_eye
    from models.starter.measure import load_pipeline
    from models.starter.recipes import WEIGHTS as MODELS

    torch.set_num_threads(threads)
    labels = Labels.read()
    unet = MODELS / "diffusion" / "unet" / "diffusion_pytorch_model.safetensors"
    if sha256(unet.read_bytes()).hexdigest() != labels.weights:
        raise ValueError(
            f"{unet} is not the model whose pictures were labelled: label those of this one anew"
        )
    figures = measure_by_eye(load_pipeline(MODELS / "diffusion"), Reader.load(folder), labels)
    print(json.dumps(figures, indent=1))
    add_to_card(folder / "README.md", figures)
    return 0


def measure(cache: Path, folder: Path, split: str, vae: Path | None, limit: int | None) -> dict[str, Figures]:
    """The reader of this folder against a split's renders and, where there is a VAE, their round trips."""
    reader = Reader.load(folder)
    data = labelled(load(open_storage(str(cache)), split, limit), reader.config)
    figures = {"renders": evaluate(reader, data)}
    if vae is not None:
        figures["round trips"] = evaluate(reader, data, round_trips(data.images, vae))
    return figures


def _read(cache: Path, splits: list[str]) -> Scenes:
    parts = [load(open_storage(str(cache)), split) for split in splits]
    return Scenes(
        ids=tuple(name for part in parts for name in part.ids),
        images=np.concatenate([part.images for part in parts]),
        scenes=tuple(scene for part in parts for scene in part.scenes),
        objects=tuple(rows for part in parts for rows in part.objects),
    )


def _json(figures: dict[str, Figures]) -> str:
    return json.dumps({title: figure.to_dict() for title, figure in figures.items()}, indent=1) + "\n"


def _verdict(figures: dict[str, Figures]) -> int:
    print(table(figures))
    for title, figure in figures.items():
        print(f"\nMost often wrong, {title}:\n{confusions(figure)}")
    faults = below_bar(figures)
    print("\n" + ("\n".join(f"below the bar: {fault}" for fault in faults) or "every bar is met"))
    return 1 if faults else 0


def card(
    data: Labelled,
    made_by: Recipe,
    splits: list[str],
    figures: dict[str, Figures],
    legs: list[dict[str, Any]],
    checkpoints: Path,
) -> str:
    """README.md beside the weights: data, recipe, seed, hours, figures and the command."""
    weights, _, _ = averaged(NAME, checkpoints)
    steps, hours = sum(leg["steps"] for leg in legs), sum(leg["hours"] for leg in legs)
    commands = "\n".join(leg["command"] for leg in legs)
    last = "the last leg's recipe" if len(legs) > 1 else "Recipe"
    recipe = ", ".join(f"{name} {value}" for name, value in asdict(made_by).items() if name != "seed")
    parameters = sum(weight.numel() for weight in weights.values() if weight.ndim)
    vae = (
        f"; {made_by.round_trip_share:.0%} of them after a round trip through the starter VAE"
        if data.round_trips is not None
        else ""
    )
    wrong = "\n\n".join(f"Most often wrong, {title}:\n\n{confusions(f)}" for title, f in figures.items())
    return f"""# The reader

A small detector that says what stands in a picture of the starter world: kind, colour, material, box, centre and,
where a kind has one, yaw, each with a confidence. Use it with `filters.reader.Reader.load`. It knows nothing but
the starter world:

- kinds: {", ".join(CONFIG.kinds)}
- colours: {", ".join(CONFIG.colors)}
- materials: {", ".join(CONFIG.materials)}

About it:

- Files: `{WEIGHTS}` (fp16, {parameters / 1e6:.2f} million parameters), `{CONFIG_FILE}`, `{FIGURES}`.
- Data: {len(data)} pictures with {len(data.things)} things, splits {", ".join(splits)} of the starter world{vae}.
  Measured on the split reader_test, never learned from.
- Varied by flips (boxes and yaws too), reframing, light, blur, scaling down and up, noise and JPEG.
- {last.capitalize()}: {recipe}.
- Seed: {made_by.seed}. {steps} steps in {hours:.2f} hours, on shared CPU cores.
- Licence: Apache-2.0; it learned from renders of this project's own (CC0-1.0).

Made again from nothing by

```
python -m models.starter render --split {" --split ".join(splits)} --split reader_test
{commands}
```

## Figures

A thing is found where a sighting's box has an IoU of at least 0.5 with it; what is missed counts as wrong.

{table(figures)}

{wrong}
"""
