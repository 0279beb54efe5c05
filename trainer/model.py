"""The editor: a UNet that sees the source beside the noise, as InstructPix2Pix (Brooks et al. 2023, section 3.2), and
the spatial layers.

The four channels of the source are added to the first convolution with weights of zero, and the spatial layers' gates
are zero: a new editor does what the text-to-image model did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.compact import packed, unpacked
from trainer.features import features, features_width
from trainer.geometry import Truth
from trainer.paste import Pasting, Shown
from trainer.processor import Conditions, SpatialProcessor
from trainer.spatial_attention import Parts, SpatialContext, SpatialEncoder
from trainer.words import Words, arrays

UNET, SPATIAL = "unet", "spatial"
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
TOKEN_WIDTH = 128
_SAID = 200  # characters of what torch says of weights that do not fit


def with_source(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same UNet with twice the input channels; the new ones count for nothing yet. One that has them already, say
    InstructPix2Pix's, is given back. Raises ValueError for any other number."""
    latents = unet.config["out_channels"]
    if unet.config["in_channels"] == 2 * latents:
        return unet
    if unet.config["in_channels"] != latents:
        raise ValueError(
            f"a UNet of {unet.config['in_channels']} input channels is neither a text-to-image model nor an editor"
        )
    old = unet.conv_in
    new = nn.Conv2d(2 * latents, old.out_channels, old.kernel_size, old.stride, old.padding)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, :latents] = old.weight
        cast(Tensor, new.bias).copy_(cast(Tensor, old.bias))
    unet.conv_in = new.to(old.weight)
    unet.register_to_config(in_channels=2 * latents)
    return unet


class SpatialEditor(nn.Module):
    """unet: of twice the latents' channels. spatial: None for the plain editor."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        parts: Parts | None,
        token_width: int = TOKEN_WIDTH,
        pasting: Pasting | None = None,
    ) -> None:
        """parts: of the spatial layers; None for none. The weights of new layers are drawn from torch's generator.
        pasting: of an editor that finds things. Raises ValueError where that is missing."""
        super().__init__()
        if parts is not None and parts.grounding and pasting is None:
            raise ValueError(
                "an editor that finds things must be told the objective and the latents' scale: pasting"
            )
        self.pasting = pasting
        self.unet, self.parts, self.token_width = with_source(unet), parts, token_width
        self.spatial: SpatialEncoder | None = None
        if parts is not None and parts.tokens:
            text_width = unet.config["cross_attention_dim"]
            last = unet.config["block_out_channels"][0]
            channels = unet.config["out_channels"]
            scaling = 1.0 if pasting is None else pasting.scaling
            self.spatial = SpatialEncoder(
                text_width, channels, token_width, parts=parts, unet_width=last, scaling=scaling,
                known=features_width(unet),
            )  # fmt: skip
            self.unet.set_attn_processor(self._processors())
            if parts.paste:
                self._features: Tensor | None = None
                self.unet.conv_out.register_forward_pre_hook(self._note)

    def _processors(self) -> dict[str, Any]:
        assert self.parts is not None
        found: dict[str, Any] = {}
        for name, module in self.unet.named_modules():
            if f"{name}.processor" not in self.unet.attn_processors:
                continue
            if name.endswith("attn2"):
                layer = cast(Any, module)
                found[f"{name}.processor"] = SpatialProcessor(
                    layer.query_dim, self.token_width, layer.heads, self.parts
                )
            else:
                found[f"{name}.processor"] = AttnProcessor2_0()
        return found

    def _note(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._features = given[0]

    def context(
        self,
        words: Sequence[Words],
        phrases: Tensor,
        source: Tensor,
        shown: Shown | None = None,
        truth: Truth | None = None,
        alone: bool = False,
    ) -> SpatialContext | None:
        """Once an edit: what the layers need; None for the plain editor. phrases: (texts, text_width), those of
        `arrays(words).texts`. source: (b, c, h, w) latents. shown: to an editor that pastes. truth: in training, where
        things are and will be; alone: there, too, only what is named is to be found. Raises ValueError where nothing is
        shown to an editor that pastes."""
        if self.spatial is None:
            return None
        pixels = None if shown is None else shown.pixels
        said, known = arrays(list(words)), None
        if self.pasting is not None and self.spatial.parts.grounding:
            known = features(self.unet, self.pasting.objective, self.pasting.scaling * source)
        context = cast(SpatialContext, self.spatial(said, phrases, source, known, pixels, truth, alone))
        if context.paste is None or shown is None or shown.encode is None:
            return context
        paste = replace(context.paste, logits=shown.sharp * context.paste.logits)
        return self.spatial.drafted(replace(context, paste=paste), shown.encode(paste.expected()))

    def forward(
        self,
        noisy: Tensor,
        steps: Tensor,
        text: Tensor,
        source: Tensor,
        context: SpatialContext | None = None,
    ) -> Tensor:
        """The prediction, (b, c, h, w). noisy: (b, c, h, w). steps: (b,). text: (b, l, text_width). source: (b, c, h,
        w), the mode of the source's posterior *without* the scaling factor, or zeros."""
        predicted, more = self.painted(noisy, steps, text, source, context)
        return self.pasted(predicted, noisy, steps, context, more)

    def pasted(
        self,
        predicted: Tensor,
        noisy: Tensor,
        steps: Tensor,
        context: SpatialContext | None,
        more: Tensor | None,
    ) -> Tensor:
        """What `painted` predicts, with what is known pasted; of an editor that does not paste the same."""
        if context is None or self.pasting is None:
            return predicted
        return self.pasting.pasted(predicted, noisy, steps, context.paste, more)

    def painted(
        self,
        noisy: Tensor,
        steps: Tensor,
        text: Tensor,
        source: Tensor,
        context: SpatialContext | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The prediction before anything is pasted, and what `Paste.over` takes as `more`. All as of `forward`."""
        said = text if context is None else Conditions(text, context)
        seen = torch.cat([noisy, source], dim=1)
        predicted = cast(Tensor, self.unet(seen, steps, encoder_hidden_states=said).sample)
        if context is None or context.paste is None:
            return predicted, None
        assert self.spatial is not None and self._features is not None
        more, self._features = self.spatial.shares(self._features), None
        return predicted, more

    def save(self, folder: Path, compact: bool = False) -> None:
        """`unet` as diffusers loads it, and `spatial` beside it; of the plain editor the first alone. compact: to be
        carried about, not to go on learning from: the first in float16, the second as `trainer.compact` packs it."""
        weights = {name: value.contiguous() for name, value in self.unet.state_dict().items()}
        spatial = {
            f"encoder.{n}": v.contiguous()
            for n, v in (self.spatial.state_dict() if self.spatial else {}).items()
        }
        for name in [name for name in weights if ".processor." in name]:
            spatial[f"unet.{name}"] = weights.pop(name)
        if compact:
            weights, spatial = {name: value.half() for name, value in weights.items()}, packed(spatial)
        (folder / UNET).mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / UNET / _WEIGHTS, metadata={"format": "pt"})
        self.unet.save_config(folder / UNET)
        if self.parts is not None and self.spatial is not None:
            (folder / SPATIAL).mkdir(exist_ok=True)
            save_file(spatial, folder / SPATIAL / _WEIGHTS, metadata={"format": "pt"})
            config = {"parts": asdict(self.parts), "token_width": self.token_width}
            (folder / SPATIAL / _CONFIG).write_text(json.dumps(config, indent=1))

    def like(self, weights: Mapping[str, Tensor]) -> SpatialEditor:
        """Another editor of the same form, for use, that has `weights` themselves, not copies of them."""
        with torch.device("meta"):  # nothing is drawn, nothing is stored twice
            unet = cast(UNet2DConditionModel, UNet2DConditionModel.from_config(self.unet.config))
            made = SpatialEditor(unet, self.parts, self.token_width, self.pasting)
        made.load_state_dict(dict(weights), assign=True)
        return made.eval()

    @classmethod
    def load(cls, folder: Path, pasting: Pasting | None = None) -> SpatialEditor:
        """What `save` left. pasting: as for a new one. Raises OSError where it is not there."""
        if not (folder / UNET / _CONFIG).is_file():
            raise OSError(f"{folder} holds no editor: there is no {UNET}/{_CONFIG} in it")
        unet = cast(
            UNet2DConditionModel, UNet2DConditionModel.from_pretrained(folder / UNET, use_safetensors=True)
        )
        if not (folder / SPATIAL).exists():
            return cls(unet, None)
        config = json.loads((folder / SPATIAL / _CONFIG).read_text())
        editor = cls(unet, Parts(**config["parts"]), config["token_width"], pasting)
        try:
            weights = unpacked(load_file(folder / SPATIAL / _WEIGHTS))
        except ValueError as error:
            raise OSError(f"{folder / SPATIAL}: {error}") from None
        own = {
            name.removeprefix("encoder."): value
            for name, value in weights.items()
            if name.startswith("encoder.")
        }
        assert editor.spatial is not None
        try:
            editor.spatial.load_state_dict(own)
        except RuntimeError as error:
            said = " ".join(str(error).split())[:_SAID]
            raise OSError(
                f"{folder / SPATIAL} is of other layers than this version's, train it anew: {said}"
            ) from None
        rest = {
            name.removeprefix("unet."): value for name, value in weights.items() if name.startswith("unet.")
        }
        wrong = editor.unet.load_state_dict(rest, strict=False)
        missing = [name for name in wrong.missing_keys if ".processor." in name]
        if missing or wrong.unexpected_keys:
            raise OSError(
                f"{folder / SPATIAL}: weights and layers differ: {[*missing, *wrong.unexpected_keys][:3]}"
            )
        return editor


def is_spatial(name: str) -> bool:
    """Whether a parameter of an editor belongs to the spatial layers."""
    return name.startswith("spatial.") or ".processor." in name
