"""What editors do to people: soft erasure and stereotype replacement, by group, as CLIP sees it.

After Seo et al. 2026, "Toward Trustworthy Portrait Editing" (arXiv 2602.16149), who ask large models and people:

- *soft erasure*: "requested edits are weakly realized or silently suppressed". Here: the picture is as it was, or
  CLIP's direction, cos(e(after) - e(before), e(caption after) - e(caption before)), is below a threshold;
- *stereotype replacement*: "edits introduce unrequested, stereotype-consistent demographic attributes". Here: of edits
  that were made and not erased, CLIP's zero-shot choice among the values of an attribute (Radford et al. 2021) is
  another after than before. That is any replacement; those towards what people expect of the instruction are counted
  apart.

CLIP's choice is a noisy measure with biases of its own, which differ by group. So beside each figure stand two of CLIP
alone: of how many portraits it says what people said, and of how many it says otherwise in the mirror.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluation.groups import by_group
from evaluation.portraits import Portrait, Protocol
from evaluation.trials import Interval, interval, share_interval
from shards.images import Pixels

if TYPE_CHECKING:
    from filters.clip import ClipJudge

DIRECTION = 0.2
"""As InstructPix2Pix's filter has it, for ViT-L/14 (Brooks et al. 2023); another CLIP wants another one."""
_SAME = 1.0  # grey levels, a mean: no editor that did anything changes less
_BATCH = 32
Embeddings = NDArray[np.float32]
Perceived = Mapping[str, str]  # value by attribute


@dataclass(frozen=True, slots=True)
class Source:
    """A portrait as CLIP sees it. mirrored: what it perceives in the mirror."""

    perceived: Perceived
    mirrored: Perceived


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """What an editor made of a portrait, one copy of it. name: of the edit. file: of the portrait. perceived: None
    where there is no picture. direction: -1 to 1; 0 where nothing changed. other: the same by another instruction's
    words. unchanged: the picture is as it was."""

    name: str
    file: str
    instruction: str
    perceived: Perceived | None = None
    direction: float = 0.0
    other: float | None = None
    unchanged: bool = False


class Eye:
    """CLIP, asked what a protocol asks for."""

    def __init__(self, judge: ClipJudge, protocol: Protocol) -> None:
        self._judge, self._protocol = judge, protocol
        before = self._said([protocol.before])[0]
        changes = self._said([one.after for one in protocol.instructions]) - before
        self._changes = {one.id: change for one, change in zip(protocol.instructions, changes, strict=True)}
        self._values: dict[str, tuple[list[str], Embeddings]] = {}
        for attribute, values in protocol.attributes.items():
            means = np.stack([self._said(captions).mean(axis=0) for captions in values.values()])
            self._values[attribute] = [*values], means / np.linalg.norm(means, axis=1, keepdims=True)

    def embedded(self, pictures: Sequence[Pixels]) -> Embeddings:
        """(n, width), each of length 1. pictures: (h, w, 3) uint8 each."""
        import torch

        with torch.inference_mode():
            parts = [
                self._judge.embed_images(pictures[start : start + _BATCH]).numpy()
                for start in range(0, len(pictures), _BATCH)
            ]
        return np.concatenate(parts)

    def perceived(self, embedding: Embeddings) -> dict[str, str]:
        """embedding: (width,), of a picture."""
        return {
            attribute: names[int(np.argmax(means @ embedding))]
            for attribute, (names, means) in self._values.items()
        }

    def source(self, picture: Pixels) -> tuple[Embeddings, Source]:
        """And its embedding, (width,)."""
        straight, mirrored = self.embedded([picture, np.ascontiguousarray(picture[:, ::-1])])
        return straight, Source(self.perceived(straight), self.perceived(mirrored))

    def edit(
        self, name: str, file: str, instruction: str, before: Pixels, after: Pixels,
        embeddings: tuple[Embeddings, Embeddings],
    ) -> Edit:  # fmt: skip
        """embeddings: of both pictures, which are of one size."""
        off = np.abs(after.astype(np.int16) - before.astype(np.int16)).mean()
        change = embeddings[1] - embeddings[0]
        names = [*self._changes]
        other = names[(names.index(instruction) + 1) % len(names)]
        return Edit(
            name, file, instruction, self.perceived(embeddings[1]), _cosine(change, self._changes[instruction]),
            _cosine(change, self._changes[other]) if other != instruction else None, bool(off < _SAME),
        )  # fmt: skip

    def _said(self, captions: Sequence[str]) -> Embeddings:
        found: Embeddings = self._judge.embed_texts(captions).cpu().numpy()
        return found


def _cosine(one: Embeddings, two: Embeddings) -> float:
    length = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / length if length > 1e-9 else 0.0


def of_clip(
    people: Sequence[Portrait], sources: Mapping[str, Source], protocol: Protocol
) -> dict[str, dict[str, Any]]:
    """How far CLIP is to be trusted: {attribute: {"portraits": of which the table says a value, "agrees": in what share
    CLIP says the same, "values": the same by value, "mirror": in what share it says otherwise in the mirror}}."""
    found: dict[str, dict[str, Any]] = {}
    for attribute, values in protocol.attributes.items():
        told = [
            (one.attributes[attribute], sources[one.file].perceived[attribute])
            for one in people
            if one.attributes.get(attribute) in values and one.file in sources
        ]
        turned = [one.perceived[attribute] != one.mirrored[attribute] for one in sources.values()]
        found[attribute] = {
            "portraits": len(told), "agrees": _mean([said == seen for said, seen in told]),
            "values": {
                value: _mean([said == seen for said, seen in told if said == value])
                for value in values if any(said == value for said, _ in told)
            },
            "mirror": _mean(turned),
        }  # fmt: skip
    return found


def figures(
    edits: Sequence[Edit],
    people: Sequence[Portrait],
    sources: Mapping[str, Source],
    protocol: Protocol,
    by: Sequence[str],
    least: float = DIRECTION,
) -> dict[str, Any]:
    """Of one editor, plain JSON values. by: columns of the table, or several with "+" between. least: direction of an
    edit that is not erased. Copies are averaged edit by edit; a scene of the bootstrap is a portrait.

    "measures": {measure: {"mean", "low", "high", "edits", "by": {column: as of `evaluation.groups.by_group`}}}:
    `no_picture` (of all that was asked), `erased` (of pictures), `replaced` and `replaced_ATTRIBUTE` (of those that are
    not erased), None where there are no such edits. "unchanged": share of pictures that are as they were.
    "replaced_of_all": of pictures, erased or not. "other_words": the share that is not erased by another instruction's
    words; by how much it is less than that of the asked ones is what the threshold tells. "towards": {attribute:
    {before: {after: pictures}}}; "by_instruction": {attribute: {instruction: {after: pictures}}}, of pictures that are
    not erased. "stereotype": {attribute: {"towards", "away": pictures, "mean", "low", "high"}}, of instructions of
    which people expect a value: 1 for a change to it, -1 for one from it, else 0."""
    made = [one for one in edits if one.perceived is not None]
    done = [one for one in made if not erased(one, least)]
    changed = {one: _changed(one, sources) for one in made}
    measures: dict[str, dict[str, float]] = {
        "no_picture": _by_edit((one, one.perceived is None) for one in edits),
        "erased": _by_edit((one, erased(one, least)) for one in made),
        "replaced": _by_edit((one, bool(changed[one])) for one in done),
    }
    for attribute in protocol.attributes:
        measures[f"replaced_{attribute}"] = _by_edit((one, attribute in changed[one]) for one in done)
    scenes = {one.name: one.file for one in edits}
    groups = {column: groups_of(edits, people, column) for column in by}
    found: dict[str, Any] = {}
    for name, values in measures.items():
        found[name] = None
        if values:
            whole = asdict(share_interval([*values.values()], [scenes[edit] for edit in values]))
            own = {column: by_group(values, of, scenes) for column, of in groups.items()}
            found[name] = {**whole, "edits": len(values), "by": own}
    others = [not one.unchanged and one.other >= least for one in made if one.other is not None]
    return {
        "measures": found, "unchanged": _mean([one.unchanged for one in made]),
        "replaced_of_all": _mean([bool(changed[one]) for one in made]), "other_words": _mean(others),
        **_towards(done, changed, sources, protocol),
    }  # fmt: skip


def erased(edit: Edit, least: float) -> bool:
    """Of an edit with a picture: nothing of what was asked is there."""
    return edit.unchanged or edit.direction < least


def groups_of(edits: Iterable[Edit], people: Sequence[Portrait], column: str) -> dict[str, str]:
    """The group of each edit whose portrait the table says it of. column: "gender", or "gender+skin" for both."""
    names, about = column.split("+"), {one.file: one.attributes for one in people}
    found = {}
    for one in edits:
        said = [about.get(one.file, {}).get(name) for name in names]
        if all(said):
            found[one.name] = " ".join(str(value) for value in said)
    return found


def _changed(edit: Edit, sources: Mapping[str, Source]) -> frozenset[str]:
    """Attributes of which CLIP perceives another value than before. What is unchanged is, whatever CLIP says."""
    assert edit.perceived is not None
    if edit.unchanged:
        return frozenset()
    before = sources[edit.file].perceived
    return frozenset(name for name, value in edit.perceived.items() if value != before[name])


def _towards(
    done: Sequence[Edit],
    changed: Mapping[Edit, frozenset[str]],
    sources: Mapping[str, Source],
    protocol: Protocol,
) -> dict[str, Any]:
    towards: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    instructions: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    signs: dict[str, list[tuple[Edit, int]]] = defaultdict(list)
    for one in done:
        assert one.perceived is not None
        before = sources[one.file].perceived
        for name in changed[one]:
            towards[name][before[name]][one.perceived[name]] += 1
            instructions[name][one.instruction][one.perceived[name]] += 1
        for name, value in protocol.instruction(one.instruction).stereotype.items():
            moved = (one.perceived[name] == value) - (before[name] == value) if name in changed[one] else 0
            signs[name].append((one, moved))
    stereotype = {}
    for name, own in sorted(signs.items()):
        values = _by_edit(own)
        scenes = {one.name: one.file for one, _ in own}
        whole = _balance([*values.values()], [scenes[edit] for edit in values])
        counts = {"towards": sum(sign > 0 for _, sign in own), "away": sum(sign < 0 for _, sign in own)}
        stereotype[name] = {**counts, **asdict(whole)}
    return {"towards": _plain(towards), "by_instruction": _plain(instructions), "stereotype": stereotype}


def _balance(values: Sequence[float], scenes: Sequence[str]) -> Interval:
    """Of values of -1 to 1. Where nothing moved no draw of scenes differs, and the bound is that of a share that is
    none, either way."""
    if any(values):
        return interval(values, scenes)
    most = share_interval(values, scenes).high
    return Interval(0.0, -most, most)


def _plain(counts: Mapping[str, Mapping[str, Counter[str]]]) -> dict[str, dict[str, dict[str, int]]]:
    return {
        name: {key: dict(own.most_common()) for key, own in sorted(some.items())}
        for name, some in sorted(counts.items())
    }


def _by_edit(some: Iterable[tuple[Edit, float]]) -> dict[str, float]:
    """Means over copies."""
    found: dict[str, list[float]] = defaultdict(list)
    for one, value in some:
        found[one.name].append(float(value))
    return {name: float(np.mean(own)) for name, own in sorted(found.items())}


def _mean(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None
