"""What Inception-v3 sees in pictures: the features that the FID and the KID of the literature are of.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium": TensorFlow's
network of 2015, which is not torchvision's, after its way of making pictures 299 pixels a side. Both are
torch-fidelity's; by another way of resizing the figures are others (Parmar et al. 2022, "On Aliased Resizing and
Surprising Subtleties in GAN Evaluation"). The weights are a file that the user names: nothing is downloaded.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evaluation.tensors import tensors
from filters.weights import WeightsError
from shards.images import Pixels

WIDTH = 2048
_LAYER = "2048"  # torch-fidelity's name of what is before the classifier
_BATCH = 16
_WANTED = (
    "name Inception-v3's weights as FIDs are taken with (pt_inception-2015-12-05-6726825d.pth), or these as "
    "safetensors"
)


class Inception:
    """Features of pictures, 2048 of each, none below 0."""

    def __init__(self, net: nn.Module, device: str = "cpu") -> None:
        self._net, self._device = net.to(device), device

    @classmethod
    def load(cls, file: Path | str, device: str = "cpu") -> Inception:
        """file: the weights under torch-fidelity's names, `Conv2d_1a_3x3.conv.weight` and so on, and no others. Raises
        WeightsError."""
        path = Path(file).expanduser()
        found = tensors(path, _WANTED)
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError:
            raise WeightsError(
                "Inception-v3 needs torch-fidelity, which is not installed: run `make setup`, or install "
                "torch-fidelity, or leave this key out"
            ) from None
        # Its constructor unpickles the file that it is given, so it is given one of ours.
        plain = io.BytesIO()
        torch.save(found, plain)
        plain.seek(0)
        try:
            net = FeatureExtractorInceptionV3("inception-v3", [_LAYER], plain)
        except RuntimeError as error:  # missing, unknown or of another shape: a line each
            lines = [line.strip() for line in str(error).splitlines()]
            said = lines[min(1, len(lines) - 1)].split(", ")[0].rstrip(". ")
            raise WeightsError(f"{path}: {said}; {_WANTED}") from None
        for name, tensor in net.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise WeightsError(f"{path}: {name} holds NaN or infinity; {_WANTED}")
        return cls(net, device)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Pixels]) -> list[NDArray[np.float32]]:
        """pictures: (h, w, 3) uint8, of any sizes. Of each (2048,), in order."""
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(pictures)
        sizes: dict[tuple[int, ...], list[int]] = {}
        for place, picture in enumerate(pictures):
            sizes.setdefault(picture.shape, []).append(place)
        for places in sizes.values():
            for start in range(0, len(places), _BATCH):
                some = places[start : start + _BATCH]
                together = torch.from_numpy(np.stack([pictures[place] for place in some])).permute(0, 3, 1, 2)
                seen = self._net(together.to(self._device))[0].float().cpu().numpy()
                for place, features in zip(some, seen, strict=True):
                    found[place] = features
        return found
