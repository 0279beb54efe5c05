"""Ranks learn together what one learns alone, each with all of the editor or a share of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer import ranks
from tests.trainer.editors import pasting
from tests.trainer.ranks import CASES, mean_finding, mean_loss, taught
from trainer import learn
from trainer.model import SpatialEditor
from trainer.parallel import Parallel


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """What two ranks left of each case."""
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, "-m", ranks.__name__, str(folder)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(folder)}:{name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_mean_over_all_examples_however_they_are_dealt(
    together, frozen, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(learn, "loss_of", mean_loss)
    monkeypatch.setattr(learn, "finding_loss_of", mean_finding)
    taught(Parallel(), CASES[name], frozen, tmp_path)
    found, wanted = (
        json.loads((folder / "losses.json").read_text()) for folder in (together / name, tmp_path)
    )
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    mine, theirs = tensors(together / name), tensors(tmp_path)
    assert mine.keys() == theirs.keys()
    assert {key: value.shape for key, value in mine.items()} == {
        key: value.shape for key, value in theirs.items()
    }
    # The optimizer's first moment is the gradient's; weights are that by Adam, for which noise is a step where the
    # gradient is zero, so they are compared as a whole.
    moments = [key for key in mine if key.endswith(".exp_avg")]
    assert moments
    for key in moments:
        assert torch.allclose(mine[key], theirs[key], atol=1e-4 * float(theirs[key].abs().max()) + 1e-7), key
    learned = [key for key in mine if not key.startswith("optimizer")]
    apart = sum(float((mine[key] - theirs[key]).square().sum()) for key in learned) ** 0.5
    assert apart < 1e-3 * sum(float(theirs[key].square().sum()) for key in learned) ** 0.5


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept_is_whole_and_the_other_kind_goes_on_with_it(together, name):
    kept, again = tensors(together / name), tensors(together / f"{name}-again")
    assert again and all(torch.equal(value, kept[key]) for key, value in again.items())
    weights = SpatialEditor.load(together / name / "editor", pasting()).state_dict()
    assert not any("lora" in key for key in weights)
