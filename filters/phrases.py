"""A caption in pieces: words with their written forms, and the phrases that they make.

Nothing is parsed. A phrase is a run of words that carry meaning, between words that join; its last word is its head:
"a red wooden mug on the table" has [red wooden mug] and [on the: table]. A verb in -ing or -ed is told by its
neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from filters.wording import ARTICLES, FUNCTION, lemma

_TOKEN = re.compile(r"\b[ap]\.m\.|[^\W_]+(?:['’-][^\W_]+)*|[,;:.|()!?–—]|(?<= )-(?= )")
_WHERE = frozenset({"indoors", "outdoors", "backstage", "upstairs", "downstairs", "today"})
_NOUN = re.compile(r"(?:even|morn|wedd|build|paint|draw|ceil|spr|str|r|k|w|rail)ing")


@dataclass(frozen=True, slots=True)
class Token:
    """One word or mark. word: dictionary form, "," for any mark. text: as it was written."""

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """lead: the words that join it to what is before it ("next to the"), none at the start. words: dictionary forms.
    start, end: its words among the tokens, half-open. verb: whether it is a verb in -ing or -ed, which has a phrase
    of its own. A word that says where ("indoors") is led by "in"."""

    lead: tuple[str, ...]
    words: tuple[str, ...]
    start: int
    end: int
    verb: bool = False

    @property
    def head(self) -> str:
        return self.words[-1]


def tokens(text: str) -> list[Token]:
    """Words and marks in order, those at the very end left out."""
    found = [Token(lemma(one) if one[0].isalnum() else ",", one) for one in _TOKEN.findall(text)]
    while found and found[-1].word == ",":
        found.pop()
    return found


def phrases(found: Sequence[Token]) -> list[Phrase]:
    made: list[Phrase] = []
    lead: list[str] = []
    start = 0

    def close(end: int, verb: bool = False) -> None:
        if end > start:
            made.append(Phrase(tuple(lead), tuple(one.word for one in found[start:end]), start, end, verb))
            lead.clear()

    for at, token in enumerate(found):
        if token.word in FUNCTION or token.word == ",":
            close(at)
            lead.append(token.word)
            start = at + 1
        elif token.word in _WHERE or _is_verb(found, at):
            close(at)
            start = at
            lead.extend(["in"] if token.word in _WHERE else [])
            close(at + 1, verb=token.word not in _WHERE)
            start = at + 1
    close(len(found))
    return made


def _is_verb(found: Sequence[Token], at: int) -> bool:
    """ "Playing" in "a puppy playing with a ball", and "tied" in "a boat tied to a jetty"; not "a sleeping cat"."""
    text, word = found[at].text.casefold(), found[at].word
    before = found[at - 1].word if at else ","
    after = found[at + 1].word if at + 1 < len(found) else ","
    if len(text) < 4 or (_NOUN.fullmatch(text) and after not in ARTICLES):
        return False
    if text.endswith("ing"):
        if before == ",":
            return after in FUNCTION  # "Looking up a stairwell"
        return before not in FUNCTION or before in ("and", "be", "not", "while")
    if text.endswith("ed") and word != text:
        return before not in FUNCTION and before != "," and (after in FUNCTION or after == ",")
    return False
