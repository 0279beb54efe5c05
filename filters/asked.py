"""Whether every word that came or went was asked for.

A word may come where the instruction names or entails it. A word may go where the instruction names it, where its form
changed, where another of its kind comes (a colour for a colour, a season for a season), with the thing that it
describes, with the verb that another verb makes way for, or where something that was asked for stands in its place.
Where something is only added nothing may go.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile

from filters.phrases import Phrase, phrases, tokens
from filters.wording import (
    ALL,
    FORMS,
    FUNCTION,
    JOINTS,
    KINDS,
    LOOKS,
    ORDERS,
    content,
    lemma,
    supported,
    words,
)

_TAKES = re.compile(
    r"\b(?:remove|delete|erase|clean|take|get rid|rid|cut|crop|no|not|without|lose|drop|leave|just|only|empty|hide|"
    r"clear|gone|away|out|off|replace|swap|exchange|substitute|trade|switch|turn|transform|change|convert|become|"
    r"skip|hold|un[a-z]+|instead|rather|than|vanish|disappear|go|place of|where)\b"
)
_INSTEAD = re.compile(r"\b(?:instead|rather|not|but|in place|replace|swap)\b")
_TURNS = re.compile(
    r"\b(?:replace|swap|exchange|substitute|trade|turn|transform|change|convert|become|into|instead|place of)\b"
)
_ADDS = re.compile(
    r"\b(?:add|insert|include)\b|\bneed (?:an?|some|\d+)\b|\b(?:be|is|are) needed\b|\bappear\b|"
    r"\bin the (?:scene|image|picture)$"
)
# An indefinite thing is no new one where it says what another is to be like.
_LIKENS = re.compile(
    r"\b(?:make|turn|as|paint|look|be|become|wear|dress|into|style|version|background|imagine|draw|use|prefer)\b"
)
_IT = re.compile(
    r"\b(?:make|turn|be|paint|have|let|change|want|show) (?:it|this|that|these|those|they|them)\b|"
    r"\b(?:it|this|that|these|they) (?:be|should|could|can|become)\b"
)
_EACH = re.compile(
    r"\b(?:both|all|each|every|everything|everywhere|they|them|their|many|several|row|field|crowd|plenty|full|\d+)\b"
)
# Of an instruction that counts: what number comes of it is not said.
COUNTS = re.compile(
    r"\b(?:double|twice|triple|halve|half|more|fewer|less|another|twin|third|fourth|fifth|sixth|pair|number|only|but|"
    r"total|away|join|1|eat)\b"
)
_AT = JOINTS | {"through", "up", "down", "during", "out"}
_BELONGS = frozenset({"of", "with", "in", "on", "at", "under", "inside", "by", "near", "from"})
_INDEFINITE = frozenset({"a", "an", "some", "another", *map(str, range(1, 13))})
_OWN = frozenset({"a", "an", "the", "her", "his", "its", "their"})
_MEASURES = frozenset(
    {"sized", "size", "like", "high", "tall", "long", "shaped", "covered", "free", "made", "lit"}
)
_NUMBERS = frozenset({"pair", "dozen", "twenty", "thirty"})
_WHEN = KINDS["time"] | KINDS["season"] | KINDS["weather"] | {"moon", "hour"}
# Words of phrases that say how a thing is, and not where: "in yellow", "in close-up".
_NOWHERE = (
    KINDS["color"] | KINDS["medium"] | KINDS["view"] | {"perspective", "style", "mood", "version", "light"}
)
# Where all of it is, and when.
_ROUND = _WHEN | KINDS["place"] | {"floor", "ground", "grass", "lawn", "carpet", "tile", "board"}


def takes(edit: str) -> bool:
    """Whether it takes something away, or puts another in its place."""
    return "n't" in edit or bool(_TAKES.search(" ".join(words(edit))))


def unasked_added(before: str, edit: str, after: str) -> list[str]:
    """Words that came and were not asked for, or came more often than they were. What "the" says again is no news:
    "a red ball to the left of the green cone"."""
    was, now, said = words(before), without_references(before, after), words(edit)
    named, text = set(said), " ".join(said)
    found = []
    for word, times in (Counter(content(now)) - Counter(content(was))).items():
        if word.isdigit() or word in _NUMBERS:
            asked = supported(word, named) or bool(COUNTS.search(text))
        elif not _all_supported(word, named):
            asked = word in FORMS
        else:
            often = times > max(1, said.count(word)) and (word in was or word in LOOKS)
            asked = not often or bool(_EACH.search(text))
        if not asked:
            found.append(word)
    return found


def _all_supported(word: str, named: set[str]) -> bool:
    """Of "half-crown" both parts."""
    return supported(word, named) and all(
        supported(lemma(part), named) or part in FUNCTION or part in _MEASURES
        for part in word.split("-")
        if word not in named and len(part) > 2
    )


def without_references(before: str, after: str) -> list[str]:
    """The words of the caption after, but for things of the one before that "the" speaks of again."""
    known, marked = set(words(before)), tokens(after)
    dropped: set[int] = set()
    found = phrases(marked)
    for place, phrase in enumerate(found):
        if phrase.lead[-1:] == ("the",) and known.issuperset(phrase.words):
            earlier = [one for one in found[:place] if phrase.head in one.words]
            if earlier and earlier[-1].lead != phrase.lead:
                dropped.update(range(phrase.start, phrase.end))
    return [token.word for at, token in enumerate(marked) if at not in dropped]


@dataclass(frozen=True, slots=True)
class _Block:
    """What went and what came in its place, of the words before and after."""

    gone: range
    come: range


def unasked_removed(before: str, edit: str, after: str) -> list[str]:
    """Words that went without leave."""
    return _Losses(before, edit, after).unasked()


class _Losses:
    """Works out, place by place, which words of the caption before may go."""

    def __init__(self, before: str, edit: str, after: str) -> None:
        was, now = tokens(before), tokens(after)
        self._old, self._new = [token.word for token in was], [token.word for token in now]
        self._phrases, self._later = phrases(was), phrases(now)
        self._said = words(edit)
        self._text = " ".join(self._said)
        self._named = {word for word in content(self._said) if word not in ORDERS or word.isdigit()}
        self._gone = Counter(content(self._old)) - Counter(self._new)
        self._come = Counter(content(self._new)) - Counter(self._old)
        matcher = SequenceMatcher(None, self._old, self._new, autojunk=False)
        self._block = {
            at: _Block(range(a0, a1), range(b0, b1))
            for tag, a0, a1, b0, b1 in matcher.get_opcodes()
            if tag != "equal"
            for at in range(a0, a1)
        }
        self._takes = takes(edit)
        self._adds = self._only_adds()
        self._actions = {
            one.head for one in self._later if one.verb and now[one.start].text.casefold().endswith("ing")
        }
        self._free: set[int] = set()  # places whose words may go

    def unasked(self) -> list[str]:
        lost = {
            word: [at for at in self._block if self._old[at] == word]
            for word in self._gone
            if not any(_same(word, new) for new in self._come)
        }
        for _ in range(3):  # leave spreads: from a head to what describes it, from a verb to its object
            for word, places in lost.items():
                self._free.update(at for at in places if at not in self._free and self._may_go(at, word))
        return [word for word, places in lost.items() if len(self._free & set(places)) < self._gone[word]]

    def _only_adds(self) -> bool:
        """Whether the instruction brings a new thing, and speaks of nothing that makes way for it."""
        if re.search(r"\b(?:instead|in place|replace|swap)\b", self._text):
            return False
        if _ADDS.search(self._text):
            return True
        if self._takes or _LIKENS.search(self._text):
            return False
        for at, word in enumerate(self._said):
            before = self._said[at - 1] if at else ""
            if word in _INDEFINITE and before not in _AT | {"as", "to"} and before not in self._old:
                thing = _run(self._said[at + 1 :])
                if thing and thing[-1] in self._come and thing[-1] not in ORDERS:
                    return True
        return False

    def _may_go(self, at: int, word: str) -> bool:
        index = next(index for index, phrase in enumerate(self._phrases) if at < phrase.end)
        phrase = self._phrases[index]
        if self._of_a_kind(word, phrase):
            return True
        if self._adds:
            return False
        if any(_same(word, one) for one in self._named):
            return self._named_may_go(at, word, phrase)
        if phrase.end - 1 in self._free or (phrase.verb and self._verb_may_go(index)):
            return True
        if self._takes and self._free.intersection(range(phrase.start, phrase.end)):
            return True  # it was named by what describes it
        return (index > 0 and self._goes_along(at, index)) or self._displaced(at, phrase)

    def _named_may_go(self, at: int, word: str, phrase: Phrase) -> bool:
        """A thing that is named goes where the instruction takes something, or where what was asked for comes in its
        place; of several of its name none goes otherwise."""
        if (
            at < phrase.end - 1
            or phrase.verb
            or self._takes
            or _LIKENS.search(self._text.replace(" be ", " "))
        ):
            return True
        if not {"be", "become", "way"} & set(self._said):
            return False
        stands = any(supported(self._new[place], self._named) for place in self._block[at].come)
        return stands and not 0 < self._new.count(word) < self._old.count(word)

    def _of_a_kind(self, word: str, phrase: Phrase) -> bool:
        parts = {word, *word.split("-")}
        kinds = [kind for kind in KINDS.values() if parts & kind and self._come.keys() & kind]
        if not kinds or not parts & LOOKS:
            return bool(kinds)
        # A look goes where one comes to its thing, or where the thing is named, or goes.
        if phrase.head not in self._new or ALL & set(self._said):
            return True
        if any(_same(one, said) for one in phrase.words for said in self._named):
            return True
        beside = {
            new for one in self._later if phrase.head in one.words for new in one.words
        } & self._come.keys()
        return any(kind & beside for kind in kinds)

    def _verb_may_go(self, index: int) -> bool:
        """Another action comes; or its thing or its object is taken away."""
        if self._actions - set(self._old):
            return True
        beside = self._phrases[max(0, index - 1) : index] + self._phrases[index + 1 : index + 2]
        return self._takes and any(one.end - 1 in self._free for one in beside)

    def _goes_along(self, at: int, index: int) -> bool:
        """The object of a verb that went, or what belonged to a thing that was taken away."""
        before, phrase = self._phrases[index - 1 : index + 1]
        if before.end - 1 not in self._free:
            return False
        if before.verb:
            return set(phrase.lead) <= _OWN
        if not self._takes or not phrase.lead or phrase.lead[0] not in _BELONGS:
            return False
        if phrase.lead[0] not in ("of", "with") and set(phrase.words) & _ROUND:
            return False
        return all(self._new[place] in FUNCTION for place in self._block[at].come)

    def _displaced(self, at: int, phrase: Phrase) -> bool:
        """Whether what was asked for stands where the phrase stood, and in the same role."""
        block = self._block[at]
        came = [self._new[place] for place in block.come]
        inside = [
            one
            for one in self._phrases
            if not one.verb and one.start < block.gone.stop and one.end > block.gone.start
        ]
        if len(inside) > 1 or not any(supported(word, self._named) for word in content(came)):
            return False
        if phrase.end - 1 not in block.gone:  # a part of it, which describes the rest
            looks = {self._old[place] for place in block.gone if place < phrase.end} & LOOKS
            return not looks or not (self._with(came) or _other_look(looks, came))
        if any(word in _WHEN for word in came) and not set(phrase.words) & (_WHEN | KINDS["place"]):
            return False  # no time and no weather takes the place of a thing
        if _TURNS.search(self._text) and any(supported(word, self._named) for word in self._gone):
            return False  # what makes way is named, and is another
        if _IT.search(self._text) and phrase is self._phrases[0]:
            return True
        stands = next(
            (one for one in self._later if one.start < block.come.stop and one.end > block.come.start), None
        )
        if stands is None or stands.verb:
            return False
        role, its = _role(phrase), _role(stands)
        if role & _AT and its & _AT and _NOWHERE.intersection(stands.words):
            return False
        if role & _AT and its & _AT:
            return True
        if role and role == its:
            return role != {"with"} or not self._speaks_of_another(phrase)
        object_of = set(phrase.lead) <= _OWN and any(
            one.verb
            and one.end <= phrase.start
            and not set(self._old[one.end : phrase.start]) & (_AT | {","})
            for one in self._phrases
        )
        return (object_of and not its) or bool(_INSTEAD.search(self._text))

    def _speaks_of_another(self, phrase: Phrase) -> bool:
        """Whether the instruction is about a thing of the caption that stays, and not about this one."""
        return any(
            one.head in self._named and one.head in self._new and one is not phrase and not one.verb
            for one in self._phrases
        )

    def _with(self, came: Sequence[str]) -> bool:
        """Whether what came is what something is done with: "light the island with a candle"."""
        if "with" not in self._said:
            return False
        tools = _run([word for word in self._said[self._said.index("with") + 1 :] if word not in _OWN])
        return any(word in tools for word in came)


def _other_look(looks: set[str], came: Sequence[str]) -> bool:
    """Whether a colour came and a material went, or the other way about."""
    color, material = KINDS["color"], KINDS["material"]
    return any(
        looks & kind and other.intersection(came) and not kind.intersection(came)
        for kind, other in ((color, material), (material, color))
    )


def _same(word: str, new: str) -> bool:
    """Forms of one word, or words of one family; who does something is not what is done."""
    return supported(word, {new}) and not any(
        one == f"{other}{end}" and word not in LOOKS
        for one, other in ((word, new), (new, word))
        for end in ("er", "r", "ist", "or")
    )


def _role(phrase: Phrase) -> set[str]:
    """The last of what joins it: of ", next to" the latter."""
    lead = list(phrase.lead)
    if "," in lead:
        lead = lead[len(lead) - 1 - lead[::-1].index(",") :]
    return set(lead) & (_AT | {"with", "of"}) or set(lead) & {","}


def _run(found: Sequence[str]) -> list[str]:
    """The words up to the first that joins or relates."""
    return list(takewhile(lambda word: word not in FUNCTION, found))
