"""Model cards: README.md beside the weights, written from training.json and figures.json and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filters.profiles import ClipProfile, read
from filters.weights import THRESHOLDS, THRESHOLDS_FILE
from models.starter.prompts import Prompt
from models.starter.training import averaged
from models.starter.world import HELD_OUT, SEED

TRAINING, FIGURES = "training.json", "figures.json"
EARLIER = "earlier.json"  # beside checkpoints: training.json of the weights that they began with


def write_training(folder: Path, names: Sequence[str], checkpoints: Path, images: int) -> None:
    """How the checkpoints of these names came about, as training.json; with what went before, where they began
    with weights that were there."""
    runs = _read(checkpoints / EARLIER)["runs"] if (checkpoints / EARLIER).exists() else {}
    for name in names:
        _, step, seconds = averaged(name, checkpoints)
        before = runs.get(name, {"steps": 0, "hours": 0.0})
        hours = round(before["hours"] + seconds / 3600, 2)
        runs[name] = {"steps": before["steps"] + step, "hours": hours}
    _write(folder / TRAINING, {"images": images, "seed": SEED, "runs": runs})


def write_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    _write(folder / FIGURES, figures)
    print(json.dumps(figures, indent=1))


PAIR_THRESHOLDS_FILE = f"{THRESHOLDS}-starter-p2p.json"


def write_card(folder: Path) -> None:
    """README.md of a folder of weights. Raises FileNotFoundError before `export` and `measure`."""
    text = {"diffusion": _diffusion_card, "clip": _clip_card}[folder.name](folder)
    (folder / "README.md").write_text(text, encoding="utf-8")


ACROSS, DOWN = 5, 4  # pictures of a contact sheet


def contact_sheets(
    folder: Path,
    asked: Sequence[Prompt],
    pictures: NDArray[np.uint8],
    seeds: Sequence[int],
    number: int = 100,
) -> None:
    """Some of the pictures, evenly spread, for people to look at: sheets without a word on them, and asked.json
    with what each was asked for, in the order of the sheets, row by row."""
    folder.mkdir(parents=True, exist_ok=True)
    some = np.linspace(0, len(asked) - 1, number).astype(int)
    for sheet, places in enumerate(np.split(some, range(ACROSS * DOWN, number, ACROSS * DOWN))):
        rows = [
            np.concatenate(list(pictures[row]), axis=1)
            for row in np.split(places, range(ACROSS, len(places), ACROSS))
        ]
        whole = np.concatenate(rows)
        Image.fromarray(whole).resize((whole.shape[1] * 2, whole.shape[0] * 2)).save(
            folder / f"sheet-{sheet}.png"
        )
    lines = [
        {
            "prompt": asked[place].text,
            "seed": int(seeds[place]),
            "asked": [f"{color} {noun}" for noun, color in asked[place].things],
        }
        for place in some
    ]
    (folder / "asked.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def table_of_thresholds(profile: ClipProfile) -> str:
    """Markdown: the thresholds of each kind, and what they accept of pairs that did not choose them."""
    held_out = profile.calibration["held_out"]
    head = "| kind | image | text before | text after | direction | right accepted |"
    lines = [head + " wrong accepted |", "|---|" + "---:|" * 6]
    for kind, found in sorted(held_out["kinds"].items()):
        limits = profile.kinds.get(kind, profile.default)
        cells = [
            f"{getattr(limits, name):.3f}" for name in ("image", "text_before", "text_after", "direction")
        ]
        wrong = float(np.mean(list(found["false_accepts"].values())))
        lines.append(f"| {kind} | {' | '.join(cells)} | {found['true_accepts']:.0%} | {wrong:.1%} |")
    wrong = float(np.mean(list(held_out["false_accepts"].values())))
    lines.append(f"| all | | | | | {held_out['true_accepts']:.0%} | {wrong:.1%} |")
    return "\n".join(lines)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _trained(training: Mapping[str, Any]) -> str:
    runs = ", ".join(
        f"{name} {run['steps']} steps ({run['hours']:.2f} h)" for name, run in training["runs"].items()
    )
    return f"{runs}, on two shared CPU cores; seed {training['seed']}"


def _held_out() -> str:
    return ", ".join(f"{color} {kind}" for kind, color in sorted(HELD_OUT))


def _megabytes(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.rglob('*.safetensors')) / 2**20:.1f} MiB"


def _diffusion_card(folder: Path) -> str:
    figures, training = _read(folder / FIGURES), _read(folder / TRAINING)
    test, new, reader = figures["test"], figures["combinations"], figures["reader_on_renders"]
    one, two, sided = test["prompts"]
    rows = [
        ("one object, kind and colour right", one, "one"),
        ("two objects, both right", two, "two"),
        ("left and right as asked, of those with both right", sided, "sides"),
    ]
    lines = [
        f"| {title} | {count} | {test[key]:.1%} | {new[key]:.1%} | {reader[key]:.1%} |"
        for title, count, key in rows
    ]
    scales = [
        f"| {scale} | {found['one']:.1%} | {found['two']:.1%} | {found['sides_of_all']:.1%} |"
        for scale, found in figures["validation"].items()
    ]
    return f"""# The starter diffusion model

A small Stable Diffusion in diffusers' own classes (`AutoencoderKL`, `CLIPTextModel`, `UNet2DConditionModel`), 128 px,
fp16, {_megabytes(folder)}. It predicts v with zero terminal SNR, as
`scheduler/scheduler_config.json` says. It knows the starter world and nothing else: `models/starter/world.py`.

```python
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("models/starter/weights/diffusion")
picture = pipeline(
    "a red ball to the left of a blue cube", num_inference_steps={figures["steps"]}, \
guidance_scale={figures["guidance"]}
).images[0]
```

- Data: {training["images"]:,} renders of this project's own (CC0-1.0) and their mirrored copies with mirrored captions.
  Never shown: {_held_out()}.
- Recipe: {_trained(training)}.
- Licence: Apache-2.0.

Made again from nothing by

```
python -m models.starter render
python -m models.starter vae
python -m models.starter decoder
python -m models.starter text
python -m models.starter diffusion
python -m models.starter export
python -m models.starter measure diffusion
```

## Figures

Judged by the reader, {figures["steps"]} steps, guidance {figures["guidance"]}, on prompts from captions of scenes that
were not learned from. The last column is the reader on renders of the same scenes: what a perfect model would be given.

| | prompts | held-out scenes | held-out combinations | the renders |
|---|---:|---:|---:|---:|
{chr(10).join(lines)}

Of all prompts that ask for sides, whether both objects are there or not, {test["sides_of_all"]:.1%} are right.

The autoencoder keeps {figures["vae"]["psnr"]:.1f} dB PSNR (tenth percentile {figures["vae"]["psnr_10"]:.1f}) on
{figures["vae"]["pictures"]} held-out renders.

Guidance was chosen once, on {figures["validation"][str(figures["guidance"])]["prompts"][0] * 3} validation prompts:

| guidance | one | two | sides, of all |
|---|---:|---:|---:|
{chr(10).join(scales)}
"""


def _pair_thresholds(folder: Path) -> str:
    profile = read(folder / PAIR_THRESHOLDS_FILE)

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.0%}"

    lines = [
        f"| {kind} | {one['draws']} | {one['accepted']:.0%} | {share(one['changed'])} | {share(one['stayed'])} | "
        f"{share(one['held_out']['changed'])} | {share(one['held_out']['stayed'])} |"
        for kind, one in profile.calibration.items()
    ]
    return f"""
`{PAIR_THRESHOLDS_FILE}` holds the profile `{profile.name}`, for pairs that the starter diffusion model makes from words
(`python -m models.starter pair-thresholds`). It was chosen on draws of composed edits: how many are accepted, and in
how many of those, by the reader, the named change happened and the rest stayed; the same where halves of the edits
judge each other:

| kind | draws | accepted | changed | stayed | changed, other half | stayed, other half |
|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(lines)}
"""


def _clip_card(folder: Path) -> str:
    figures, training = _read(folder / FIGURES), _read(folder / TRAINING)
    told = ", ".join(f"{name} {share:.1%}" for name, share in figures["told_by_attribute"].items())
    chosen = ""
    if (folder / THRESHOLDS_FILE).is_file():
        profile = read(folder / THRESHOLDS_FILE)
        found = profile.calibration
        sorts = ", ".join(f"{sort} {share:.1%}" for sort, share in found["held_out"]["false_accepts"].items())
        chosen = f"""
## Thresholds

`{THRESHOLDS_FILE}` holds the profile `{profile.name}`: for each kind of edit that CLIP judges the thresholds with most
right pairs accepted at 5% false accepts, chosen on half of the pairs of a run of `configs/starter.yaml`. Of the other
half they accept:

{table_of_thresholds(profile)}

Wrong pairs accepted, by sort: {sorts}. Area under the ROC of all kinds together, on the half that chose:
{found["chosen_on"]["auc"]:.3f}; the curve is in the file.
"""
    if (folder / PAIR_THRESHOLDS_FILE).is_file():
        chosen += _pair_thresholds(folder)
    return f"""# The starter CLIP

A small open_clip model (ResNet and transformer), 128 px, fp16, {_megabytes(folder)}. It knows the starter world and
nothing else.

```python
import open_clip

name = "local-dir:models/starter/weights/clip"
model, _, prepare = open_clip.create_model_and_transforms(name)
tokenize = open_clip.get_tokenizer(name)
```

- Data: {training["images"]:,} renders of this project's own (CC0-1.0) and their mirrored copies with mirrored captions;
  beside the other captions of the batch, each picture's own with one attribute changed (NegCLIP).
- Recipe: {_trained(training)}.
- Licence: Apache-2.0.

Made again from nothing by

```
python -m models.starter render
python -m models.starter clip
python -m models.starter export
python -m models.starter measure clip
python -m ray_jobs generate --config configs/starter.yaml --set clip=null --set filters.clip=none
python -m models.starter thresholds --run runs/starter
```

## Figures

On {figures["scenes"]:,} scenes that were not learned from:

| | |
|---|---:|
| recall@1, picture to caption, among {figures["gallery"]} scenes whose captions exclude each other | \
{figures["recall_to_text"]:.1%} |
| recall@1, caption to picture | {figures["recall_to_image"]:.1%} |
| own caption before one with one attribute wrong | {figures["told"]:.1%} |
| left and right: own caption before the mirrored scene's ({figures["scenes_with_sides"]} scenes; chance 50%) | \
{figures["relations"]:.1%} |

One attribute wrong, by attribute: {told}.
{chosen}"""
