"""The stage that makes pairs of pictures of edits in words: Prompt-to-Prompt, judged by CLIP as they come.

A row is one draw: its noise, guidance and shares follow from its edit and number. All draws that were judged are rows,
up to the last that the edit needed; pictures are kept of those that are good enough, and every pair can be made again
from its row (`replay`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from filters.profiles import ClipProfile, ClipThresholds, Similarities
from filters.weights import ClipWeights, WeightsError
from generators.budget import Budget
from generators.diffusion_identity import identity
from generators.unique import TEXTS
from generators.unique import UNIT as UNIQUE
from shards.guard import RowGuard
from shards.images import decode, encode, perceptual_hash, pixel_sha256
from shards.run import Run
from shards.schema import PAIRS
from shards.storage import open_storage
from shards.tables import from_rows, read_rows, read_table
from shards.units import Unit, UnitReport, seed_for

if TYPE_CHECKING:  # the driver asks this module for the stage's version, and loads no torch for it
    from generators.diffusion import Diffusion
    from generators.judging import ByClip
    from generators.pairs import Judged, Made, Outcome, PairSettings, Prompt

Row = dict[str, Any]
SOURCE = "p2p"
ROUTE = "p2p"
_EDIT = (
    "edit_id", *TEXTS, "edit_kind", "language", "instructions", "license", "provenance",
)  # fmt: skip
_VERDICT = ("edit_id", "verdict", *TEXTS, "instructions")


def pair_settings(settings: Mapping[str, Any]) -> PairSettings:
    """What the route's settings say of the engine."""
    from generators.pairs import PairSettings

    keys = PairSettings.__dataclass_fields__
    ranges = {key: tuple(settings["pairs"][key]) for key in ("guidance", "share", "cross")}
    return PairSettings(**{key: settings["pairs"][key] for key in keys} | ranges)


def load_model(settings: Mapping[str, Any]) -> Diffusion:
    """The route's model. Raises ModelError where this worker finds other weights than the driver, or none."""
    from generators.diffusion import Diffusion, ModelError, ModelSettings

    wanted = ModelSettings(**settings["model"])
    found = identity(wanted.model, wanted.revision)
    if found != settings["model_identity"]:
        raise ModelError(
            f"{wanted.model} is {found} here and {settings['model_identity']} where the job started: give all nodes "
            "the same files"
        )
    return Diffusion(wanted)


def load_judge(settings: Mapping[str, Any]) -> ByClip:
    """CLIP and the thresholds. Raises WeightsError as `ClipJudge` does, and for other weights than the driver's."""
    from filters.clip import ClipJudge
    from generators.judging import ByClip

    clip = settings["clip"]
    weights = ClipWeights(clip["model"], clip["weights"])
    if weights.identity() != clip["identity"]:
        raise WeightsError(f"{weights.model} is not what the job started with: give all nodes the same files")
    judge = ClipJudge(weights, clip["preprocessing"], clip["device"], clip["precision"], int(clip["batch"]))
    return ByClip(judge, ClipProfile.model_validate(settings["profile"]), float(settings["preview_slack"]))


class RenderPairs:
    """Stage "pairs" of route "p2p". settings: those of the route in the configuration, and edits and unique (the
    folders of these stages), per_unit (edits of a unit), model_identity, clip, profile, seed."""

    name = "pairs"
    version = 1  # to be raised whenever the same settings would give other rows

    def __init__(
        self, *, run_uri: str, folder: str, inputs: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        from generators.pairs import PairEngine, Preview

        self._run = Run.open(open_storage(run_uri))
        self._folder, self._settings = folder, settings
        self._pairs = pair_settings(settings)
        model, judge = load_model(settings), load_judge(settings)
        at, floor = settings["preview_at"], settings["floor"]
        self._floor = ClipThresholds(**floor) if floor is not None else None
        self._engine = PairEngine(
            model,
            self._pairs,
            judge,
            slots=int(settings["slots"]),
            budget=Budget(**settings["budget"]),
            preview=Preview(at) if at else None,
            decode_batch=int(settings["decode_batch"]),
            keep=self._keeps,
        )
        self._precision = settings["model"]["precision"]

    def __call__(self, unit: Unit, guard: RowGuard) -> UnitReport:
        began = time.monotonic()
        clock = self._engine.clock
        before = asdict(clock)
        edits = self._edits(unit)
        rows: list[Row] = []
        forwards = 0
        for edit, outcome in self._outcomes(edits, guard):
            forwards += outcome.forwards
            rows += self._rows(unit, edit, outcome)
        rows += [
            self._unmade(unit, edit, guard.refusal, "")
            for _, edit in edits
            if edit["edit_id"] in self._refused
        ]
        rows.sort(key=lambda row: str(row["pair_id"]))
        counts = Counter(_outcome_of(row) for row in rows)
        won = self._run.commit(self._folder, unit, from_rows(rows, PAIRS), counts)
        seconds = time.monotonic() - began
        details = {f"{key}_seconds": asdict(clock)[key] - before[key] for key in ("unet", "vae", "judge")}
        details |= {
            "forwards": float(forwards),
            "image_bytes": float(sum(row.get("image_bytes") or 0 for row in rows)),
            "slots_used": float(clock.used - before["used"]),
            "slots_offered": float(clock.offered - before["offered"]),
            "edits": float(len(edits)),
            "edits_kept": float(len({row["edit_id"] for row in rows if row.get("image_bytes")})),
        }
        return UnitReport(unit.id, self.name, len(rows), dict(counts), seconds, not won, details)

    # --- edits ----------------------------------------------------------------------------------------------

    def _edits(self, unit: Unit) -> list[tuple[int, Row]]:
        """The unit's good edits with their numbers, in the words that they have in the end."""
        of = Unit("edits", unit.index, unit.size)
        key = self._run.shard_key(self._settings["edits"], of.id)
        edits = read_table(self._run.storage, key, _EDIT).to_pylist()
        first = unit.index * len(edits)
        unique = self._run.shard_key(self._settings["unique"], UNIQUE.id)
        numbers = range(first, first + len(edits))
        verdicts = read_rows(self._run.storage, unique, list(numbers), _VERDICT).to_pylist()
        found = []
        for number, edit, verdict in zip(numbers, edits, verdicts, strict=True):
            if edit["edit_id"] != verdict["edit_id"]:
                raise ValueError(f"{key}: {edit['edit_id']} stands where {verdict['edit_id']} should")
            if verdict["verdict"] != "accepted":
                continue
            mended = {name: verdict[name] for name in (*TEXTS, "instructions") if verdict[name] is not None}
            found.append((number, edit | mended))
        return found

    def _outcomes(self, edits: Sequence[tuple[int, Row]], guard: RowGuard) -> Iterator[tuple[Row, Outcome]]:
        """All edits at once; where one is to be found that kills the worker, one at a time."""
        self._refused: set[str] = set()
        by_id = {edit["edit_id"]: edit for _, edit in edits}
        if not guard.row_by_row:
            for outcome in self._engine.run(self._prompt(edit) for _, edit in edits):
                yield by_id[outcome.prompt.id], outcome
            return
        for number, edit in edits:
            if guard.may_run(number):
                for outcome in self._engine.run([self._prompt(edit)]):
                    yield edit, outcome
            else:
                self._refused.add(edit["edit_id"])

    def _prompt(self, edit: Row) -> Prompt:
        from generators.pairs import Prompt

        seed = seed_for(self._settings["seed"], edit["edit_id"], 0, "pairs")
        return Prompt(
            edit["edit_id"], edit["original_prompt"], edit["edited_prompt"], edit["edit_kind"], seed
        )

    def _keeps(self, judged: Judged) -> bool:
        if judged.verdict == "accepted":
            return True
        if judged.verdict == "failed" or self._floor is None:
            return False
        found = Similarities(**judged.scores)  # type: ignore[arg-type]
        return not self._floor.first_below(found)

    # --- rows -----------------------------------------------------------------------------------------------

    def _rows(self, unit: Unit, edit: Row, outcome: Outcome) -> Iterator[Row]:
        if outcome.reason:
            yield self._unmade(unit, edit, outcome.reason, outcome.message)
        for made in outcome.draws:
            yield self._row(unit, edit, outcome.prompt, made)

    def _about(self, unit: Unit, edit: Row) -> Row:
        scene = hashlib.blake2b(edit["original_prompt"].encode(), digest_size=8).hexdigest()
        details = json.loads((edit["provenance"] or {}).get("details") or "{}")
        return {
            **{name: edit[name] for name in (*TEXTS, "edit_id", "edit_kind", "language", "instructions")},
            "scene_id": f"caption-{scene}",
            "unit_id": unit.id,
            "run_id": self._run.id,
            "source": SOURCE,
            "license": edit["license"],
            "provenance": {
                "kind": "p2p",
                "config": self._run.id,
                "details": json.dumps(
                    {
                        "model": self._settings["model_identity"],
                        "clip": self._settings["clip"]["identity"],
                        "edit": details,
                    },
                    ensure_ascii=False,
                ),
            },
        }

    def _row(self, unit: Unit, edit: Row, prompt: Prompt, made: Made) -> Row:
        draw, judged = made.draw, made.judged
        name = f"{unit.id}-{edit['edit_id'].rpartition('-')[2]}-{draw.number:03d}"
        how = {
            key: value
            for key, value in asdict(self._pairs).items()
            if key not in ("guidance", "share", "cross")
        }
        how |= {"guidance": draw.guidance, "share": draw.share, "cross": draw.cross, "draw": draw.number}
        row = self._about(unit, edit) | {
            "pair_id": name,
            "seed": draw.seed,
            "sampler": {
                "name": self._pairs.sampler,
                "settings": json.dumps(how | {"precision": self._precision}),
            },
            "scores": dict(judged.scores),
            "verdict": None,
            "reason": None,
        }
        if judged.verdict == "failed" or judged.reason == "preview":
            row |= {"verdict": judged.verdict, "reason": judged.reason}
        if made.pictures is not None:
            before, after = made.pictures
            pictures = [
                encode(pixels, "jpeg", f"{name}-{when}")
                for pixels, when in ((before, "before"), (after, "after"))
            ]
            stored = [decode(picture) for picture in pictures]  # JPEG: not quite what was encoded
            row |= {
                "original_image": pictures[0],
                "edited_image": pictures[1],
                "width": before.shape[1],
                "height": before.shape[0],
                "image_bytes": sum(len(picture["bytes"]) for picture in pictures),
                "hashes": {
                    "pixel_before": pixel_sha256(stored[0]),
                    "pixel_after": pixel_sha256(stored[1]),
                    "perceptual_before": perceptual_hash(stored[0]),
                    "perceptual_after": perceptual_hash(stored[1]),
                },
            }
        return row

    def _unmade(self, unit: Unit, edit: Row, reason: str, message: str) -> Row:
        row = self._about(unit, edit) | {
            "pair_id": f"{unit.id}-{edit['edit_id'].rpartition('-')[2]}-000",
            "verdict": "failed",
            "reason": reason,
        }
        details = json.loads(row["provenance"]["details"]) | {"message": message}
        return row | {"provenance": row["provenance"] | {"details": json.dumps(details, ensure_ascii=False)}}


def _outcome_of(row: Row) -> str:
    if row["verdict"] is not None:
        return f"{row['verdict']}:{row['reason']}"
    return "made" if row.get("image_bytes") else "below_floor"
