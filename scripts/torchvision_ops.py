"""Lets a torchvision built for CUDA be imported beside a CPU torch; set-up copies it where that is needed.

The package index has torchvision's CUDA build alone. Its compiled operators do not load without CUDA, and then
`import torchvision`, and with it transformers and open_clip, fails on the missing schemas of two of them that
nothing here calls. They are declared before torchvision is imported; torch itself is not imported any earlier.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any


class _BeforeTorchvision(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define("torchvision::nms", boxes)
            torch.library.define("torchvision::qnms", boxes)
        return None  # whoever comes next finds it


sys.meta_path.insert(0, _BeforeTorchvision())
