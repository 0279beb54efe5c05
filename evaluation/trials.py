"""An editor held against a test set: which edits count, what it makes of them, and how sure a difference is."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluation.floor import camera_of
from evaluation.spatial import NOT_SPATIAL, Outcome, Thing, judge, seen
from filters.reader import Reader, Sighting, seen_yaw
from shards.dataset import Dataset
from shards.images import Pixels, decode
from shards.tables import opened
from spatial.language import parse, say
from spatial.lexicon import Lexicon
from spatial.scene import Pose, SceneObject, SpatialError
from spatial.templates import Chosen
from trainer.examples import squeezed

_PICTURES = ("original_image", "edited_image")
Row = Mapping[str, Any]
Edit = Callable[[Sequence[Pixels], Sequence[str], Sequence[int]], Sequence[Pixels]]
"""Pictures (h, w, 3) uint8 of one size, instructions and seeds, to pictures of that size."""

COLUMNS = (
    "pair_id", "scene_id", "original_image", "edited_image", "edit_prompt", "edit_kind", "language", "instructions",
    "operations", "objects_before", "objects_after", "camera_before", "camera_after", "width", "height",
    "original_prompt", "edited_prompt",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An edit to be tried. text: what the editor is told. before, truth: (h, w, 3) uint8; of other people's benchmarks
    some have no true picture. yaws: as `judge` wants. broken: why it cannot be tried, a picture is not there or not to
    be opened; then `before` is empty and there is no truth."""

    row: Row
    text: str
    before: Pixels
    truth: Pixels | None
    yaws: Mapping[str, float]
    broken: str | None = None

    @property
    def kind(self) -> str:
        return str(self.row["edit_kind"])

    @property
    def judged(self) -> bool:
        """Whether it is known what is to be where: the edit can be right or wrong."""
        return bool(self.row.get("operations"))

    def found(self, sightings: Sequence[Sighting]) -> tuple[Thing, ...]:
        """What a reader sees in a picture of the size of `before`, in pixels of the row's, which may be larger."""
        height, width, _ = self.before.shape
        return seen(sightings, (int(self.row["width"]) / width, int(self.row["height"]) / height))

    @property
    def seed(self) -> int:
        """Of this edit alone, whatever else is tried."""
        return int.from_bytes(hashlib.sha256(str(self.row["pair_id"]).encode()).digest()[:4], "big")


@dataclass(frozen=True, slots=True)
class Result:
    pair_id: str
    scene_id: str
    kind: str
    language: str
    reason: str | None

    @property
    def success(self) -> bool:
        return self.reason is None


def cases(
    dataset: Dataset,
    split: str = "test",
    templates: Chosen = "all",
    side: int | None = None,
    broken: bool = False,
) -> Iterator[Case]:
    """The edits of a published dataset's split, in its order. side: pixels that pictures are scaled to; None for none.
    broken: edits without pictures are cases that say so.

    templates: how they are worded; "all" leaves the words as they are, "held_out" says them anew by the quarter of
    phrasings that no training with `data.phrasings: train` has seen. What has no such words stays as it is.
    Raises StorageError, and, without `broken`, ValueError that names the pair for a picture that is broken.
    """
    for file in dataset.files("data", split):
        with opened(dataset.storage, file.path) as parquet:
            for number in range(parquet.num_row_groups):
                for row in parquet.read_row_group(number, columns=list(COLUMNS)).to_pylist():
                    yield case_of(row, templates, side, broken)


def worded(chosen: Sequence[Case], sentences: Iterable[tuple[str, str, str]]) -> list[Case]:
    """Those that there are sentences for, (pair_id, language, text), once for each: an edit of its own, that has the
    language in its name."""
    by_name = {str(case.row["pair_id"]): case for case in chosen}
    return [
        Case(
            {**case.row, "pair_id": f"{name}-{language}", "language": language},
            text,
            case.before,
            case.truth,
            case.yaws,
            case.broken,
        )
        for name, language, text in sentences
        if (case := by_name.get(name)) is not None
    ]


def case_of(row: Row, templates: Chosen = "all", side: int | None = None, broken: bool = False) -> Case:
    text = str(row["edit_prompt"])
    if templates != "all":
        draw = np.random.default_rng(list(hashlib.sha256(str(row["pair_id"]).encode()).digest()[:8]))
        language = str(row["language"] or "en")
        with suppress(SpatialError):
            text = say(parse(text, language), language, draw, templates=templates, lexicon=Lexicon.default())
    try:
        before, truth = _pictures(row)
    except ValueError as error:
        if not broken:
            raise ValueError(f"pair {row['pair_id']}: {error}") from None
        return Case(row, text, np.zeros((1, 1, 3), np.uint8), None, {}, str(error))
    if side is not None:
        before, truth = squeezed(before, side), None if truth is None else squeezed(truth, side)
    return Case(row, text, before, truth, _yaws(row))


def _pictures(row: Row) -> tuple[Pixels, Pixels | None]:
    """Raises ValueError where one is broken, or missing where it is needed."""
    if row["original_image"] is None:
        raise ValueError("original_image is missing")
    if row["edited_image"] is None:
        if row.get("operations"):
            raise ValueError("edited_image is missing, by which the edit is judged")
        return decode(row["original_image"]), None
    return decode(row["original_image"]), decode(row["edited_image"])


def _yaws(row: Row) -> dict[str, float]:
    """How things are turned in the picture after the edit, as the reader says it, where poses are known."""
    if row["camera_after"] is None:
        return {}
    camera = camera_of(row["camera_after"])
    found = {}
    for thing in row["objects_after"] or ():
        if (told := thing.get("pose")) is not None:
            pose = Pose(tuple(told["position"]), tuple(told["quaternion"]), tuple(told["size"]))
            found[str(thing["id"])] = seen_yaw(SceneObject(thing["id"], "", thing["name"], pose), camera)
    return found


UNSEEN, MISREAD, IDLE = "unseen", "misread", "idle"
"""Why an edit does not count: the reader cannot see its kind; it does not find the true picture to succeed; it finds
the picture that nobody touched to succeed."""


def judgeable(tried: Sequence[Case], reader: Reader, batch: int = 64) -> list[Case]:
    """Those that count, by `sifted`. To be asked before any editor is."""
    return [case for case, why in sifted(tried, reader, batch) if why is None]


def sifted(tried: Sequence[Case], reader: Reader, batch: int = 64) -> Iterator[tuple[Case, str | None]]:
    """Each edit, and None if it counts, else why not. What counts are spatial edits whose true picture the reader finds
    to succeed, and whose first picture it does not, by the same rules that an editor's picture is held to; turns only
    of things that look different from different sides. What is broken counts: nobody can make it, and it must not be
    lost. Raises ValueError for pictures of several sizes."""
    yield from ((case, None) for case in tried if case.broken)
    tried = [case for case in tried if not case.broken]
    sizes = {shown.shape for case in tried for shown in (case.before, case.truth) if shown is not None}
    if len(sizes) > 1:
        said = ", ".join(sorted(f"{width} x {height}" for height, width, _ in sizes)[:3])
        raise ValueError(f"pictures of a set must be of one size, and these are {said}")
    spatial = [case for case in tried if case.judged and not _only(case.row, NOT_SPATIAL)]
    yield from ((case, UNSEEN) for case in tried if not case.judged or _only(case.row, NOT_SPATIAL))
    for start in range(0, len(spatial), batch):
        some = spatial[start : start + batch]
        pictures = [one.truth for one in some if one.truth is not None]  # of all, or they could not be judged
        truths = reader.read(np.stack(pictures))
        untouched = reader.read(np.stack([one.before for one in some]))
        for case, sightings, before in zip(some, truths, untouched, strict=True):
            yield case, _not_judged(case, sightings, before)


def _not_judged(case: Case, truth: Sequence[Sighting], before: Sequence[Sighting]) -> str | None:
    if not judge(case.row, case.found(truth), case.yaws).success:
        return MISREAD
    turned = [step for step in case.row["operations"] if step["kind"] == "rotate"]
    if any(not _turnable(str(step["subject"]), case, truth) for step in turned):
        return UNSEEN
    return IDLE if judge(case.row, case.found(before), case.yaws).success else None


def _only(row: Row, kinds: frozenset[str]) -> bool:
    return {step["kind"] for step in row["operations"] or ()} <= kinds


def _turnable(name: str, case: Case, sightings: Sequence[Sighting]) -> bool:
    kinds = {thing["name"] for thing in case.row["objects_after"] if thing["id"] == name}
    return any(one.kind in kinds and one.yaw is not None for one in sightings)


def tried(
    edit: Edit, chosen: Sequence[Case], reader: Reader, batch: int = 16
) -> Iterator[tuple[Case, Pixels, Result]]:
    """What an editor makes of each, in order. All pictures are of one size."""
    for start in range(0, len(chosen), batch):
        some = chosen[start : start + batch]
        made = edit(
            [case.before for case in some], [case.text for case in some], [case.seed for case in some]
        )
        for case, picture, sightings in zip(some, made, reader.read(np.stack(made)), strict=True):
            yield case, picture, result_of(case, judge(case.row, case.found(sightings), case.yaws))


def result_of(case: Case, outcome: Outcome) -> Result:
    row = case.row
    return Result(str(row["pair_id"]), str(row["scene_id"]), case.kind, str(row["language"]), outcome.reason)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], scenes: Sequence[str], seed: int = 0, draws: int = 10_000) -> Interval:
    """Of the mean, by bootstrap over scenes: edits of one scene rise and fall together. values: one an edit, say the
    difference of two editors there, or the mean over seeds; scenes: whose each is."""
    low, high = np.quantile(_means(values, scenes, seed, draws), (0.025, 0.975))
    return Interval(float(np.mean(np.asarray(values, np.float64))), float(low), float(high))


def share_interval(values: Sequence[float], scenes: Sequence[str]) -> Interval:
    """Of a share, of values 0 to 1. Where all are 0, or all 1, no draw of scenes differs, and the bound is the exact
    one of so many scenes (Clopper & Pearson 1934): of three scenes that all succeed one may still fail often."""
    found = interval(values, scenes)
    bound = 0.025 ** (1 / len(set(scenes)))
    if all(value == 0 for value in values):
        return Interval(0.0, 0.0, 1 - bound)
    if all(value == 1 for value in values):
        return Interval(1.0, bound, 1.0)
    return found


def chance(values: Sequence[float], scenes: Sequence[str], seed: int = 0, draws: int = 10_000) -> float:
    """Two-sided p of differences of which the mean is none, by flips of signs, a scene's all at once: the share of
    flips that come as far from 0. All flips where scenes are few, else so many drawn. A bootstrap of few scenes would
    be sure of anything."""
    number = {scene: n for n, scene in enumerate(dict.fromkeys(scenes))}
    sums = np.bincount([number[scene] for scene in scenes], np.asarray(values, np.float64))
    sums = sums[sums != 0]  # a flip of nothing is none
    if not len(sums):
        return 1.0
    if 2 ** len(sums) <= draws:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sums))))
        drawn = 0
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), (draws, len(sums)))
        drawn = 1  # what was seen is a flip, too
    as_far = int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).sum())
    return (as_far + drawn) / (len(signs) + drawn)


def holm(chances: Sequence[float]) -> list[float]:
    """p of several tests, so that the odds of one false finding among them stay what one test's are (Holm 1979)."""
    found, least = [1.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=lambda at: chances[at])):
        least = max(least, min(1.0, (len(chances) - rank) * chances[place]))
        found[place] = least
    return found


def _means(values: Sequence[float], scenes: Sequence[str], seed: int, draws: int) -> NDArray[np.float64]:
    number = {scene: n for n, scene in enumerate(dict.fromkeys(scenes))}
    at = np.array([number[scene] for scene in scenes])
    sums = np.bincount(at, np.asarray(values, np.float64))
    counts = np.bincount(at)
    drawn, means = np.random.default_rng(seed), np.empty(draws)
    for turn in range(draws):  # one by one, so that a large set takes no more memory
        picks = drawn.integers(len(counts), size=len(counts))
        means[turn] = sums[picks].sum() / counts[picks].sum()
    return means


def digest(chosen: Sequence[Case]) -> str:
    """sha256 of what is asked, of which pictures, and of what is known to be true of them: a frozen test set has this
    figure."""
    total = hashlib.sha256()
    for case in sorted(chosen, key=lambda one: str(one.row["pair_id"])):
        known = {name: case.row.get(name) for name in COLUMNS if name not in _PICTURES}
        total.update(f"{case.text}\0{json.dumps(known, sort_keys=True, default=repr)}\0".encode())
        truth = b"" if case.truth is None else np.ascontiguousarray(case.truth).tobytes()
        total.update(np.ascontiguousarray(case.before).tobytes() + truth)
    return total.hexdigest()


class OfKind(Protocol):
    @property
    def kind(self) -> str: ...


One = TypeVar("One", bound=OfKind)


def by_turns(some: Sequence[One], most: int) -> list[One]:
    """One of each kind, then another of each, and so on."""
    turns: dict[str, int] = defaultdict(int)
    order = []
    for place, one in enumerate(some):
        order.append((turns[one.kind], place))
        turns[one.kind] += 1
    return [some[place] for _, place in sorted(order)[:most]]


def by_kind(results: Iterable[Result]) -> dict[str, tuple[int, int]]:
    """{kind: (successes, edits)}."""
    found: dict[str, tuple[int, int]] = {}
    for one in results:
        good, total = found.get(one.kind, (0, 0))
        found[one.kind] = good + one.success, total + 1
    return dict(sorted(found.items()))
