"""Which tokens of one caption are which of another: what cross-attention control maps.

Two captions of an edit share most of their words. `align` finds what they share, as a matrix over tokens: the mapping
that Prompt-to-Prompt calls replacement or refinement (Hertz et al. 2022, section 3.2). The longest common runs of words
are aligned; a word may be several tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["refine", "replace"]
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]")
Floats = NDArray[np.float32]


class CaptionError(ValueError):
    """A caption, or two of them, that cannot be used. reason: a short stable word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """mapped: (T, T) float32, tokens of the caption before by tokens of the one after; each column sums to 1 where the
    token is taken over, else 0. own: (T,) float32, 1 where the token keeps its own attention, else 0. changed: (2, T)
    float32, 1 for tokens of words that only this caption has."""

    mapped: Floats
    own: Floats
    changed: Floats


@dataclass(frozen=True, slots=True)
class Tokens:
    """A caption's tokens. ids: `length` of them, padded. words: lower-cased. spans: of each word, first token and one
    past the last."""

    ids: tuple[int, ...]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def tokenized(tokenizer: Any, caption: str) -> Tokens:
    """tokenizer: of CLIP, with offsets. Raises CaptionError("empty_caption" or "too_long")."""
    if not caption.strip():
        raise CaptionError("empty_caption", "the caption is empty")
    length = tokenizer.model_max_length
    found = tokenizer(caption, padding="max_length", max_length=length, return_offsets_mapping=True)
    ids, offsets = found["input_ids"], found["offset_mapping"]
    if len(ids) > length:
        raise CaptionError(
            "too_long", f"the caption is {len(ids)} tokens, and the text model reads {length}: shorten it"
        )
    words, spans = [], []
    for match in _WORD.finditer(caption):
        inside = [
            place for place, (start, end) in enumerate(offsets) if start < match.end() and end > match.start()
        ]
        if inside:
            words.append(match.group().lower())
            spans.append((inside[0], inside[-1] + 1))
    return Tokens(tuple(ids), tuple(words), tuple(spans))


def align(before: Tokens, after: Tokens, mode: Mode = "refine") -> Alignment:
    """refine: words of both captions are taken over, the others keep their own attention. replace: words that stand in
    for others take over those's attention too, spread evenly over tokens.

    Raises CaptionError("nothing_shared") for captions without a common word: there is nothing to keep.
    """
    length = len(before.ids)
    mapped = np.zeros((length, length), np.float32)
    changed = np.zeros((2, length), np.float32)
    # Start, end and padding are the same in both, and say much of the picture as a whole.
    ends = [tokens.spans[-1][1] if tokens.spans else 1 for tokens in (before, after)]
    mapped[0, 0] = 1
    mapped[ends[0], ends[1]] = 1
    for place in range(ends[1] + 1, length):  # padding by its position, which is all that tells it apart
        mapped[max(place, ends[0]), place] = 1
    shared = False
    matcher = SequenceMatcher(None, before.words, after.words, autojunk=False)
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        if tag == "equal":
            for a, b in zip(range(a0, a1), range(b0, b1), strict=True):
                shared = shared or before.words[a].isalnum()
                _spread(mapped, before.spans[a], after.spans[b])
            continue
        for side, spans in enumerate((before.spans[a0:a1], after.spans[b0:b1])):
            for start, end in spans:
                changed[side, start:end] = 1
        if mode == "replace" and tag == "replace":
            _spread(mapped, _over(before.spans[a0:a1]), _over(after.spans[b0:b1]))
    if not shared:
        raise CaptionError(
            "nothing_shared", "the captions have no word in common: this is no edit of a picture"
        )
    own = (mapped.sum(axis=0) == 0).astype(np.float32)
    return Alignment(mapped, own, changed)


def reweighted(found: Alignment, after: Tokens, words: Sequence[str], weight: float) -> Alignment:
    """The alignment with the attention to `words` of the caption after multiplied by `weight`.

    Raises CaptionError("unknown_word") for a word that it does not have.
    """
    scale = np.ones(len(found.own), np.float32)
    for word in words:
        places = [span for name, span in zip(after.words, after.spans, strict=True) if name == word.lower()]
        if not places:
            raise CaptionError("unknown_word", f"the caption after has no word {word!r}")
        for start, end in places:
            scale[start:end] = weight
    return Alignment(found.mapped * scale, found.own * scale, found.changed)


def _over(spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return spans[0][0], spans[-1][1]


def _spread(mapped: Floats, before: tuple[int, int], after: tuple[int, int]) -> None:
    """One token for one where there are as many; else each takes the mean of the others."""
    (a0, a1), (b0, b1) = before, after
    if a1 - a0 == b1 - b0:
        for step in range(a1 - a0):
            mapped[a0 + step, b0 + step] = 1
    else:
        mapped[a0:a1, b0:b1] = 1 / (a1 - a0)
