"""unCLIP (Ramesh et al. 2022, "Hierarchical Text-Conditional Image Generation with CLIP Latents"), the open form of
DALL-E 2: a diffusion model decodes CLIP's embedding of a picture, and an edit is another embedding.

An edit is section 3.3's text difference: the picture is inverted by DDIM under its own embedding z, and decoded from
there under slerp(z, d, angle), where d is the normed difference of the captions' embeddings. The paper takes angles of
a quarter to a half of the way. It is no instruction editor: it is told captions before and after.

A decoder's folder holds a UNet of diffusers' with a projection of the embedding beside the time's, as Stable unCLIP has
it, and that model's normalizer; the embedding is given without noise, which is there to decode what a prior has drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from torch import Tensor
from torch.nn import functional as F

from evaluation.asked import Asked, EditorMissing
from evaluation.ddim import back, moved, there
from filters.clip import ClipJudge
from filters.weights import ClipWeights, WeightsError
from shards.images import Pixels
from trainer.embedded import NORMALIZER, UNET, conditions
from trainer.frozen import Frozen

_ALIKE = 1e-6  # of two vectors that are as good as one, between which there is no way


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Of vectors of length 1, (b, d), those so far on the way on the sphere."""
    angle = torch.acos((start * end).sum(dim=1, keepdim=True).clamp(_ALIKE - 1, 1 - _ALIKE))
    whole = angle.sin()
    return F.normalize(
        ((1 - share) * angle).sin() / whole * start + (share * angle).sin() / whole * end, dim=1
    )


class UnClip:
    """An `evaluation.editors.Editor`."""

    price = 0.0

    def __init__(
        self,
        model: str,
        base: str,
        clip: str,
        device: str,
        angle: float = 0.35,
        scale: float = 1.0,
        invert: int = 40,
        steps: int = 25,
    ) -> None:
        """model: the decoder's folder. base: the text-to-image model whose autoencoder and schedule it has. clip: as of
        `ClipWeights`. angle: a share of the way. scale: of guidance. Raises EditorMissing."""
        try:
            self._frozen = Frozen.load(base).to(device)
            self._clip = ClipJudge(ClipWeights(clip), device=device)
            unet = UNet2DConditionModel.from_pretrained(Path(model) / UNET, use_safetensors=True)
            self._normalizer = StableUnCLIPImageNormalizer.from_pretrained(
                Path(model) / NORMALIZER, use_safetensors=True
            ).to(device)
        except (OSError, ValueError, WeightsError) as error:
            raise EditorMissing(
                f"unCLIP needs a decoder, its model and CLIP: {str(error).splitlines()[0]}"
            ) from None
        width = self._normalizer.config["embedding_dim"]
        if unet.config["projection_class_embeddings_input_dim"] != 2 * width:
            raise EditorMissing(f"{model}: the UNet decodes no embeddings of {width} numbers")
        self._unet = cast(UNet2DConditionModel, unet.to(device).eval())
        self._angle, self._guidance, self._invert, self._steps = angle, scale, invert, steps
        self._scale = float(self._frozen.vae.config.scaling_factor)
        self._null = self._frozen.text([""])

    def expresses(self, asked: Asked) -> bool:
        return (
            bool(asked.caption_before and asked.caption_after) and asked.caption_before != asked.caption_after
        )

    def __call__(self, asked: Sequence[Asked]) -> list[Pixels]:
        """Nothing is drawn: an edit is the same for each seed."""
        return self.turned(asked, [self._angle])[0]

    @torch.no_grad()
    def turned(self, asked: Sequence[Asked], angles: Sequence[float]) -> list[list[Pixels]]:
        """The edits for each angle; pictures are inverted once for all."""
        pixels = self._frozen.pixels([one.image for one in asked])
        shown = self._clip.embed_pixels((pixels + 1) / 2)
        before = self._clip.embed_texts([one.caption_before or "" for one in asked])
        after = self._clip.embed_texts([one.caption_after or "" for one in asked])
        told = F.normalize(after - before, dim=1)
        noise = self.inverted(self._frozen.source(pixels) * self._scale, shown)
        made = [self.decoded(noise, slerp(shown, told, angle)) for angle in angles]
        return [list(self._frozen.decode(latents).cpu().numpy()) for latents in made]

    def inverted(self, clean: Tensor, embeddings: Tensor) -> Tensor:
        """The noise that decodes to a picture, (b, c, h, w), scaled latents."""
        state = clean
        for step, following in there(self._last, self._invert):
            state = self._moved(state, embeddings, step, following, 1.0)
        return state

    def decoded(self, state: Tensor, embeddings: Tensor) -> Tensor:
        """Scaled latents of what the embeddings, (b, d), tell, from noise."""
        for step, following in back(self._last, self._steps):
            state = self._moved(state, embeddings, step, following, self._guidance)
        return state

    @property
    def _last(self) -> int:
        # One before the last, of which nothing is left of the picture where the schedule ends in pure noise.
        return len(self._frozen.objective.alphas) - 2

    def _moved(self, state: Tensor, embeddings: Tensor, step: int, following: int, scale: float) -> Tensor:
        told = conditions(embeddings, self._normalizer)

        def predict(latents: Tensor, at: Tensor) -> Tensor:
            words = self._null.expand(len(latents), -1, -1)
            said = self._unet(latents, at, encoder_hidden_states=words, class_labels=told).sample
            if scale == 1:
                return cast(Tensor, said)
            nothing = torch.zeros_like(told)  # as a tenth of what it was taught
            bare = self._unet(latents, at, encoder_hidden_states=words, class_labels=nothing).sample
            return cast(Tensor, bare + scale * (said - bare))

        return moved(predict, self._frozen.objective, state, step, following)[0]
