"""The CLIP judge is its four formulas, and whatever cannot be scored says why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from filters.clip import ClipJudge, Pair, Refused, Scored
from filters.weights import ClipWeights, WeightsError
from shards.guard import BrokenEngine
from tests.filters import clip_models
from tests.filters.clip_models import LENGTH, SIZE, pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_models.save(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be spoiled."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def weights(folder: Path) -> ClipWeights:
    return ClipWeights(f"local-dir:{folder}")


@pytest.fixture(scope="module")
def judge(folder: Path) -> ClipJudge:
    return ClipJudge(weights(folder), device="cpu", batch=4)


def figures(answer: Scored | Refused) -> list[float]:
    assert isinstance(answer, Scored), answer
    found = answer.similarities
    assert found.clip_direction is not None
    return [found.clip_image, found.clip_text_before, found.clip_text_after, found.clip_direction]


def plainly(folder: Path, batch: list[Pair], preprocessing: str) -> np.ndarray:
    """The formulas written out, one pair at a time, on open_clip as anybody loads it. (n, 4)."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()

    def image(pixels: np.ndarray) -> np.ndarray:
        if preprocessing == "open_clip":
            tensor = transform(Image.fromarray(pixels))
        else:
            channels = torch.tensor(pixels / 255.0, dtype=torch.float32).permute(2, 0, 1)[None]
            squared = torch.nn.functional.interpolate(channels, size=(SIZE, SIZE), mode="bicubic")[0]
            mean, std = (
                torch.tensor(clip_models.PREPROCESS[name])[:, None, None] for name in ("mean", "std")
            )
            tensor = (squared - mean) / std
        found = model.encode_image(tensor[None])[0].detach().numpy().astype(np.float64)
        return found / np.linalg.norm(found)

    def text(caption: str) -> np.ndarray:
        found = model.encode_text(tokenize([caption]))[0].detach().numpy().astype(np.float64)
        return found / np.linalg.norm(found)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    rows = []
    for pair in batch:
        i0, i1, t0, t1 = (
            image(pair.before), image(pair.after), text(pair.caption_before), text(pair.caption_after)
        )  # fmt: skip
        rows.append([cosine(i0, i1), cosine(i0, t0), cosine(i1, t1), cosine(i1 - i0, t1 - t0)])
    return np.array(rows)


@pytest.mark.parametrize("preprocessing", ["ip2p", "open_clip"])
def test_similarities_are_the_four_formulas(folder: Path, preprocessing: str) -> None:
    batch = pairs(6) + pairs(2, size=SIZE, seed=1) + pairs(2, size=25, seed=2)
    batch[3] = replace(batch[3], before=batch[3].before[:, :20], after=batch[3].after[:30])
    found = ClipJudge(weights(folder), preprocessing, "cpu", batch=4).score(batch)  # type: ignore[arg-type]
    expected = plainly(folder, batch, preprocessing)
    np.testing.assert_allclose([figures(answer) for answer in found], expected, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.1  # the pairs do differ in every score


def test_the_two_preprocessings_differ(folder: Path) -> None:
    batch = pairs(4)
    a, b = (plainly(folder, batch, name) for name in ("ip2p", "open_clip"))
    assert np.abs(a - b).max() > 1e-3


def test_scores_do_not_depend_on_what_else_is_in_the_batch(folder: Path, judge: ClipJudge) -> None:
    batch = pairs(7)
    together = ClipJudge(weights(folder), device="cpu", batch=7).score(batch)
    alone = [ClipJudge.score(judge, [pair])[0] for pair in batch]
    np.testing.assert_allclose([*map(figures, together)], [*map(figures, alone)], atol=1e-5)
    np.testing.assert_allclose(
        [*map(figures, judge.score(batch[::-1]))], [*map(figures, together)][::-1], atol=1e-5
    )


def test_float_pictures_score_as_the_same_bytes_do(judge: ClipJudge) -> None:
    (pair,) = pairs(1)
    as_float = replace(pair, before=(pair.before / 255).astype(np.float32), after=pair.after / 255)
    np.testing.assert_allclose(
        figures(judge.score([as_float])[0]), figures(judge.score([pair])[0]), atol=1e-5
    )


def test_embeddings_have_length_one_and_give_the_similarity(judge: ClipJudge) -> None:
    (answer,) = judge.score(pairs(1))
    assert isinstance(answer, Scored) and answer.before.dtype == np.float32
    assert np.linalg.norm(answer.before) == pytest.approx(1, abs=1e-5)
    assert answer.before @ answer.after == pytest.approx(answer.similarities.clip_image, abs=1e-5)


# -- what is the same ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "after",
    ["a red ball", "  a  red ball ", "a red ball on the cube on the mug on the cat on the ball"],
    ids=["equal", "equal but for spaces", "equal as far as the model reads"],
)
def test_captions_that_are_the_same_to_the_model_have_no_direction(judge: ClipJudge, after: str) -> None:
    before = "a red ball"
    if len(after.split()) > LENGTH:
        before = after + " and the cat"
    (pair,) = pairs(1)
    (answer,) = judge.score([replace(pair, caption_before=before, caption_after=after)])
    assert isinstance(answer, Scored) and answer.similarities.clip_direction is None
    assert -1 <= answer.similarities.clip_text_after <= 1


def test_equal_pictures_have_direction_zero_and_not_that_of_rounding(judge: ClipJudge) -> None:
    found = judge.score([replace(pair, after=pair.before.copy()) for pair in pairs(4)])
    for answer in found:
        assert figures(answer)[3] == 0.0
        assert figures(answer)[0] == pytest.approx(1, abs=1e-5)


def test_equal_pictures_and_captions_are_encoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ClipJudge(weights(folder), device="cpu", batch=8)
    images, texts = [], []
    encode_image, encode_text = judge.model.encode_image, judge.model.encode_text
    monkeypatch.setattr(judge.model, "encode_image", lambda x: images.append(len(x)) or encode_image(x))
    monkeypatch.setattr(judge.model, "encode_text", lambda x: texts.append(len(x)) or encode_text(x))
    first, second = pairs(2)
    second = replace(second, before=first.before.copy(), caption_before=first.caption_before)
    judge.score([first, second, first])
    judge.score([first])
    assert images == [3, 2]  # i0 shared, and twice an i1; then both again
    assert texts == [3]  # kept from batch to batch


# -- what cannot be scored ----------------------------------------------------------------------------


def spoilt(pair: Pair, name: str, value: float) -> Pair:
    picture = (getattr(pair, name) / 255).astype(np.float32)
    picture[3, 4, 1] = value
    return replace(pair, **{name: picture})


@pytest.mark.parametrize(
    ("spoil", "reason", "message"),
    [
        (lambda p: spoilt(p, "after", np.nan), "bad_picture", "the picture after has pixels that are not finite"),
        (lambda p: spoilt(p, "before", np.inf), "bad_picture", "not finite"),
        (lambda p: spoilt(p, "before", 1.5), "bad_picture", r"outside 0\.\.1"),
        (lambda p: replace(p, before=p.before[..., 0]), "bad_picture", r"\(40, 40\), not \(h, w, 3\)"),
        (lambda p: replace(p, before=p.before.astype(np.int64)), "bad_picture", "int64, not uint8 or float"),
        (lambda p: replace(p, caption_after=" \n"), "no_caption", "the caption after is empty"),
        (lambda p: replace(p, caption_before=""), "no_caption", "the caption before is empty"),
    ],
)  # fmt: skip
def test_bad_pair_is_refused_and_its_neighbours_are_scored(judge: ClipJudge, spoil, reason, message) -> None:
    batch = pairs(3)
    expected = [figures(answer) for answer in judge.score(batch)]
    batch[1] = spoil(batch[1])
    first, bad, last = judge.score(batch)
    assert isinstance(bad, Refused) and bad.reason == reason
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(bad.message)
    np.testing.assert_allclose([figures(first), figures(last)], expected[::2], atol=1e-5)


def test_embeddings_that_are_not_finite_are_refused(judge: ClipJudge, monkeypatch) -> None:
    encode = judge.model.encode_image
    monkeypatch.setattr(judge.model, "encode_image", lambda x: encode(x) * torch.nan)
    (answer,) = judge.score(pairs(1))
    assert isinstance(answer, Refused) and answer.reason == "not_finite"


def test_error_inside_the_model_is_a_broken_engine(judge: ClipJudge, monkeypatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    monkeypatch.setattr(judge.model, "encode_image", broken)
    with pytest.raises(BrokenEngine, match=r"illegal memory access was encountered$"):
        judge.score(pairs(1))


# -- models that are not what they say ----------------------------------------------------------------


def change(folder: Path, *keys: str, value: object) -> None:
    path = folder / "open_clip_config.json"
    settings = json.loads(path.read_text())
    inner = settings
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(settings))


def resized(folder: Path) -> None:
    change(folder, "model_cfg", "vision_cfg", "image_size", value=64)
    change(folder, "preprocess_cfg", "size", value=64)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (resized, r"the model's image_size wants \(65, 32\); the weights are for another image_size"),
        (
            lambda f: change(f, "model_cfg", "text_cfg", "context_length", value=20),
            r"the weights are for another context_length",
        ),
        (lambda f: change(f, "preprocess_cfg", "size", value=64), "preprocess_cfg.size is 64, and vision_cfg"),
        (lambda f: (f / "model.safetensors").unlink(), "needs one file of weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"nonsense"), "does not load"),
        (lambda f: (f / "open_clip_config.json").unlink(), "there is no such file"),
        (lambda f: (f / "open_clip_config.json").write_text("{}"), "is no configuration of open_clip"),
        (lambda f: (f / "tokenizer.json").unlink(), "does not load"),
    ],
    ids=["image size", "context length", "sizes disagree", "no weights", "broken weights", "no configuration",
         "empty configuration", "no tokenizer"],
)  # fmt: skip
def test_folder_that_does_not_fit_together_is_an_error(own: Path, spoil, message: str) -> None:
    spoil(own)
    with pytest.raises(WeightsError, match=message) as error:
        ClipJudge(weights(own), device="cpu")
    assert "\n" not in str(error.value)


def test_tokenizer_with_more_words_than_the_model_is_an_error(own: Path) -> None:
    file = own / "model.safetensors"
    tensors = load_file(file)
    tensors["token_embedding.weight"] = tensors["token_embedding.weight"][:-2].contiguous()
    save_file(tensors, file)
    change(own, "model_cfg", "text_cfg", "vocab_size", value=len(tensors["token_embedding.weight"]))
    with pytest.raises(WeightsError, match="does not run"):
        ClipJudge(weights(own), device="cpu")


def test_weights_that_are_not_finite_are_an_error(own: Path) -> None:
    tensors = load_file(own / "model.safetensors")
    tensors["visual.proj"] *= torch.nan
    save_file(tensors, own / "model.safetensors")
    with pytest.raises(WeightsError, match="must be finite"):
        ClipJudge(weights(own), device="cpu")


def test_tag_that_open_clip_does_not_know_is_an_error() -> None:
    with pytest.raises(WeightsError, match="no such weights; of this architecture: openai, "):
        ClipJudge(ClipWeights("ViT-B-32/opnai"), device="cpu")


def test_missing_file_of_a_named_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match="there is no such file; it should hold the weights of ViT-B-32/openai"
    ):
        ClipJudge(ClipWeights("ViT-B-32/openai", str(tmp_path / "missing.safetensors")), device="cpu")


@pytest.mark.parametrize(("device", "precision", "message"), [
    ("cpu", "fp16", "fp16 needs a GPU"), ("cuda", "fp32", "this process has no GPU"),
])  # fmt: skip
def test_precision_and_device_that_are_not_there_are_errors(
    folder: Path, device, precision, message, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(WeightsError, match=message):
        ClipJudge(weights(folder), device=device, precision=precision)


def test_openai_weights_from_a_file_get_the_activation_that_they_were_trained_with(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny architecture under OpenAI's tag: from a file, open_clip alone would take the exact GELU."""
    config = json.loads((own / "open_clip_config.json").read_text())["model_cfg"]
    (own / "tiny-test-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(own / "tiny-test-clip.json")
    published = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5), "quick_gelu": True, "url": ""}
    monkeypatch.setattr(
        open_clip, "get_pretrained_cfg", lambda name, tag: published if tag == "openai" else {}
    )
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda _: tokenize)
    tokenize = open_clip.tokenizer.HFTokenizer(str(own), context_length=LENGTH)
    judge = ClipJudge(ClipWeights("tiny-test-clip/openai", str(own / "model.safetensors")), device="cpu")
    activations = {
        type(module).__name__ for module in judge.model.modules() if "GELU" in type(module).__name__
    }
    assert activations == {"QuickGELU"}
    assert judge.model.visual.preprocess_cfg["mean"] == published["mean"]


# -- which model it is --------------------------------------------------------------------------------


def test_identity_is_of_what_the_model_is_made_of_and_not_of_its_place(folder: Path, own: Path) -> None:
    assert weights(own).identity() == weights(folder).identity()
    (own / "README.md").write_text("a card")
    (own / "thresholds.json").write_text("{}")
    assert weights(own).identity() == weights(folder).identity()
    change(own, "model_cfg", "quick_gelu", value=True)
    assert weights(own).identity() != weights(folder).identity()


def test_identity_of_named_models_says_the_name_and_the_file(tmp_path: Path) -> None:
    assert ClipWeights("ViT-L-14/openai").identity() == "ViT-L-14/openai"
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"a")
    first = ClipWeights("ViT-L-14/openai", str(file)).identity()
    file.write_bytes(b"b")
    assert first.startswith("ViT-L-14/openai@sha256:")
    assert ClipWeights("ViT-L-14/openai", str(file)).identity() != first


@pytest.mark.parametrize("model", ["ViT-L-14", "a/b/c", "/openai", "local-dir:", ""])
def test_model_that_names_nothing_is_an_error(model: str) -> None:
    with pytest.raises(WeightsError, match="write"):
        ClipWeights(model)
