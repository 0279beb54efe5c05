"""Inception-v3's features are those of other people's reading of the same file, of which nothing is run."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import NoTrainInceptionV3

from evaluation.inception import WIDTH, Inception
from filters.weights import WeightsError
from tests.evaluation.test_lpips import Runs
from tests.inception import weights, written


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("inception") / "inception.pth")


@pytest.fixture(scope="module")
def inception(file) -> Inception:
    return Inception.load(file)


def picture(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((height // 4, width // 4, 1))).astype(np.uint8)


def test_features_are_torchmetrics_own_and_in_order_whatever_the_sizes(inception, file):
    pictures = [picture(0, 64, 64), picture(1, 320, 400), picture(2, 64, 64)]
    found = inception(pictures)
    theirs = NoTrainInceptionV3("x", [str(WIDTH)], str(file), antialias=False)  # as TensorFlow resized
    for one, features in zip(pictures, found, strict=True):
        wanted = theirs(torch.from_numpy(one).permute(2, 0, 1)[None])[0].numpy()
        assert features.shape == (WIDTH,) and features.dtype == np.float32
        assert features == pytest.approx(wanted, rel=1e-3, abs=1e-4 * float(wanted.max()))
        assert wanted.std() > 1e-3 * wanted.max() > 0, "weights by chance that see nothing would show nothing"
    assert np.abs(found[0] - found[2]).max() > 0.01 * found[0].max()


def test_weights_are_read_as_safetensors_too(inception, tmp_path):
    shown = [picture(3, 64, 64)]
    found = Inception.load(written(tmp_path / "inception.safetensors"))(shown)[0]
    assert np.array_equal(found, inception(shown)[0])


@pytest.mark.parametrize("name", ["inception.safetensors", "inception.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04" + b"\0" * 40])
def test_a_file_that_is_no_weights_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="holds no plain weights; name Inception-v3's weights") as error:
        Inception.load(tmp_path / name)
    assert "\n" not in str(error.value)


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    """torch-fidelity's own loading would run it."""
    torch.save(weights() | {"fc.bias": Runs()}, tmp_path / "inception.pth")
    with pytest.raises(WeightsError, match="holds no plain weights"):
        Inception.load(tmp_path / "inception.pth")
    assert "run" not in capsys.readouterr().out


def test_weights_of_another_network_are_named_in_one_line(tmp_path):
    with pytest.raises(WeightsError, match="there is no such file"):
        Inception.load(tmp_path / "nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no weights by name"):
        Inception.load(tmp_path / "list.pth")
    lacks, of_imagenet = weights(), {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    del lacks["Mixed_7c.branch1x1.conv.weight"]
    torch.save(lacks, tmp_path / "lacks.pth")
    for path, said in (
        (tmp_path / "lacks.pth", r"Missing key.*Mixed_7c\.branch1x1\.conv\.weight"),
        (written(tmp_path / "imagenet.pth", **of_imagenet), r"size mismatch for fc\.weight"),
        (written(tmp_path / "nan.pth", **{"fc.bias": torch.full((1008,), torch.nan)}), r"fc\.bias holds NaN"),
    ):
        with pytest.raises(WeightsError, match=said) as error:
            Inception.load(path)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_without_torch_fidelity_it_is_said_what_to_install(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(WeightsError, match="needs torch-fidelity, which is not installed: run `make setup`"):
        Inception.load(file)
