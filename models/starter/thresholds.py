"""Choosing the CLIP profile `starter`: on validation pairs of the starter world, against wrong ones made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filters.calibrate import Calibration, Scores, calibrate_kinds, share_accepted
from filters.clip import ClipJudge, Pair, Scored
from filters.profiles import GEOMETRIC_KINDS, ClipProfile, Preprocessing, write
from filters.weights import LOCAL_DIR, THRESHOLDS_FILE, ClipWeights
from models.starter.captions import wrong_attribute
from models.starter.world import SEED
from shards.images import decode
from shards.run import Run
from shards.storage import StorageError
from shards.tables import read_table

NAME = "starter"
_COLUMNS = (
    "pair_id",
    "edit_kind",
    "original_image",
    "edited_image",
    "original_prompt",
    "edited_prompt",
    "verdict",
)
_COSINES = ("clip_image", "clip_text_before", "clip_text_after", "clip_direction")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    kind: str
    pair: Pair


def examples(run: Run) -> list[Example]:
    """Pairs of the kinds that CLIP judges which geometry accepted. Raises StorageError where there are none."""
    folders = run.current().get("blender", {})
    found = []
    for unit in sorted(run.done(folders["verdicts"])) if "verdicts" in folders else ():
        verdicts = read_table(run.storage, run.shard_key(folders["verdicts"], unit), ("pair_id", "verdict"))
        accepted = {row["pair_id"] for row in verdicts.to_pylist() if row["verdict"] == "accepted"}
        for row in read_table(run.storage, run.shard_key(folders["pairs"], unit), _COLUMNS).to_pylist():
            if row["pair_id"] not in accepted or row["edit_kind"] in GEOMETRIC_KINDS:
                continue
            pictures = decode(row["original_image"]), decode(row["edited_image"])
            captions = row["original_prompt"], row["edited_prompt"]
            if captions[0] != captions[1]:  # "brighter" has no words in a caption: nothing for CLIP to judge
                found.append(Example(row["edit_kind"], Pair(*pictures, *captions)))
    if not found:
        raise StorageError(
            "no_pairs", f"{run.storage.uri} has no accepted pairs that CLIP judges: run 'generate'"
        )
    return found


def wrong_pairs(right: Sequence[Example], rng: np.random.Generator) -> dict[str, list[Example]]:
    """Of each right pair one wrong pair of each sort.

    attribute: the caption after says one thing of the edit wrongly. unchanged: the picture after is the one
    before. scene: the picture after is another pair's of the same kind, whose caption is another too.
    """
    found: dict[str, list[Example]] = defaultdict(list)
    for place, example in enumerate(right):
        pair = example.pair
        caption = wrong_attribute(pair.caption_after, rng, pair.caption_before)
        others = [
            other.pair
            for number, other in enumerate(right)
            if number != place
            and other.kind == example.kind
            and other.pair.caption_after != pair.caption_after
        ]
        wrong = {
            "attribute": Pair(pair.before, pair.after, pair.caption_before, caption),
            "unchanged": Pair(pair.before, pair.before, pair.caption_before, pair.caption_after),
        }
        if others:
            other = others[int(rng.integers(len(others)))]
            wrong["scene"] = Pair(pair.before, other.after, pair.caption_before, pair.caption_after)
        for sort, made in wrong.items():
            found[sort].append(Example(example.kind, made))
    return found


def scores_by_kind(judge: ClipJudge, some: Sequence[Example]) -> dict[str, Scores]:
    """(n, 4) for each kind, in the order of the columns; NaN for a direction that does not apply."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for example, answer in zip(some, judge.score([example.pair for example in some]), strict=True):
        if isinstance(answer, Scored):
            values = [getattr(answer.similarities, name) for name in _COSINES]
            rows[example.kind].append([np.nan if value is None else value for value in values])
    return {kind: np.array(values, float) for kind, values in rows.items()}


def choose_thresholds(run: Run, folder: Path, preprocessing: Preprocessing = "ip2p") -> ClipProfile:
    """Writes thresholds.json beside the model. Half of the pairs choose, the other half gives the figures.

    Raises StorageError without pairs, ValueError with too few of them, WeightsError without a model.
    """
    weights = ClipWeights(f"{LOCAL_DIR}{folder}")
    judge = ClipJudge(weights, preprocessing)
    right = examples(run)
    wrong = wrong_pairs(right, np.random.default_rng(SEED))
    halves = [_half(judge, right, wrong, part) for part in (0, 1)]
    whole, kinds = calibrate_kinds(*halves[0])
    profile = ClipProfile(
        name=NAME,
        models=(weights.identity(),),
        preprocessing=preprocessing,
        default=whole.thresholds,
        kinds={kind: found.thresholds for kind, found in kinds.items()},
        calibration=_about(whole, kinds, *halves[1]),
    )
    write(folder / THRESHOLDS_FILE, profile)
    return profile


_Half = tuple[dict[str, Scores], dict[str, dict[str, Scores]]]


def _half(
    judge: ClipJudge, right: Sequence[Example], wrong: Mapping[str, Sequence[Example]], part: int
) -> _Half:
    """Scores of the right pairs by kind, and of the wrong ones by kind and sort: of every second pair of a kind."""

    def second(some: Sequence[Example]) -> list[Example]:
        kinds = dict.fromkeys(example.kind for example in some)
        return [one for kind in kinds for one in [e for e in some if e.kind == kind][part::2]]

    by_kind: dict[str, dict[str, Scores]] = defaultdict(dict)
    for sort, some in wrong.items():
        for kind, scores in scores_by_kind(judge, second(some)).items():
            by_kind[kind][sort] = scores
    return scores_by_kind(judge, second(right)), dict(by_kind)


def _about(
    whole: Calibration,
    kinds: Mapping[str, Calibration],
    right: Mapping[str, Scores],
    wrong: Mapping[str, Mapping[str, Scores]],
) -> dict[str, Any]:
    """For people: what the thresholds do, on the pairs that chose them and on as many that did not."""
    held_out: dict[str, dict[str, Any]] = {}
    for kind, scores in right.items():
        limits = kinds.get(kind, whole).thresholds
        held_out[kind] = {
            "right": len(scores),
            "true_accepts": share_accepted(scores, limits),
            "false_accepts": {sort: share_accepted(found, limits) for sort, found in wrong[kind].items()},
        }
    sorts = dict.fromkeys(sort for of_kind in wrong.values() for sort in of_kind)

    def mean(values: Iterable[float]) -> float:
        return float(np.average(list(values), weights=[one["right"] for one in held_out.values()]))

    return {
        "chosen_on": {key: value for key, value in asdict(whole).items() if key != "thresholds"},
        "held_out": {
            "true_accepts": mean(one["true_accepts"] for one in held_out.values()),
            "false_accepts": {
                sort: mean(one["false_accepts"].get(sort, 0.0) for one in held_out.values()) for sort in sorts
            },
            "kinds": held_out,
        },
    }
