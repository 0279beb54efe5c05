"""DiffusionCLIP (Kim, Kwon & Ye 2022, "DiffusionCLIP: Text-Guided Diffusion Models for Robust Image Manipulation"): a
diffusion model is tuned anew for each *transformation*, a pair of texts, and then edits any picture that way.

Pictures are inverted by DDIM up to the return step and sampled back by the tuned model. It is tuned by the directional
loss 1 - cos(e(i1) - e(i0), e(t1) - e(t0)) and by how far the picture is from what it was, step by step, as the paper's
GPU-efficient variant does. Here the model is a latent one, told no words: the method knows none but those of the loss.
An instruction that is none of the transformations cannot be said to it, and one that asks for a number has no
transformation; some of these are tried by their captions, tuned on the one picture.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.ddim import back, moved, there
from evaluation.editors import Asked, EditorMissing
from filters.clip import ClipJudge
from filters.weights import ClipWeights, WeightsError
from shards.dataset import open_dataset
from shards.images import Pixels, decode
from shards.tables import opened
from spatial.language import parse_any
from spatial.scene import SpatialError
from trainer.examples import squeezed
from trainer.frozen import Frozen, text_to_image

_NUMERIC = frozenset({"move", "place", "resize", "rotate", "relate", "zoom", "pan", "orbit"})


@dataclass(frozen=True, slots=True)
class Transformation:
    """name: such as "recolor:red". before, after: what pictures show, in words."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """images: to tune on. rounds: over all of them. rate: of learning. back: the return step, a share of all steps.
    invert, steps: of DDIM, there and back. keep: what the loss of the picture's change counts. share: of the edits that
    ask for a number, those that are tried."""

    images: int = 30
    rounds: int = 5
    rate: float = 3e-5
    back: float = 0.5
    invert: int = 40
    steps: int = 6
    keep: float = 0.3
    share: float = 0.0


def transformation_of(text: str) -> Transformation | None:
    """What an instruction asks for, if it is one thing that texts before and after tell: a colour, a material, the
    light, a place, a side."""
    try:
        _, said = parse_any(text)
    except SpatialError:
        return None
    if said.kind == "place" and said.region in ("left", "right"):
        other = "right" if said.region == "left" else "left"
        return Transformation(
            f"side:{said.region}", f"an object on the {other}", f"an object on the {said.region}"
        )
    if said.kind not in ("recolor", "material", "lighting", "background") or said.value is None:
        return None
    value = said.value.replace("_", " ")
    after = {
        "recolor": f"a {value} object",
        "material": f"an object made of {value}",
        "lighting": f"objects in {value} light",
        "background": f"objects, {value}",
    }[said.kind]
    before = "objects" if said.kind in ("lighting", "background") else "an object"
    return Transformation(f"{said.kind}:{said.value}", before, after)


class DiffusionClip:
    """An `evaluation.editors.Editor`. Tuned models are kept in this process; `spent` has the seconds that each took."""

    price = 0.0

    def __init__(
        self,
        model: str,
        clip: str,
        names: Sequence[str],
        pictures: Mapping[str, Sequence[Pixels]],
        device: str,
        tuning: Tuning,
        notes: Path | None = None,
    ) -> None:
        """model: a text-to-image model's folder. clip: as of `ClipWeights`. names: of the transformations that there
        are. pictures: to tune on, by transformation. notes: a folder for the seconds that tuning took. Raises
        EditorMissing."""
        try:
            self._frozen, self._unet = Frozen.load(model).to(device), text_to_image(model).to(device).eval()
            self._clip = ClipJudge(ClipWeights(clip), device=device)
        except (OSError, ValueError, WeightsError) as error:
            raise EditorMissing(
                f"DiffusionCLIP needs a model and CLIP: {str(error).splitlines()[0]}"
            ) from None
        self._names, self._pictures, self._tuning, self._notes = frozenset(names), pictures, tuning, notes
        self._scale = float(self._frozen.vae.config.scaling_factor)
        self._tuned: dict[str, nn.Module] = {}
        self._null = self._frozen.text([""])
        self.spent: dict[str, float] = {}

    def expresses(self, asked: Asked) -> bool:
        found = transformation_of(asked.text)
        if found is not None and found.name in self._names:
            return True
        drawn = int.from_bytes(hashlib.sha256(f"{asked.seed}".encode()).digest()[:4], "big") / 2**32
        numeric = asked.kind in _NUMERIC and asked.caption_before and asked.caption_after
        return bool(numeric) and asked.caption_before != asked.caption_after and drawn < self._tuning.share

    def __call__(self, asked: Sequence[Asked]) -> list[Pixels]:
        """Edits of one transformation are sampled together."""
        groups: dict[str, list[int]] = {}
        for place, one in enumerate(asked):
            found = transformation_of(one.text)
            known = found is not None and found.name in self._names
            groups.setdefault(found.name if known and found else f"own:{place}", []).append(place)
        made: list[Pixels | None] = [None] * len(asked)
        for name, places in groups.items():
            some = [asked[place] for place in places]
            if name.startswith("own:"):
                one = some[0]
                said = Transformation(name, one.caption_before or "", one.caption_after or "")
                tuned = self.tuned(said, [one.image])
            else:
                tuned = self._of(
                    cast(Transformation, transformation_of(some[0].text)), some[0].image.shape[0]
                )
            for place, picture in zip(places, self.edited([one.image for one in some], tuned), strict=True):
                made[place] = picture
        return [picture for picture in made if picture is not None]

    def _of(self, said: Transformation, side: int) -> nn.Module:
        if said.name not in self._tuned:
            pictures = [squeezed(one, side) for one in self._pictures.get(said.name, ())]
            if not pictures:
                raise ValueError(f"there are no pictures to tune {said.name} on")
            self._tuned[said.name] = self.tuned(said, pictures[: self._tuning.images])
        return self._tuned[said.name]

    def tuned(self, said: Transformation, pictures: Sequence[Pixels]) -> nn.Module:
        """A copy of the model that makes pictures so. pictures: (h, w, 3) uint8 of one size."""
        began, tuning = time.monotonic(), self._tuning
        unet = copy.deepcopy(self._unet).train()
        optimizer = torch.optim.Adam(unet.parameters(), tuning.rate)
        before = self._clip.embed_texts([said.before, said.after])
        wanted = F.normalize(before[1] - before[0], dim=0)
        prepared = [self._inverted(picture) for picture in pictures]
        for _ in range(tuning.rounds):
            for pixels, latents in prepared:
                self._tune(unet, optimizer, pixels, latents, wanted)
        self.spent[said.name] = time.monotonic() - began
        if self._notes is not None:
            self._notes.mkdir(parents=True, exist_ok=True)
            about = {"images": len(pictures), "rounds": tuning.rounds, "seconds": self.spent[said.name]}
            name = said.name.replace(":", "-")
            if said.name.startswith("own:"):
                name = f"own-{hashlib.sha256(f'{said.before} {said.after}'.encode()).hexdigest()[:16]}"
            (self._notes / f"{name}.json").write_text(json.dumps(about))
        return cast(nn.Module, unet.eval())

    @torch.no_grad()
    def _inverted(self, picture: Pixels) -> tuple[Tensor, Tensor]:
        pixels = self._frozen.pixels([picture])
        clean = self._frozen.source(pixels) * self._scale
        return pixels, self.inverted(clean)

    def inverted(self, clean: Tensor) -> Tensor:
        """Latents at the return step. clean: (b, c, h, w), scaled."""
        state = clean
        with torch.no_grad():
            for step, following in there(self._last, self._tuning.invert):
                state = self._moved(self._unet, state, step, following)[0]
        return state

    def sampled(self, unet: nn.Module, state: Tensor) -> Tensor:
        """Clean latents from those at the return step."""
        with torch.no_grad():
            for step, following in back(self._last, self._tuning.steps):
                state = self._moved(unet, state, step, following)[0]
        return state

    def edited(self, pictures: Sequence[Pixels], unet: nn.Module) -> list[Pixels]:
        with torch.no_grad():
            pixels = self._frozen.pixels(pictures)
            clean = self._frozen.source(pixels) * self._scale
            made = self._frozen.decode(self.sampled(unet, self.inverted(clean)))
        return list(made.cpu().numpy())

    def _tune(
        self, unet: nn.Module, optimizer: torch.optim.Optimizer, pixels: Tensor, state: Tensor, wanted: Tensor
    ) -> None:
        """One picture, all steps back: each step's clean picture is judged, and its gradient taken at once."""
        with torch.no_grad():
            source = self._clip.embed_pixels((pixels + 1) / 2)
        for step, following in back(self._last, self._tuning.steps):
            state, clean = self._moved(unet, state.detach(), step, following)
            made = self._frozen.vae.decode(clean / self._scale).sample
            turned = self._clip.embed_pixels((made.clamp(-1, 1) + 1) / 2) - source
            off = 1 - F.cosine_similarity(turned, wanted[None]).mean()
            loss = off + self._tuning.keep * (made - pixels).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @property
    def _last(self) -> int:
        return round(self._tuning.back * (len(self._frozen.objective.alphas) - 1))

    def _moved(self, unet: nn.Module, state: Tensor, step: int, following: int) -> tuple[Tensor, Tensor]:
        def predict(latents: Tensor, at: Tensor) -> Tensor:
            words = self._null.expand(len(latents), -1, -1)
            return cast(Tensor, unet(latents, at, encoder_hidden_states=words).sample)

        return moved(predict, self._frozen.objective, state, step, following)


def pictures_to_tune_on(uri: str, split: str, names: Sequence[str], images: int) -> dict[str, list[Pixels]]:
    """Pictures before such an edit, by transformation, of a published dataset. Raises StorageError."""
    dataset, found = open_dataset(uri), {name: cast(list[Pixels], []) for name in names}
    columns = ["original_image", "edit_prompt"]
    for file in dataset.files("data", split):
        with opened(dataset.storage, file.path) as parquet:
            for group in range(parquet.num_row_groups):
                if all(len(some) >= images for some in found.values()):
                    return found
                prompts = parquet.read_row_group(group, columns=columns[1:])[columns[1]].to_pylist()
                kept = [
                    (row, said.name)
                    for row, text in enumerate(prompts)
                    if (said := transformation_of(text or "")) is not None and said.name in found
                ]
                if not kept:
                    continue
                shown = parquet.read_row_group(group, columns=columns[:1])[columns[0]]
                for row, name in kept:
                    if len(found[name]) < images:
                        found[name].append(np.asarray(decode(shown[row].as_py())))
    return found
