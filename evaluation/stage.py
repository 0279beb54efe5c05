"""The stage that asks an editor for a set's edits and measures what comes back.

An editor may do anything: raise, return too little, pictures of another size, values that are no numbers. Such edits
are rows that say so, and count as failures; the run goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluation.asked import Asked, Edited
from evaluation.editors import Editor, checked, editor
from evaluation.made import Made, keep, kept
from evaluation.memory import begin, peak_mb
from evaluation.preserved import Unlike, preserved, subject_of
from evaluation.results import FAILED, MADE, RESULTS, RIGHT, TOLERANCES, UNASKED, WRONG
from evaluation.spatial import judge
from shards.guard import BrokenEngine, RowGuard
from shards.images import Pixels, encode
from shards.run import Run
from shards.storage import StorageError, open_storage
from shards.tables import from_rows
from shards.units import Unit, UnitReport

if TYPE_CHECKING:  # the driver asks this module for the stage's version, and loads no torch for it
    from evaluation.inception import Inception
    from evaluation.trials import Case
    from filters.clip import ClipJudge
    from filters.reader import Sighting

_LONGEST = 300  # characters of what an editor says of its failure


class EditAndMeasure:
    """Stage "edits". settings: {"set": {"name", "key"}, "editor": {"name", ...}, "copy", "batch", "seed", "reader",
    "clip": null or as of stage "scores", "lpips", "inception": null or a file of `evaluation.lpips`, and of
    `evaluation.inception`, "made": the folder of what the editor made, where it is looked for before it is asked}."""

    name = "edits"
    version = 1  # to be raised whenever the same settings and sets would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        from evaluation.edit_sets import groups
        from filters.reader import Reader

        self._run, self._folder = Run.open(open_storage(run_uri)), folder
        self._set, self._about, self._copy = settings["set"], settings["editor"], int(settings["copy"])
        self._seed, self._batch = int(settings["seed"]), int(settings["batch"])
        self._made_in = settings["made"]
        self._asked_one: Editor | None = None
        # One that is missing ends the run before it begins, but is not missed where all is made.
        if len(self._run.done(self._made_in)) < groups(self._run.storage, self._set["key"]):
            self._asked_one = editor(self._about, self._copy)
        self._reader = Reader.load(settings["reader"])
        self._clip, self._lpips = _clip(settings["clip"]), _lpips(settings["lpips"])
        self._inception = _inception(settings["inception"])
        self._measuring = ThreadPoolExecutor(1)  # measures a batch while the editor is at the next

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        from evaluation.edit_sets import of_group

        began, asked_s = time.monotonic(), 0.0
        numbered = list(
            zip(unit.rows, of_group(self._run.storage, self._set["key"], unit.index), strict=False)
        )
        names = [str(case.row["pair_id"]) for _, case in numbered]
        before = kept(self._run, self._made_in, unit, names)
        size = 1 if guard.row_by_row and before is None else self._batch
        waiting: list[Future[list[dict[str, Any]]]] = []
        every: list[Made | None] = []
        for start in range(0, len(numbered), size):
            some = numbered[start : start + size]
            cases = [case for _, case in some]
            if before is not None:
                made = before[start : start + size]
            elif all(guard.may_run(number) for number, _ in some):  # one by one where it may not
                at = time.monotonic()
                made = self._made(cases)
                asked_s += time.monotonic() - at
            else:
                made = [Made(None, 0.0, guard.refusal) for _ in cases]
            every += made
            waiting.append(self._measuring.submit(self._rows, cases, made))
        if before is None and not keep(self._run, self._made_in, unit, names, every):
            theirs = kept(self._run, self._made_in, unit, names)  # another worker was at this unit, too
            if theirs is not None:
                waiting = [self._measuring.submit(self._rows, [case for _, case in numbered], theirs)]
        rows = [row for one in waiting for row in one.result()]
        counts = Counter(
            f"{row['outcome']}:{row['reason']}" if row["outcome"] in (WRONG, FAILED) else row["outcome"]
            for row in rows
        )
        won = self._run.commit(self._folder, unit, from_rows(rows, RESULTS), counts)
        seconds = time.monotonic() - began
        return UnitReport(
            unit.id, self.name, len(rows), dict(counts), seconds, not won, {"editor_seconds": asked_s}
        )

    def _made(self, cases: Sequence[Case]) -> list[Made | None]:
        """None for edits that cannot be said to this editor."""
        found: list[Made | None] = [None] * len(cases)
        asked: dict[int, Asked] = {}
        sizes: dict[tuple[int, ...], list[int]] = {}
        for place, case in enumerate(cases):
            if case.broken:
                found[place] = Made(None, 0.0, "broken_picture", case.broken[:_LONGEST])
                continue
            one = self._asked(case)
            try:
                said = self._editor.expresses(one)
            except Exception as error:
                found[place] = Made(None, 0.0, f"error_{type(error).__name__}", str(error)[:_LONGEST])
                continue
            if said:
                asked[place] = one
                sizes.setdefault(one.image.shape, []).append(place)
        for places in sizes.values():
            begin()
            together = self._together([asked[at] for at in places])
            memory_mb = peak_mb()
            for place, made in zip(places, together, strict=True):
                found[place] = replace(made, memory_mb=memory_mb, price=self._editor.price)
        return found

    def _together(self, asked: Sequence[Asked]) -> list[Made]:
        if not asked:
            return []
        began = time.perf_counter()
        try:
            pictures: list[NDArray[Any] | Edited | None] = list(self._editor(asked))
        except (BrokenEngine, StorageError):
            raise  # of the worker or the storage, not of an edit: another one goes on
        except Exception as error:
            if _broken(error):
                raise BrokenEngine(f"the device: {str(error).splitlines()[0][:_LONGEST]}") from error
            if len(asked) > 1:  # one of them must not cost the others
                return [made for one in asked for made in self._together([one])]
            said = str(error).strip().splitlines()[0][:_LONGEST] if str(error).strip() else ""
            return [Made(None, time.perf_counter() - began, f"error_{type(error).__name__}", said)]
        each = (time.perf_counter() - began) / len(asked)
        if len(pictures) != len(asked):  # which is whose nobody knows
            if len(asked) > 1:
                return [made for one in asked for made in self._together([one])]
            return [Made(None, each, "wrong_number", f"{len(pictures)} pictures for one edit")]
        return [_checked(picture, one.image, each) for picture, one in zip(pictures, asked, strict=True)]

    @property
    def _editor(self) -> Editor:
        if self._asked_one is None:
            self._asked_one = editor(self._about, self._copy)
        return self._asked_one

    def _asked(self, case: Case) -> Asked:
        row = case.row
        captions = row["original_prompt"], row["edited_prompt"]
        mask = subject_of(row) if case.judged else None
        seed, name = case.seed + self._seed, str(row["pair_id"])
        return Asked(case.before, case.text, seed, case.kind, *captions, case.truth, mask, name)

    def _rows(self, cases: Sequence[Case], made: Sequence[Made | None]) -> list[dict[str, Any]]:
        read = iter(self._read([one.picture for case, one in zip(cases, made, strict=True)
                                if case.judged and one is not None and one.picture is not None]))  # fmt: skip
        pictures = [one.picture for one in made if one is not None and one.picture is not None]
        seen = iter(self._inception(pictures) if self._inception is not None else [None] * len(pictures))
        rows = []
        for case, one, scored in zip(cases, made, self._scores(cases, made), strict=True):
            row: dict[str, Any] = {
                "pair_id": case.row["pair_id"], "scene_id": case.row["scene_id"], "edit_kind": case.kind,
                "language": case.row["language"], "edit_set": self._set["name"],
                "editor": self._about["name"], "copy": self._copy, "text": case.text,
                "judged": case.judged,
            }  # fmt: skip
            if one is None:
                rows.append(row | {"outcome": UNASKED})
                continue
            row |= {
                "seconds": one.seconds, "memory_mb": one.memory_mb, "price": one.price,
                "tuned_for": one.tuned_for, "tuned_seconds": one.tuned_seconds,
            }  # fmt: skip
            if one.picture is None:
                rows.append(row | {"outcome": FAILED, "reason": one.reason, "message": one.message})
                continue
            row |= {"edited": encode(one.picture), "outcome": MADE, "inception": next(seen), **scored}
            if case.truth is not None:
                off = (one.picture.astype(np.float64) - case.truth.astype(np.float64)) / 255
                row |= {"l1": float(np.abs(off).mean()), "l2": float(np.square(off).mean())}
            if case.judged:
                row |= _judged(case, one.picture, next(read), self._lpips)
            rows.append(row)
        return rows

    def _read(self, pictures: Sequence[Pixels]) -> list[Sequence[Sighting]]:
        """Those of one size together: of a set that can be judged all are of one."""
        return list(self._reader.read(np.stack(pictures))) if pictures else []

    def _scores(self, cases: Sequence[Case], made: Sequence[Made | None]) -> list[dict[str, Any]]:
        """CLIP's, of each case; nothing where there is no picture, no caption, or no CLIP."""
        found: list[dict[str, Any]] = [{} for _ in cases]
        if self._clip is None:
            return found
        from filters.clip import Pair, Scored

        places, pairs = [], []
        for place, (case, one) in enumerate(zip(cases, made, strict=True)):
            before, after = case.row["original_prompt"], case.row["edited_prompt"]
            if one is not None and one.picture is not None and before and after:
                places.append(place)
                pairs.append(Pair(case.before, one.picture, before, after))
        for place, answer in zip(places, self._clip.score(pairs) if pairs else (), strict=True):
            if isinstance(answer, Scored):
                said = answer.similarities
                found[place] = {
                    "clip_image": said.clip_image, "clip_direction": said.clip_direction,
                    "clip_embedding": answer.after.tolist(),
                }  # fmt: skip
        return found


def _broken(error: Exception) -> bool:
    """Whether the device is of no use any more: after such an error each call of this process fails."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def _checked(picture: Any, like: Pixels, seconds: float) -> Made:
    """seconds: of the call, shared; an editor that knows better says so."""
    if isinstance(picture, Edited):
        bare = _checked(picture.picture, like, picture.seconds)
        return replace(bare, tuned_for=picture.tuned_for, tuned_seconds=picture.tuned_seconds)
    try:
        found, reason = checked(picture, like)
    except (TypeError, ValueError) as error:  # no array of numbers
        return Made(None, seconds, "no_picture", str(error).splitlines()[0][:_LONGEST])
    return Made(found, seconds, reason)


def _judged(
    case: Case, picture: Pixels, sightings: Sequence[Sighting], lpips: Unlike | None
) -> dict[str, Any]:
    found = case.found(sightings)
    outcome = judge(case.row, found, case.yaws)
    row: dict[str, Any] = {
        "outcome": RIGHT if outcome.success else WRONG,
        "reason": outcome.reason,
        "off": outcome.off,
        "within": [judge(case.row, found, case.yaws, most).success for most in TOLERANCES],
    }
    kept = preserved(case.row, case.before, picture, found, lpips)
    if kept is not None:
        row |= {"psnr": kept.psnr, "ssim": kept.ssim, "lpips": kept.lpips, "kept_share": kept.share}
    return row


def _clip(settings: Mapping[str, Any] | None) -> ClipJudge | None:
    if settings is None:
        return None
    from filters.clip import ClipJudge
    from filters.weights import ClipWeights

    weights = ClipWeights(settings["model"], settings["weights"])
    return ClipJudge(weights, settings["preprocessing"], settings["device"], settings["precision"])


def _lpips(file: str | None) -> Unlike | None:
    if file is None:
        return None
    from evaluation.lpips import Lpips

    return Lpips.load(file)


def _inception(file: str | None) -> Inception | None:
    if file is None:
        return None
    import torch

    from evaluation.inception import Inception

    return Inception.load(file, "cuda" if torch.cuda.is_available() else "cpu")
