"""The trained editor, made small enough to come with the repository, beside the models that it shares parts with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.frozen import Frozen
from trainer.model import SpatialEditor

SHARED = ("vae", "text_encoder", "tokenizer")  # as they were: an editor's training does not change them


def carry(trained: Path, diffusion: Path, folder: Path) -> None:
    """Writes the editor of the folder `trained`, which `train` left, into `folder`: `trainer.compact`, with links to
    what it shares with the text-to-image model in `diffusion`. Raises OSError where either is missing, ValueError where
    the two do not share what the editor needs."""
    frozen = Frozen.load(trained)
    if frozen.identity() != Frozen.load(diffusion).identity():
        raise ValueError(f"{trained} was not made of {diffusion}: it has another autoencoder")
    editor = SpatialEditor.load(trained, frozen.pasting)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    editor.save(folder, compact=True)
    config = folder / "unet" / "config.json"
    said = {name: value for name, value in json.loads(config.read_text()).items() if name != "_name_or_path"}
    config.write_text(json.dumps(said, indent=2) + "\n")  # where it was trained is nobody's concern
    for name in SHARED:
        (folder / name).symlink_to(os.path.relpath(diffusion / name, folder), target_is_directory=True)
    shutil.copytree(trained / "scheduler", folder / "scheduler")
    for name in ("model_index.json", "training.json"):
        shutil.copyfile(trained / name, folder / name)
    (folder / "README.md").write_text(card(json.loads((folder / "training.json").read_text())), "utf-8")


def card(training: Mapping[str, Any]) -> str:
    """training: of training.json."""
    taught = "\n".join(_taught(one) for one in _in_order(training))
    return f"""# The editor

An editor of pictures by instruction, English or Vietnamese, that knows where: SpatialPix's spatial layers on the
starter diffusion model, 128 px. It knows nothing but the starter world: ten kinds of things in eight colours and four
materials.

```python
import numpy as np
from PIL import Image

from trainer.pipeline import Sampling, SpatialPixPipeline

pipeline = SpatialPixPipeline.from_pretrained("models/starter/weights/editor")
edited = pipeline(np.asarray(Image.open("picture.png").convert("RGB")), "move the ball 20% to the right",
                  sampling=Sampling(steps=12, text=3.0, image=1.2, sharp=4.0))
```

- Files: `unet` (float16, as diffusers loads it), `spatial` (int8 with a scale a row), `scheduler`; autoencoder, text
  encoder and tokenizer are links to those of [diffusion](../diffusion).
- Training, all settings of which are in `training.json`:
{taught}
- Data: pairs of the starter world, renders of this project's own (CC0-1.0), and the same the other way round.
- How good it is, beside others: [results](../../../../docs/results.md). How it works:
  [the editor](../../../../docs/editor.md).
- Licence: Apache-2.0.

Made of what `train` left by `.venv/bin/python -m models.starter editor --trained FOLDER`.
"""


def _in_order(training: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A training, after those that its editor came from."""
    before = training.get("before")
    return [*(_in_order(before) if before else ()), training]


def _taught(training: Mapping[str, Any]) -> str:
    learn = training["learn"]
    finding = f", of which the first {learn['find']} teach to find alone" if learn["find"] else ""
    return (
        f"  - {training['samples']} samples in {training['steps']} steps{finding};\n"
        f"    rate {learn['rate']}, averaged weights (decay {learn['ema']}), seed {training['seed']}."
    )
