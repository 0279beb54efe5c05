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
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.asked import Asked, Edited, EditorMissing
from evaluation.ddim import back, moved, there
from evaluation.results import OWN
from evaluation.transformations import Transformation, transformation_of
from evaluation.tuned import TunedModels
from filters.clip import ClipJudge
from filters.weights import ClipWeights, WeightsError
from shards.dataset import open_dataset
from shards.images import Pixels, decode
from shards.tables import opened
from trainer.examples import squeezed
from trainer.frozen import Frozen, text_to_image

_IN_MEMORY = 4  # tuned models that stay there; the others lie in the folder


@dataclass(frozen=True, slots=True)
class Tuning:
    """images: to tune on. rounds: over all of them. rate: of learning. back: the return step, a share of all steps.
    invert, steps: of DDIM, there and back. keep: what the loss of the picture's change counts."""

    images: int = 30
    rounds: int = 5
    rate: float = 3e-5
    back: float = 0.5
    invert: int = 40
    steps: int = 6
    keep: float = 0.3


class DiffusionClip:
    """An `evaluation.editors.Editor`. A transformation is tuned for when it is first asked for, at the model's own
    size, and kept; an edit that asks for a number is tuned for on its own picture, and that model is not kept."""

    price = 0.0

    def __init__(
        self,
        model: str,
        clip: str,
        names: Sequence[str],
        pictures: Mapping[str, Sequence[Pixels]],
        device: str,
        tuning: Tuning,
        numeric: Collection[str] = (),
        kept: TunedModels | None = None,
    ) -> None:
        """model: a text-to-image model's folder. clip: as of `ClipWeights`. names: of the transformations that there
        are. pictures: to tune on, by transformation. numeric: names of edits that are tried by their captions. kept:
        where tuned models are looked for and put; None keeps all in memory. Raises EditorMissing."""
        try:
            self._frozen, self._unet = Frozen.load(model).to(device), text_to_image(model).to(device).eval()
            self._clip = ClipJudge(ClipWeights(clip), device=device)
        except (OSError, ValueError, WeightsError) as error:
            raise EditorMissing(
                f"DiffusionCLIP needs a model and CLIP: {str(error).splitlines()[0]}"
            ) from None
        self._names, self._pictures, self._tuning = frozenset(names), pictures, tuning
        self._numeric, self._kept = frozenset(numeric), kept
        self._scale = float(self._frozen.vae.config.scaling_factor)
        self._side = int(self._unet.config.sample_size) * 2 ** (
            len(self._frozen.vae.config.block_out_channels) - 1
        )
        self._tuned: dict[str, tuple[nn.Module, float]] = {}
        self._null = self._frozen.text([""])

    def expresses(self, asked: Asked) -> bool:
        return self._transformation(asked) is not None or asked.name in self._numeric

    def __call__(self, asked: Sequence[Asked]) -> list[Edited]:
        """Edits of one transformation are sampled together. What tuning takes is in no edit's seconds."""
        groups: dict[str, list[int]] = {}
        told: dict[str, Transformation] = {}
        for place, one in enumerate(asked):
            said = self._transformation(one) or Transformation(
                f"{OWN}{one.name or place}", one.caption_before or "", one.caption_after or ""
            )
            told[said.name] = said
            groups.setdefault(said.name, []).append(place)
        made: list[Edited | None] = [None] * len(asked)
        for name, places in groups.items():
            some, began = [asked[place].image for place in places], time.perf_counter()
            if name in self._names:
                unet, took, anew = self._of(told[name])
            else:
                unet, took, anew = *self.tuned(told[name], some), True
            if anew:
                began = time.perf_counter()
            pictures = self.edited(some, unet)
            each = (time.perf_counter() - began) / len(some)
            for place, picture in zip(places, pictures, strict=True):
                made[place] = Edited(picture, each, name, took)
        return [one for one in made if one is not None]

    def _transformation(self, asked: Asked) -> Transformation | None:
        found = transformation_of(asked.text)
        return found if found is not None and found.name in self._names else None

    def _of(self, said: Transformation) -> tuple[nn.Module, float, bool]:
        """The tuned model, the seconds that it took, and whether that was now."""
        if said.name in self._tuned:
            return *self._tuned[said.name], False
        found = None if self._kept is None else self._kept.of(said.name, self._unet)
        anew = found is None
        if found is None:
            pictures = [squeezed(one, self._side) for one in self._pictures.get(said.name, ())]
            if not pictures:
                raise ValueError(f"there are no pictures to tune {said.name} on")
            found = self.tuned(said, pictures[: self._tuning.images])
            if self._kept is not None:
                found = self._kept.keep(said.name, *found)
        if self._kept is not None and len(self._tuned) >= _IN_MEMORY:
            del self._tuned[next(iter(self._tuned))]
        self._tuned[said.name] = found
        return *found, anew

    def tuned(self, said: Transformation, pictures: Sequence[Pixels]) -> tuple[nn.Module, float]:
        """A copy of the model that makes pictures so, and the seconds that it took, with those for the inversion of the
        pictures. pictures: (h, w, 3) uint8."""
        began, tuning = time.perf_counter(), self._tuning
        unet = copy.deepcopy(self._unet).train()
        optimizer = torch.optim.Adam(unet.parameters(), tuning.rate)
        before = self._clip.embed_texts([said.before, said.after])
        wanted = F.normalize(before[1] - before[0], dim=0)
        prepared = [self._inverted(picture) for picture in pictures]
        for _ in range(tuning.rounds):
            for pixels, latents in prepared:
                self._tune(unet, optimizer, pixels, latents, wanted)
        if wanted.is_cuda:
            torch.cuda.synchronize()  # else what is still to be done is not counted
        return cast(nn.Module, unet.eval()), time.perf_counter() - began

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
