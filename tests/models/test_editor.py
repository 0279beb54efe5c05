"""A trained editor, made small, is a folder like any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from models.starter.editor import SHARED, carry
from models.starter.recipes import WEIGHTS
from trainer.export import export
from trainer.frozen import Frozen, text_to_image
from trainer.model import SpatialEditor
from trainer.pipeline import Sampling, SpatialPixPipeline
from trainer.spatial_attention import Parts

DIFFUSION = WEIGHTS / "diffusion"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `train` leaves, of an editor that has learned nothing."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(1)
    frozen = Frozen.load(DIFFUSION)
    parts = Parts(land=True, paste=True)
    SpatialEditor(text_to_image(DIFFUSION), parts, pasting=frozen.pasting).save(folder)
    export(frozen, DIFFUSION, folder)
    about = {"seed": 1, "steps": 2, "samples": 32, "learn": {"find": 10, "rate": 0.001, "ema": 0.9}}
    before = about | {"samples": 48, "before": None}
    (folder / "training.json").write_text(json.dumps(about | {"before": before}))
    return folder


def test_it_edits_as_the_whole_one_does_and_is_small(trained, tmp_path):
    carry(trained, DIFFUSION, tmp_path / "editor")
    files = [path for path in (tmp_path / "editor").rglob("*.safetensors") if not path.is_symlink()]
    assert {path.parent.name for path in files} == {"unet", "spatial"}
    assert sum(path.stat().st_size for path in files) < 16e6
    assert max(path.stat().st_size for path in files) < 15 * 2**20
    assert all((tmp_path / "editor" / name).is_symlink() for name in SHARED)
    assert "_name_or_path" not in (tmp_path / "editor/unet/config.json").read_text()
    picture = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    said = "move the red ball 10% to the right"
    pair = [
        SpatialPixPipeline.from_pretrained(folder)(picture, said, sampling=Sampling(steps=2))
        for folder in (trained, tmp_path / "editor")
    ]
    assert np.abs(pair[0].astype(int) - pair[1]).mean() < 3
    card = (tmp_path / "editor" / "README.md").read_text()
    assert 0 < card.index("48 samples in 2 steps") < card.index("32 samples in 2 steps")


def test_an_editor_of_another_model_is_refused(trained, tmp_path):
    frozen = Frozen.load(DIFFUSION)
    with torch.no_grad():
        next(iter(frozen.vae.parameters())).add_(1)
    frozen.vae.save_pretrained(tmp_path / "vae", safe_serialization=True)
    for name in ("text_encoder", "tokenizer", "scheduler"):
        (tmp_path / name).symlink_to(DIFFUSION / name)
    with pytest.raises(ValueError, match="another autoencoder"):
        carry(trained, tmp_path, tmp_path / "editor")
    assert not (tmp_path / "editor").exists()
