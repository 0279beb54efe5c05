"""Every way to fill a hole changes the hole alone, says what it is, and says it when it cannot be used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from generators.inpainting import Diffusers, InpaintingError, Lama, OpenCv
from generators.photos import inpainter_of

SETTINGS = {"model": None, "revision": None, "device": "cpu", "steps": 2, "file": None, "sha256": None}


def photo(height: int = 60, width: int = 92) -> tuple[np.ndarray, np.ndarray]:
    """Sides that no model's grid divides; a white square on a gradient, and the square's mask."""
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack([40 + rows, 60 + columns, np.full_like(rows, 90)], axis=2).astype(np.uint8)
    hole = np.zeros((height, width), bool)
    hole[20:36, 30:50] = True
    rgb[hole] = 255
    return rgb, hole


def fills_the_hole_alone(fill) -> np.ndarray:
    rgb, hole = photo()
    before = rgb.copy()
    filled = fill(rgb, hole, 3)
    assert filled.shape == rgb.shape and filled.dtype == np.uint8
    assert np.array_equal(filled[~hole], rgb[~hole]) and np.array_equal(rgb, before)
    assert not np.array_equal(filled[hole], rgb[hole])
    assert np.array_equal(filled, fill(rgb, hole, 3))
    return filled


@pytest.mark.parametrize("method", ["telea", "ns"])
def test_opencv_goes_on_with_what_is_around(method):
    rgb, hole = photo()
    filled = fills_the_hole_alone(inpainter_of(SETTINGS | {"method": method}))
    rows, columns = np.mgrid[: hole.shape[0], : hole.shape[1]]
    wanted = np.stack([40 + rows, 60 + columns, np.full_like(rows, 90)], axis=2)
    assert np.abs(filled.astype(int) - wanted)[hole].mean() < 8
    assert np.array_equal(OpenCv(method)(rgb, np.zeros_like(hole), 0), rgb)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    """An inpainting model that has learned nothing."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("inpainting")
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "photo</w>"]
    (folder / "vocab.json").write_text(str({w: n for n, w in enumerate(words)}).replace("'", '"'))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=8, bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=64, in_channels=9, out_channels=4, block_out_channels=(16, 16), layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16, attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    made = StableDiffusionInpaintPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    made.save_pretrained(folder / "model", safe_serialization=True)
    return folder / "model"


def test_a_diffusion_model_fills_a_photo_of_any_size(pipeline):
    fill = inpainter_of(SETTINGS | {"method": "diffusers", "model": str(pipeline)})
    fills_the_hole_alone(fill)
    rgb, hole = photo()
    assert not np.array_equal(fill(rgb, hole, 3), fill(rgb, hole, 4)), "the seed has no say"
    assert fill.identity == "diffusers-model@local"


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InpaintingError, match=r"inpainting\.model .*nowhere"):
        Diffusers(str(tmp_path / "nowhere"), None, "cpu")


def lama_like(path: Path, loud: bool) -> str:
    """An ONNX graph of LaMa's inputs that paints holes gray; its SHA-256. loud: values to 255, as some exports have."""
    from onnx import TensorProto, checker, helper, save

    picture, mask = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 512, 512])
        for name, channels in (("image", 3), ("mask", 1))
    )
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, 512, 512])
    one, gray = (
        helper.make_tensor(name, TensorProto.FLOAT, [1], [value])
        for name, value in (("one", 1.0), ("gray", 0.5))
    )
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [1], [255.0 if loud else 1.0])
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["outside"]),
        helper.make_node("Mul", ["image", "outside"], ["kept"]),
        helper.make_node("Mul", ["mask", "gray"], ["fill"]),
        helper.make_node("Add", ["kept", "fill"], ["whole"]),
        helper.make_node("Mul", ["whole", "scale"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "paints-gray", [picture, mask], [out], [one, gray, scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("loud", [False, True])
def test_a_lama_file_is_run_on_the_whole_photo_whatever_its_range(tmp_path, loud):
    sha256 = lama_like(tmp_path / "lama.onnx", loud)
    settings = SETTINGS | {"method": "lama", "file": str(tmp_path / "lama.onnx"), "sha256": sha256}
    filled = fills_the_hole_alone(inpainter_of(settings))
    _, hole = photo()
    inner = np.zeros_like(hole)
    inner[23:33, 33:47] = True
    assert np.abs(filled[inner].astype(int) - 127).max() <= 2


def test_another_file_than_the_one_named_is_not_run(tmp_path):
    lama_like(tmp_path / "lama.onnx", loud=False)
    with pytest.raises(InpaintingError, match="not the file of"):
        Lama(str(tmp_path / "lama.onnx"), "0" * 64)
    with pytest.raises(InpaintingError, match="is not there"):
        Lama(str(tmp_path / "no.onnx"), "0" * 64)


def test_a_file_that_holds_no_graph_is_named(tmp_path):
    (tmp_path / "lama.onnx").write_bytes(b"not a graph")
    with pytest.raises(InpaintingError, match=r"lama\.onnx: is no ONNX graph"):
        Lama(str(tmp_path / "lama.onnx"), hashlib.sha256(b"not a graph").hexdigest())
