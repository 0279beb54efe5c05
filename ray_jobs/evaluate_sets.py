"""The sets of an evaluation: chosen once, before any editor runs, and frozen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.rules import CHOOSING, identity, rules
from ray_jobs.config import ConfigError, one_line
from ray_jobs.config_evaluate import EditSet, EvaluateConfig

if TYPE_CHECKING:
    from evaluation.trials import Case
    from filters.reader import Reader
    from shards.run import Run
    from spatial.templates import Chosen

TOO_MANY = "too_many"  # of a kind, beyond what the set takes
LeftOut = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Frozen:
    """A set as it lies in the run. key: of its file. digest: `evaluation.trials.digest`. looked_at: edits of the
    dataset; edits: those that count. left_out: {why: {kind: edits}}, why as of `evaluation.trials`, or `TOO_MANY`.
    oracle: in what share of the edits that the reader can see it finds the true picture to succeed, before any is left
    out for that; None for sets that nobody can judge. sha256: of the file."""

    name: str
    key: str
    digest: str
    edits: int
    looked_at: int
    left_out: LeftOut
    oracle: float | None
    sha256: str

    def of(self, why: str) -> int:
        return sum(self.left_out.get(why, {}).values())

    def said(self) -> str:
        """In a line or two."""
        line = f"set {self.name}: {self.edits} of {self.looked_at} edits count, sha256 {self.digest[:16]}"
        if self.oracle is None:
            return line
        more = f", {self.of(TOO_MANY)} are more than the set takes" if self.of(TOO_MANY) else ""
        return (
            f"{line}; {self.of('unseen')} cannot be seen by the reader, {self.of('misread')} it does not find right in "
            f"the true picture (right: {self.oracle:.1%}), {self.of('idle')} it finds right in the untouched one{more}"
        )


def frozen(run: Run, name: str, asked: EditSet, config: EvaluateConfig) -> Frozen:
    """The set, chosen once: the same settings, data and reader find it again. Raises ConfigError, StorageError."""
    from evaluation.edit_sets import written
    from evaluation.trials import digest
    from filters.reader import Reader
    from shards.dataset import open_dataset
    from shards.fingerprint import fingerprint
    from shards.storage import NotFound

    made_of = fingerprint(
        {
            **asked.model_dump(mode="json", exclude={"dataset", "folder", "digest"}), "unit": config.unit,
            "source": open_dataset(asked.dataset).manifest.sha256 if asked.dataset else _listing(asked.folder or ""),
            "reader": identity(config.reader), "rules": rules(CHOOSING),
        }
    )  # fmt: skip
    note = f"sets/{name}-{made_of[:8]}.json"
    try:
        found = Frozen(**json.loads(run.storage.read(note)))
    except NotFound:
        chosen, left_out, oracle = _chosen(name, asked, Reader.load(config.reader))
        looked_at = len(chosen) + sum(sum(kinds.values()) for kinds in left_out.values())
        if not chosen:
            raise ConfigError(
                f"sets.{name}: none of the {looked_at} edits of split {asked.split!r} can be "
                + ("judged" if asked.judged else "asked for: there are none of these kinds")
            ) from None
        key, file = f"sets/{name}-{made_of[:8]}.parquet", written(chosen, config.unit)
        known = hashlib.sha256(file).hexdigest()
        found = Frozen(name, key, digest(chosen), len(chosen), looked_at, left_out, oracle, known)
        run.storage.write(found.key, file)
        run.storage.write(note, json.dumps(asdict(found), indent=1).encode())
    else:
        if hashlib.sha256(run.storage.read(found.key)).hexdigest() != found.sha256:
            raise ConfigError(
                f"sets.{name}: {run.storage.uri}/{found.key} is not as it was frozen: start anew with another --out"
            )
    if asked.digest is not None and not found.digest.startswith(asked.digest):
        raise ConfigError(
            f"sets.{name}.digest: the set is {found.digest[:16]}, not {asked.digest[:16]}: other data, words or reader "
            "than it was frozen with"
        )
    return found


def _chosen(name: str, asked: EditSet, reader: Reader) -> tuple[list[Case], LeftOut, float | None]:
    """The edits that count, how many of which kind do not, and why, and `Frozen.oracle`. Raises ConfigError."""
    from evaluation.benchmarks import BenchmarkError, edits
    from evaluation.trials import IDLE, MISREAD, cases, sifted
    from shards.dataset import open_dataset

    if asked.benchmark is not None:
        try:
            there = list(edits(asked.benchmark, asked.folder or "", asked.side))
        except BenchmarkError as error:
            raise ConfigError(f"sets.{name}: {one_line(error)}") from None
        return *_of_each(there, asked.most), None
    held: Chosen = "held_out" if asked.words == "withheld" else "all"
    there = list(cases(open_dataset(asked.dataset or ""), asked.split, held, broken=True))
    if asked.kinds:
        there = [case for case in there if case.kind in asked.kinds]
    if not asked.judged:
        return *_of_each(_reworded([_unjudged(case, asked.side) for case in there], asked), asked.most), None
    try:
        judged = list(sifted(there, reader))
    except ValueError as error:
        raise ConfigError(f"sets.{name}: {one_line(error)}") from None
    chosen = [case for case, why in judged if why is None]
    left_out: LeftOut = {}
    for case, why in judged:
        if why is not None:
            kinds = left_out.setdefault(why, {})
            kinds[case.kind] = kinds.get(case.kind, 0) + 1
    right = sum(why in (None, IDLE) and not case.broken for case, why in judged)
    misread = sum(left_out.get(MISREAD, {}).values())
    taken, over = _of_each(_reworded(chosen, asked), asked.most)
    return taken, left_out | over, right / max(1, right + misread)


def _reworded(chosen: list[Case], asked: EditSet) -> list[Case]:
    from evaluation.paraphrases import paraphrases
    from evaluation.trials import worded

    if asked.words == "free":
        return worded(chosen, [(one.pair_id, one.language, one.text) for one in paraphrases()])
    return [_canonical(case) for case in chosen] if asked.words == "canonical" else chosen


def _unjudged(case: Case, side: int | None) -> Case:
    """Without what it would be judged by."""
    from evaluation.benchmarks import smaller

    bare = replace(case, row={**case.row, "operations": None}, yaws={})
    return bare if side is None else smaller(bare, side)


def _of_each(chosen: list[Case], most: int | None) -> tuple[list[Case], LeftOut]:
    from evaluation.edit_sets import of_each

    taken = of_each(chosen, most)
    more = Counter(case.kind for case in chosen)
    more.subtract(case.kind for case in taken)
    over = {kind: count for kind, count in more.items() if count}
    return taken, {TOO_MANY: over} if over else {}


def _canonical(case: Case) -> Case:
    """What is understood is English then."""
    from evaluation.trials import Case
    from trainer.words import canonical_text

    text = canonical_text(case.text)
    row = case.row if text == case.text else {**case.row, "language": "en"}
    return Case(row, text, case.before, case.truth, case.yaws, case.broken)


def _listing(folder: str) -> str:
    """Of a benchmark's folder: names and sizes of all that is in it, and what YAML says, which people change."""
    total = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
            if path.suffix == ".yaml":
                total.update(path.read_bytes())
    return total.hexdigest()
