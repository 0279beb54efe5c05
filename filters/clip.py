"""The CLIP judge: how far pictures and captions of a pair agree, by the four similarities of InstructPix2Pix.

With e() an L2-normalised embedding, and pictures and captions before (0) and after (1)::

    image = cos(e(i0), e(i1))      text_before = cos(e(i0), e(t0))      text_after = cos(e(i1), e(t1))
    direction = cos(e(i1) - e(i0), e(t1) - e(t0))      # as in StyleGAN-NADA, of normalised embeddings

The only module outside models/ that imports open_clip.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from filters.profiles import Preprocessing, Similarities
from filters.weights import ClipWeights, WeightsError
from shards.guard import BrokenEngine

TEXTS_KEPT = 20_000  # embeddings of captions; 60 MB at 768 floats each
_SAMPLED = 16  # every so many rows and columns are enough to tell most pictures apart
_THREADS = 4  # for the model's own preprocessing, which runs on the CPU

Pixels = NDArray[Any]
Embedding = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """before, after: (h, w, 3), uint8, or float in 0..1, sRGB. Captions: before and after."""

    before: Pixels
    after: Pixels
    caption_before: str
    caption_after: str


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """before, after: the pictures' embeddings, (width,) float32, of length 1."""

    similarities: Similarities
    before: Embedding
    after: Embedding


@dataclass(frozen=True, slots=True)
class Refused:
    """A pair that has no scores. reason: a short stable word; message: for people."""

    reason: str
    message: str


class ClipJudge:
    """An open_clip model, loaded and checked, that scores pairs.

    preprocessing: "ip2p", bicubic to a square without antialiasing, as InstructPix2Pix's script does;
    "open_clip", the model's own. device: "auto" takes a GPU where this process has one. precision: "fp32",
    "fp16" (GPU only), "bf16". batch: pairs at a time.
    Raises WeightsError where weights are missing or are not what they say, or the device is not there.
    """

    def __init__(
        self,
        weights: ClipWeights,
        preprocessing: Preprocessing = "ip2p",
        device: str = "auto",
        precision: str = "fp32",
        batch: int = 32,
    ) -> None:
        self.device = _device(device)
        if precision == "fp16" and self.device.type == "cpu":
            raise WeightsError("precision fp16 needs a GPU: use fp32 or bf16 on the CPU")
        self.model, self._transform, self.tokenize = _load(weights, precision, self.device)
        self.image_size = _image_size(self.model)
        self.dtype = open_clip.get_input_dtype(precision) or torch.float32
        self._own_transform = preprocessing == "open_clip"
        self._batch = batch
        self._mean, self._std = (
            torch.tensor(self.model.visual.preprocess_cfg[name], device=self.device).view(1, 3, 1, 1)
            for name in ("mean", "std")
        )
        _probe(weights, self.model, self.tokenize, self.dtype, self.device)
        self._texts: OrderedDict[str, tuple[bytes, Tensor]] = OrderedDict()

    def score(self, pairs: Sequence[Pair]) -> list[Scored | Refused]:
        """One answer per pair, in order. Raises BrokenEngine where the model itself breaks."""
        answers: list[Scored | Refused | None] = [_fault(pair) for pair in pairs]
        good = [place for place, answer in enumerate(answers) if answer is None]
        for start in range(0, len(good), self._batch):
            places = good[start : start + self._batch]
            for place, answer in zip(places, self._score([pairs[place] for place in places]), strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]

    def _score(self, pairs: Sequence[Pair]) -> Iterator[Scored | Refused]:
        images, before, after = _distinct(pairs)
        captions = [pair.caption_before for pair in pairs] + [pair.caption_after for pair in pairs]
        try:
            with torch.inference_mode():
                pictures = self.embed_images(images)
                tokens, texts = self._embed_captions(captions)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            # Pairs were looked at before: what breaks now is the device, the driver or the memory.
            raise BrokenEngine(f"CLIP on {self.device}: {str(error).splitlines()[0]}") from error
        count = len(pairs)
        i0, i1, t0, t1 = pictures[before], pictures[after], texts[:count], texts[count:]
        columns = torch.stack(
            [
                F.cosine_similarity(i0, i1),
                F.cosine_similarity(i0, t0),
                F.cosine_similarity(i1, t1),
                F.cosine_similarity(i1 - i0, t1 - t0),
            ],
            dim=1,
        ).numpy()
        for number, row in enumerate(columns):
            if not np.isfinite(row).all():
                yield Refused("not_finite", "the model's embeddings of this pair are not finite")
                continue
            scores = Similarities(*(float(value) for value in row))
            if tokens[number] == tokens[count + number]:
                scores = replace(scores, clip_direction=None)
            yield Scored(scores, i0[number].numpy(), i1[number].numpy())

    def embed_images(self, images: Sequence[Pixels]) -> Tensor:
        """(n, width) float32 on the CPU, each of length 1. images: as in `Pair`; all in one batch."""
        features = self.model.encode_image(self._prepared(images).to(self.dtype))
        return F.normalize(features.float(), dim=1).cpu()

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """(n, width) float32 on the device, each of length 1, with a gradient. pixels: (n, 3, h, w), 0..1."""
        size = (self.image_size, self.image_size)
        if tuple(pixels.shape[2:]) != size:
            pixels = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False)
        features = self.model.encode_image(((pixels - self._mean) / self._std).to(self.dtype))
        return F.normalize(features.float(), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(n, width) float32 on the device, each of length 1."""
        with torch.inference_mode():
            found = self._embed_captions(texts)[1]
        return found.clone().to(self.device)

    def _prepared(self, images: Sequence[Pixels]) -> Tensor:
        """(n, 3, image_size, image_size), normalised, on the device."""
        if self._own_transform:
            with ThreadPoolExecutor(_THREADS) as pool:
                return torch.stack(list(pool.map(self._transformed, images))).to(self.device)
        by_form: dict[tuple[Any, ...], list[int]] = {}
        for place, image in enumerate(images):
            by_form.setdefault((image.shape, image.dtype.str), []).append(place)
        prepared = [self._squared([images[place] for place in places]) for places in by_form.values()]
        if len(prepared) == 1:
            return prepared[0]
        order = [place for places in by_form.values() for place in places]
        return torch.cat(prepared)[np.argsort(order)]

    def _squared(self, images: Sequence[Pixels]) -> Tensor:
        """As InstructPix2Pix prepares pictures, here of one shape and dtype. Few passes: on a CPU they count."""
        stacked = torch.from_numpy(np.stack(images)).to(self.device)
        pixels = stacked.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        size = (self.image_size, self.image_size)
        if pixels.shape[2:] != size:
            pixels = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False)
        white = 255 if stacked.dtype == torch.uint8 else 1
        return torch.addcmul(-self._mean / self._std, pixels, 1 / (white * self._std))

    def _transformed(self, image: Pixels) -> Tensor:
        if image.dtype != np.uint8:
            image = np.rint(image * 255).astype(np.uint8)
        transformed: Tensor = self._transform(Image.fromarray(image))
        return transformed

    def _embed_captions(self, captions: Sequence[str]) -> tuple[list[bytes], Tensor]:
        """Tokens, to compare captions by, and (n, width) float32 on the CPU; each caption is encoded once."""
        if new := [text for text in dict.fromkeys(captions) if text not in self._texts]:
            tokens = self.tokenize(new)
            features = F.normalize(self.model.encode_text(tokens.to(self.device)).float(), dim=1).cpu()
            for text, ids, embedding in zip(new, tokens, features, strict=True):
                self._texts[text] = (ids.numpy().tobytes(), embedding)
        for text in captions:
            self._texts.move_to_end(text)
        found = [self._texts[text] for text in captions]
        while len(self._texts) > TEXTS_KEPT:
            self._texts.popitem(last=False)
        return [ids for ids, _ in found], torch.stack([embedding for _, embedding in found])


def _fault(pair: Pair) -> Refused | None:
    """What keeps the pair from being scored."""
    for when, picture in (("before", pair.before), ("after", pair.after)):
        if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            return Refused("bad_picture", f"the picture {when} is {picture.shape}, not (h, w, 3)")
        if picture.dtype == np.uint8:
            continue
        if not np.issubdtype(picture.dtype, np.floating):
            return Refused("bad_picture", f"the picture {when} is {picture.dtype}, not uint8 or float")
        if not np.isfinite(picture).all():
            return Refused("bad_picture", f"the picture {when} has pixels that are not finite")
        if picture.min() < 0 or picture.max() > 1:
            return Refused("bad_picture", f"the picture {when} has pixels outside 0..1")
    for when, caption in (("before", pair.caption_before), ("after", pair.caption_after)):
        if not caption or not caption.strip():
            return Refused("no_caption", f"the caption {when} is empty")
    return None


def _distinct(pairs: Sequence[Pair]) -> tuple[list[Pixels], list[int], list[int]]:
    """The pictures, equal ones once, and each pair's two places among them.

    One embedding for equal pictures is not only quicker: their difference is then exactly zero.
    """
    images: list[Pixels] = []
    alike: dict[tuple[Any, ...], list[int]] = {}

    def place(picture: Pixels) -> int:
        key = (picture.shape, picture.dtype.str, picture[::_SAMPLED, ::_SAMPLED].tobytes())
        for known in (candidates := alike.setdefault(key, [])):
            if images[known] is picture or np.array_equal(images[known], picture):
                return known
        images.append(picture)
        candidates.append(len(images) - 1)
        return candidates[-1]

    before = [place(pair.before) for pair in pairs]
    return images, before, [place(pair.after) for pair in pairs]


def _device(name: str) -> torch.device:
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise WeightsError("clip.device is cuda, and this process has no GPU: give pools.scores a num_gpus")
    return torch.device(("cuda" if there else "cpu") if name == "auto" else name)


# --- loading ------------------------------------------------------------------------------------------------


def _load(
    weights: ClipWeights, precision: str, device: torch.device
) -> tuple[Any, Callable[[Image.Image], Tensor], Callable[[Sequence[str]], Tensor]]:
    """The model, its own preprocessing and its tokenizer. Raises WeightsError."""
    file = weights.weights_file()
    if weights.folder is not None:
        name, options = f"local-dir:{weights.folder}", {}
        _check_settings(weights)
    else:
        name, options = weights.architecture, _as_published(weights)
        options["pretrained"] = str(file) if file is not None else weights.tag
    if file is not None and not file.is_file():
        raise WeightsError(f"{file}: there is no such file; it should hold the weights of {weights.model}")
    try:
        model, _, transform = open_clip.create_model_and_transforms(
            name, precision=precision, device=device, pretrained_text=False, **options
        )
        tokenize = open_clip.get_tokenizer(name)
    except Exception as error:  # of many libraries; whatever it is, this model does not load
        where = f"{weights.model}" if file is None else f"{weights.model} from {file}"
        remedy = "; without a network set clip.weights to a local file" if file is None else ""
        raise WeightsError(f"{where} does not load: {' '.join(str(error).split())[:300]}{remedy}") from error
    if file is not None:
        _check_shapes(file, model)
    return model.eval().requires_grad_(False), transform, tokenize


def _as_published(weights: ClipWeights) -> dict[str, Any]:
    """What a tag's weights were trained with and neither the architecture nor a file of weights says.

    open_clip only warns where activations differ, and for a local file not even that: OpenAI's weights with
    the exact GELU in place of their own approximation still give scores, all of them a little off.
    """
    published = open_clip.get_pretrained_cfg(weights.architecture, weights.tag)
    if not published:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(weights.architecture)) or "none"
        raise WeightsError(f"{weights.model}: open_clip has no such weights; of this architecture: {known}")
    return {
        "force_quick_gelu": bool(published.get("quick_gelu", False)),
        "image_mean": published.get("mean"),
        "image_std": published.get("std"),
        "image_interpolation": published.get("interpolation"),
        "image_resize_mode": published.get("resize_mode"),
    }


def _check_settings(weights: ClipWeights) -> None:
    """That the two places of a folder's configuration that say the image size agree."""
    settings = weights.settings()
    size = settings["model_cfg"]["vision_cfg"].get("image_size", 224)
    prepared = (settings.get("preprocess_cfg") or {}).get("size", size)
    if _square(prepared) != _square(size):
        raise WeightsError(
            f"{weights.folder}: preprocess_cfg.size is {prepared}, and vision_cfg.image_size {size}"
        )


def _check_shapes(file: Path, model: Any) -> None:
    """That position embeddings are as the configuration says: open_clip would stretch others, silently."""
    wanted = model.state_dict()
    for name, shape in _shapes(file).items():
        name = name.removeprefix("module.")
        if name.endswith("positional_embedding") and name in wanted and shape != (*wanted[name].shape,):
            what = "image_size" if "visual" in name else "context_length"
            raise WeightsError(
                f"{file}: {name} is {shape}, and the model's {what} wants {(*wanted[name].shape,)}; "
                f"the weights are for another {what}"
            )


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Of the tensors in a file of weights."""
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, framework="pt") as tensors:
            names = tensors.keys()
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    held = torch.load(file, map_location="meta", weights_only=True)
    found: Mapping[str, Tensor] = held.get("state_dict", held)
    return {name: tuple(value.shape) for name, value in found.items() if isinstance(value, Tensor)}


def _probe(
    weights: ClipWeights, model: Any, tokenize: Callable[[Sequence[str]], Tensor], dtype: torch.dtype,
    device: torch.device,
) -> None:  # fmt: skip
    """Sends a grey picture and a word through the model. Raises WeightsError where that does not go well."""
    tokens = tokenize(["a photo"])
    length = int(model.context_length)
    if tokens.shape != (1, length):
        raise WeightsError(f"{weights.model}: its tokenizer gives {tokens.shape[1]} tokens, not {length}")
    size = _image_size(model)
    try:
        with torch.inference_mode():
            picture = model.encode_image(torch.zeros(1, 3, size, size, dtype=dtype, device=device))
            text = model.encode_text(tokens.to(device))
    except (RuntimeError, IndexError) as error:
        raise WeightsError(f"{weights.model}: does not run: {str(error).splitlines()[0]}") from error
    if picture.shape != text.shape or not (torch.isfinite(picture).all() and torch.isfinite(text).all()):
        raise WeightsError(
            f"{weights.model}: embeddings of pictures {(*picture.shape,)} and texts {(*text.shape,)} "
            "must be finite and of one width"
        )


def _image_size(model: Any) -> int:
    """Pixels, both sides. Raises WeightsError for a model of other pictures than square ones."""
    width, height = _square(model.visual.image_size)
    if width != height:
        raise WeightsError(f"the model wants pictures of {width} x {height}; only square ones are supported")
    return width


def _square(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
