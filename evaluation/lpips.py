"""LPIPS: how unlike two pictures are by what AlexNet sees in them, where nothing was to change.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", version 0.1. The weights of
what counts how much are theirs, and come with torchmetrics; AlexNet's are a file that the user names. torchmetrics' own
class would download them, needs torchvision, and gives no place to say what is kept.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from evaluation.tensors import tensors
from filters.weights import WeightsError
from shards.images import Pixels

_BEFORE = "features."  # the names in torchvision's file begin so
_HEADS = "functional/image/lpips_models/alex.pth"  # of torchmetrics
_SHIFT = (-0.030, -0.088, -0.188)  # of values of -1 to 1, as AlexNet was taught
_SCALE = (0.458, 0.448, 0.450)
_TINY = 1e-8
_WANTED = (
    "name AlexNet's weights as torchvision publishes them (alexnet-owt-7be5be79.pth), or these as safetensors"
)


class Lpips:
    """0 for pictures that are alike, and the more the less they are."""

    def __init__(self, net: nn.Sequential, heads: list[Tensor]) -> None:
        self._net, self._heads = net, heads
        self._shift, self._scale = (torch.tensor(some).view(1, 3, 1, 1) for some in (_SHIFT, _SCALE))

    @classmethod
    def load(cls, file: Path | str) -> Lpips:
        """file: AlexNet's weights under torchvision's names, `features.0.weight` and so on; others in it are not read.
        Raises WeightsError."""
        path, net = Path(file).expanduser(), _alexnet()
        wanted = net.state_dict()
        found = tensors(path, _WANTED, [_BEFORE + name for name in wanted])
        for name, own in wanted.items():
            tensor = found.get(_BEFORE + name)
            if tensor is None or tensor.shape != own.shape:
                is_there = "not there" if tensor is None else f"{(*tensor.shape,)}, not {(*own.shape,)}"
                raise WeightsError(f"{path}: {_BEFORE}{name} is {is_there}; {_WANTED}")
            if not bool(torch.isfinite(tensor).all()):
                raise WeightsError(f"{path}: {_BEFORE}{name} holds NaN or infinity; {_WANTED}")
        net.load_state_dict({name: found[_BEFORE + name].float() for name in wanted})
        return cls(net.eval().requires_grad_(False), _heads())

    @torch.inference_mode()
    def __call__(self, before: Pixels, edited: Pixels, keep: NDArray[np.bool_]) -> float:
        """before, edited: (h, w, 3) uint8, 31 pixels a side and more. keep: (h, w), where they are compared; somewhere.

        What is not kept is made equal first: what AlexNet sees at a place depends on much around it, and a map of
        differences would count the edit itself at places beside it. Of each layer the mean is taken over what is kept,
        so that a large edit does not thin out the damage around it. With all kept it is LPIPS as published.
        """
        pasted = np.where(keep[..., None], edited, before)
        pictures = torch.from_numpy(np.stack([before, pasted])).permute(0, 3, 1, 2).float() / 127.5 - 1
        seen, share = (pictures - self._shift) / self._scale, torch.from_numpy(keep).float()[None, None]
        layers = []
        for layer in self._net:
            seen = layer(seen)
            if isinstance(layer, nn.ReLU):
                layers.append(seen)
        total = 0.0
        for features, head in zip(layers, self._heads, strict=True):
            unit = features / (features.square().sum(1, keepdim=True) + _TINY).sqrt()
            apart = functional.conv2d((unit[:1] - unit[1:]).square(), head)
            weight = functional.interpolate(share, apart.shape[2:], mode="area")
            total += float((apart * weight).sum() / weight.sum())
        return total


def _alexnet() -> nn.Sequential:
    """The part that LPIPS looks at, numbered as torchvision's is (Krizhevsky 2014, "One weird trick")."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def _heads() -> list[Tensor]:
    """Of each layer (1, channels, 1, 1), how much each channel counts."""
    with as_file(files("torchmetrics") / _HEADS) as path:
        held = torch.load(path, map_location="cpu", weights_only=True)
    return [held[f"lin{number}.model.1.weight"] for number in range(len(held))]
