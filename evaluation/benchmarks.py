"""Other people's benchmarks, read from the folders that they publish. None comes with this project.

They say in words what is to be done, some with a true picture, some with captions; none has the geometry that
`evaluation.spatial` judges by, so their edits are measured and not judged. What they are scored by at home, people or
large models that look at pictures, is theirs to run: results are pictures in Parquet, by their own names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from evaluation.portraits import NAME as PORTRAITS
from evaluation.portraits import PortraitsError, edit_name, protocol
from evaluation.portraits import portraits as people
from evaluation.trials import Case
from shards.images import Pixels, decode, encode


class BenchmarkError(Exception):
    """A folder that is not laid out as the benchmark's is. One line."""


def magicbrush(folder: Path) -> Iterator[Case]:
    """The test set of MagicBrush (Zhang et al. 2023), unpacked: edit_sessions.json, images/ID/*.png, and
    global_descriptions.json where it is there. Each turn by itself, from the true picture before it."""
    sessions = _json(folder / "edit_sessions.json")
    said = folder / "global_descriptions.json"
    captions = _json(said) if said.is_file() else {}
    for scene, turns in sessions.items():
        for number, turn in enumerate(turns, start=1):
            pictures = [_picture(folder / "images" / scene / turn[key]) for key in ("input", "output")]
            own = captions.get(scene, {})
            words = [own.get(turn[key]) for key in ("input", "output")]
            yield _case(
                f"{scene}-{number}", scene, "turn", turn["instruction"], pictures[0], pictures[1], *words
            )


def emu_edit(folder: Path) -> Iterator[Case]:
    """The test split of the Emu Edit test set (Sheynin et al. 2024): data/test-*.parquet. It has no true pictures."""
    files = sorted((folder / "data").glob("test-*.parquet"))
    if not files:
        raise BenchmarkError(f"{folder}: there is no data/test-*.parquet in it")
    names = ["idx", "hash", "task", "instruction", "image", "input_caption", "output_caption"]
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(16, columns=names):
            for row in batch.to_pylist():
                words = row["input_caption"], row["output_caption"]
                yield _case(
                    f"{row['idx']}-{row['hash']}", str(row["hash"]), str(row["task"]), row["instruction"],
                    _decoded(row["image"], f"{file.name}, idx {row['idx']}"), None, *words,
                )  # fmt: skip


def i2ebench(folder: Path) -> Iterator[Case]:
    """I2EBench (Ma et al. 2024): a folder for each of its dimensions, with DIMENSION.json, input/ and, of some, gt/. By
    its original instructions."""
    files = sorted(path for path in folder.glob("*/*.json") if path.stem == path.parent.name)
    if not files:
        raise BenchmarkError(
            f"{folder}: there is no DIMENSION/DIMENSION.json in it; give the folder EditData"
        )
    for file in files:
        for name, edit in _json(file).items():
            before = _picture(file.parent / "input" / edit["image"])
            true = file.parent / "gt" / edit["image"]
            yield _case(
                f"{file.stem}-{name}", f"{file.stem}-{edit['image']}", file.stem, edit["ori_exp"], before,
                _picture(true) if true.is_file() else None, None, None,
            )  # fmt: skip


def spatialedit(folder: Path) -> Iterator[Case]:
    """SpatialEdit-Bench (Xiao et al. 2026): SpatialEdit_Bench_Meta_File.json, pictures where it says, and beside those
    of camera edits the true ones, *_gt.jpg."""
    for edit in _json(folder / "SpatialEdit_Bench_Meta_File.json"):
        place = folder / edit["image_path"]
        true = place.with_name(f"{place.stem}_gt{place.suffix}")
        yield _case(
            f"{edit['image_id']}/{edit['edit_id']}", str(edit["image_id"]), str(edit["type"]), edit["prompt"],
            _picture(place), _picture(true) if true.is_file() else None, None, None,
        )  # fmt: skip


def portraits(folder: Path, side: int | None = None) -> Iterator[Case]:
    """A folder of portraits as `evaluation.portraits` reads it, each with each instruction in each language. In an
    order drawn by their names, so that the first ones, which `most` or a survey takes, are of all groups. side: as of
    `edits`."""
    try:
        asked, there = protocol(folder), people(folder)
    except PortraitsError as error:
        raise BenchmarkError(str(error)) from None
    # Each picture once in memory, and once encoded, however often it is asked for.
    bare = {}
    for one in there:
        picture = _scaled_down(_picture(folder / one.file), side)
        bare[one.file] = _case(one.file, one.file, "", "", picture, None, None, None)
    drawn = {
        edit_name(one.file, each.id, language): (one.file, each, language)
        for one in there
        for each in asked.instructions
        for language in asked.languages
    }
    for name in sorted(drawn, key=lambda edit: hashlib.sha256(edit.encode()).digest()):
        file, each, language = drawn[name]
        text = each.text(language)
        told = {
            "pair_id": name, "edit_kind": each.kind, "language": language, "edit_prompt": text,
            "original_prompt": asked.before, "edited_prompt": each.after,
        }  # fmt: skip
        yield replace(bare[file], row={**bare[file].row, **told}, text=text)


READERS: Mapping[str, Callable[[Path], Iterator[Case]]] = {
    "magicbrush": magicbrush,
    "emu_edit": emu_edit,
    "i2ebench": i2ebench,
    "spatialedit": spatialedit,
    PORTRAITS: portraits,
}


def edits(name: str, folder: str, side: int | None = None) -> Iterator[Case]:
    """In the benchmark's order. side: pixels that a longer side is scaled down to. Raises BenchmarkError."""
    if not Path(folder).is_dir():
        remedy = f"{name} is to be downloaded from where it is published"
        raise BenchmarkError(f"{folder} is no folder; {'name yours' if name == PORTRAITS else remedy}")
    made = portraits(Path(folder), side) if name == PORTRAITS else READERS[name](Path(folder))
    try:
        for case in made:
            yield case if side is None else smaller(case, side)
    except (KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(
            f"{folder} is not laid out as {name} is: {type(error).__name__} {error}"
        ) from None


def _case(
    name: str, scene: str, kind: str, text: str, before: Pixels | str, truth: Pixels | str | None,
    caption_before: str | None, caption_after: str | None, language: str = "en",
) -> Case:  # fmt: skip
    """True pictures of another size are scaled to that of the source. before, truth: text where there is none, and
    says why: then the edit is one that cannot be tried."""
    about: dict[str, Any] = {
        "pair_id": name, "scene_id": scene, "edit_kind": kind, "language": language, "edit_prompt": text,
        "original_prompt": caption_before, "edited_prompt": caption_after,
    }  # fmt: skip
    for picture in (before, truth):
        if isinstance(picture, str):
            row = about | {"original_image": None, "edited_image": None, "width": None, "height": None}
            return Case(row, text, np.zeros((1, 1, 3), np.uint8), None, {}, picture)
    assert not isinstance(before, str) and not isinstance(truth, str)
    if truth is not None and truth.shape != before.shape:
        truth = _scaled(truth, before.shape[1], before.shape[0])
    row = about | {
        "width": before.shape[1], "height": before.shape[0], "original_image": encode(before),
        "edited_image": None if truth is None else encode(truth),
    }  # fmt: skip
    return Case(row, text, before, truth, {})


def smaller(case: Case, side: int) -> Case:
    """Of an edit that nobody judges: its pictures, the longer side no more than `side` pixels."""
    height, width = case.before.shape[:2]
    if case.broken or max(height, width) <= side:
        return case
    size = _size(case.before, side)
    row, truth = case.row, None if case.truth is None else _scaled(case.truth, *size)
    return _case(
        row["pair_id"], row["scene_id"], row["edit_kind"], case.text, _scaled(case.before, *size), truth,
        row["original_prompt"], row["edited_prompt"], str(row["language"] or "en"),
    )  # fmt: skip


def _scaled_down(picture: Pixels | str, side: int | None) -> Pixels | str:
    if isinstance(picture, str) or side is None or max(picture.shape[:2]) <= side:
        return picture
    return _scaled(picture, *_size(picture, side))


def _size(picture: Pixels, side: int) -> tuple[int, int]:
    """Width and height where the longer one is `side`."""
    height, width = picture.shape[:2]
    return max(8, round(width * side / max(height, width))), max(8, round(height * side / max(height, width)))


def _scaled(picture: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _picture(path: Path) -> Pixels | str:
    """Or why it cannot be had: one picture that was not downloaded whole must not end the rest."""
    try:
        return _decoded({"bytes": path.read_bytes()}, path.name)
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"


def _decoded(image: Mapping[str, Any] | None, where: str) -> Pixels | str:
    try:
        return f"{where}: there is no picture" if image is None else decode(image)
    except ValueError as error:
        return f"{where}: {error}"
