"""LPIPS is that of Zhang et al. where all is kept, and sees nothing of what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.image import lpips as theirs

from evaluation.lpips import Lpips
from filters.weights import WeightsError
from tests.alexnet import weights, written

SIDES = (96, 128)
ALL = np.ones(SIDES, bool)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("alexnet") / "alexnet.safetensors")


@pytest.fixture(scope="module")
def lpips(file) -> Lpips:
    return Lpips.load(file)


def picture(seed: int) -> np.ndarray:
    """Soft spots and some grain."""
    rng = np.random.default_rng(seed)
    soft = np.kron(rng.integers(0, 230, (SIDES[0] // 16, SIDES[1] // 16, 3)), np.ones((16, 16, 1)))
    return (soft + rng.integers(0, 25, (*SIDES, 3))).astype(np.uint8)


def with_noise(shown: np.ndarray, where, strength: float) -> np.ndarray:
    noise = np.random.default_rng(9).normal(0, strength, shown.shape)
    noisy = np.clip(shown + noise, 0, 255).astype(np.uint8)
    return np.where(np.asarray(where)[..., None], noisy, shown)


def test_where_all_is_kept_it_is_what_torchmetrics_says(lpips, monkeypatch):
    def backbone(net: str, pretrained: bool) -> nn.Sequential:
        import torchvision

        features = torchvision.models.alexnet(weights=None).features
        features.load_state_dict({name.removeprefix("features."): value for name, value in weights().items()})
        return features

    monkeypatch.setattr(theirs, "_get_tv_model_features", backbone)  # it would download them
    for one, other in ((picture(0), picture(1)), (picture(2), with_noise(picture(2), ALL, 20))):
        tensors = (torch.from_numpy(some).permute(2, 0, 1)[None] / 255 for some in (one, other))
        said = theirs.learned_perceptual_image_patch_similarity(*tensors, net_type="alex", normalize=True)
        assert lpips(one, other, ALL) == pytest.approx(float(said), rel=1e-4) and said > 0.001


def test_it_is_none_for_equal_pictures_and_grows_with_the_damage(lpips):
    shown = picture(3)
    assert lpips(shown, shown.copy(), ALL) == 0
    by_strength = [lpips(shown, with_noise(shown, ALL, strength), ALL) for strength in (4, 16, 64)]
    assert 0 < by_strength[0] < by_strength[1] < by_strength[2]
    by_size = []
    for width in (8, 32, 96):
        where = np.zeros(SIDES, bool)
        where[:, :width] = True
        by_size.append(lpips(shown, with_noise(shown, where, 40), ALL))
    assert 0 < by_size[0] < by_size[1] < by_size[2]


def test_what_is_not_kept_costs_nothing_however_near(lpips):
    """AlexNet's deep places see most of a small picture; the edit's own must not be taken for damage."""
    shown, keep = picture(4), ALL.copy()
    keep[:, 64:] = False
    assert lpips(shown, np.where(keep[..., None], shown, picture(5)), keep) == 0
    damaged = with_noise(shown, keep, 30)
    apart = lpips(shown, damaged, keep)
    assert apart > 0 and lpips(shown, np.where(keep[..., None], damaged, 255), keep) == apart


def test_a_large_edit_does_not_thin_out_the_damage_beside_it(lpips):
    shown, damaged = picture(6), with_noise(picture(6), ALL, 30)
    most, few = ALL.copy(), np.zeros(SIDES, bool)
    most[:, 112:], few[:, :32] = False, True
    assert lpips(shown, damaged, few) == pytest.approx(lpips(shown, damaged, most), rel=0.4)


def test_weights_are_read_as_torchvision_writes_them_and_as_safetensors(lpips, tmp_path):
    path = written(tmp_path / "alexnet.pth", **{"classifier.1.weight": torch.zeros(3)})
    assert Lpips.load(path)(picture(0), picture(1), ALL) == lpips(picture(0), picture(1), ALL)


class Runs:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("name", ["alexnet.safetensors", "alexnet.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x02\x95", b"PK\x03\x04" + b"\0" * 40])
def test_a_file_that_is_no_weights_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="holds no plain weights; name AlexNet's weights") as error:
        Lpips.load(tmp_path / name)
    assert "\n" not in str(error.value)


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    torch.save({"features.0.weight": Runs()}, tmp_path / "alexnet.pth")
    with pytest.raises(WeightsError, match="holds no plain weights"):
        Lpips.load(tmp_path / "alexnet.pth")
    assert "run" not in capsys.readouterr().out


def test_weights_of_another_network_are_named(tmp_path):
    with pytest.raises(WeightsError, match="there is no such file"):
        Lpips.load(tmp_path / "nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no weights by name"):
        Lpips.load(tmp_path / "list.pth")
    other = {"features.3.bias": torch.zeros(64)}
    with pytest.raises(WeightsError, match=r"features\.3\.bias is \(64,\), not \(192,\)"):
        Lpips.load(written(tmp_path / "other.pth", **other))
    with pytest.raises(WeightsError, match=r"features\.10\.bias holds NaN"):
        Lpips.load(written(tmp_path / "nan.pth", **{"features.10.bias": torch.full((256,), torch.nan)}))
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=r"features\.0\.weight is not there"):
        Lpips.load(tmp_path / "empty.pth")
