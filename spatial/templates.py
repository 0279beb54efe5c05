"""The phrasings of phrases_en.yaml and phrases_vi.yaml: a small language of templates, said and read.

A template is words with

- `{slot}`: where a field of the instruction stands (see `slots`);
- `(a|b)`: one of these; `[a]`: or nothing;
- `<macro>`: one of the macro's forms; those after its bar are only understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any, Literal

from spatial.instruction import Expression
from spatial.lexicon import Forms, read_yaml
from spatial.scene import SpatialError
from spatial.slots import SLOTS
from spatial.tokens import Phrases, words

Fixed = tuple[tuple[str, Any], ...]

_PIECE = re.compile(r"\{(\w+)\}|<(\w+)>|([()\[\]|])|([^{}<>()\[\]|]+)")


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the options; the first `said` of them are spoken."""

    options: tuple[Sequence, ...]
    said: int


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Text | Slot | Choice, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """One phrasing. shape: which fields it words, by name.

    fixed: fields that it sets without a slot. fields: all that it words. spoken: not only understood.
    """

    text: str
    kind: str
    shape: str
    fixed: Fixed
    fields: frozenset[str]
    tree: Sequence
    spoken: bool
    held_out: bool

    @property
    def simple(self) -> bool:
        """Fit to stand inside a sequence of instructions: no question."""
        return "?" not in self.text


@dataclass(slots=True, eq=False)
class Node:
    """A state of the reader: what may come next, and what may end here.

    choices: beginning of a choice, which is a graph of its own -> the state after it. Templates that begin
    alike share their states, and each macro is one graph however many templates use it.
    ends: what has been read here -> whether all of it is spoken, not only understood. Ends of templates are
    (kind, fixed), those of choices None.
    """

    words: dict[str, Node] = field(default_factory=dict)
    slots: dict[str, Node] = field(default_factory=dict)
    choices: dict[Node, Node] = field(default_factory=dict)
    ends: dict[tuple[str, Fixed] | None, bool] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Grammar:
    """All templates of a language, and the graph that reads them.

    sequences: how two and three steps are joined, by number. connectives: words between steps, with
    whether they join steps for certain ("then") or only perhaps ("and"). fillers: words of politeness, read
    over anywhere; endings: words read over at the end of a sentence that is not understood with them.
    """

    language: str
    templates: Mapping[str, tuple[Template, ...]]
    sequences: Mapping[int, tuple[str, ...]]
    connectives: Phrases[bool]
    fillers: Phrases[bool]
    endings: frozenset[str]
    root: Node


@cache
def grammar(language: str) -> Grammar:
    """Raises SpatialError for a language without phrasings."""
    try:
        data = read_yaml(f"phrases_{language}.yaml")
    except FileNotFoundError:
        raise SpatialError("unknown_language", f"no phrasings in {language!r}") from None
    macros = {name: Forms.read(text) for name, text in data["macros"].items()}
    fillers = Phrases((filler, True) for filler in data["fillers"])
    templates: dict[str, tuple[Template, ...]] = {}
    builder = _Builder(fillers)
    for kind, entry in data["kinds"].items():
        templates[kind] = tuple(_templates(kind, entry, macros))
        for template in templates[kind]:
            builder.add(template)
    connectives = [(phrase, True) for phrase in data["connectives"]["certain"]]
    connectives += [(phrase, False) for phrase in data["connectives"]["possible"]]
    return Grammar(
        language,
        templates,
        {int(count): tuple(joined) for count, joined in data["sequences"].items()},
        Phrases(connectives),
        fillers,
        frozenset(data["endings"]),
        builder.root,
    )


def _templates(kind: str, shapes: Mapping[str, Any], macros: Mapping[str, Forms]) -> list[Template]:
    frames = shapes.get("frames", [])
    found = []
    for shape, entry in shapes.items():
        if shape == "frames":
            continue
        said = [frame.replace("@", entry["at"]) for frame in frames] if "at" in entry else []
        said += entry.get("say", [])
        fixed = tuple(
            (name, Expression(value) if name == "subject" else value)
            for name, value in sorted(entry.get("set", {}).items())
        )
        out = _held_out(said)
        for text in (*said, *entry.get("also", [])):
            tree = _read(text, macros)
            worded = frozenset(_slot_fields(tree, text)) | {name for name, _ in fixed}
            found.append(Template(text, kind, shape, fixed, worded, tree, text in said, text in out))
    return found


def _held_out(texts: list[str]) -> set[str]:
    """About a quarter, by hash; of two or more at least one is held out and at least one is not."""
    order = sorted(texts, key=_hash)
    out = {text for text in texts if _hash(text) < 2**62}
    if len(order) > 1:
        out = (out | {order[0]}) - {order[-1]}
    return out if len(order) > 1 else set()


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _read(text: str, macros: Mapping[str, Forms]) -> Sequence:
    """The tree of a template. Raises SpatialError naming the template where its brackets do not match."""
    pieces = list(_PIECE.finditer(text))
    if "".join(piece.group() for piece in pieces) != text:
        raise SpatialError("bad_template", f"cannot read the template {text!r}")
    tree, rest = _options(pieces, 0, macros, text)
    if rest != len(pieces) or len(tree) != 1:
        raise SpatialError("bad_template", f"brackets do not match in the template {text!r}")
    return tree[0]


def _options(
    pieces: list[re.Match[str]], i: int, macros: Mapping[str, Forms], text: str
) -> tuple[tuple[Sequence, ...], int]:
    options: list[Sequence] = []
    parts: list[Text | Slot | Choice] = []
    while i < len(pieces):
        slot, macro, mark, plain = pieces[i].groups()
        i += 1
        if slot:
            parts.append(Slot(slot))
        elif macro:
            if macro not in macros:
                raise SpatialError("bad_template", f"no macro <{macro}>, used in the template {text!r}")
            forms = macros[macro]
            parts.append(Choice(tuple(_read(form, macros) for form in forms), len(forms.said)))
        elif plain:
            if plain.strip():
                parts.append(Text(plain.strip()))
        elif mark in "([":
            inner, i = _options(pieces, i, macros, text)
            if i >= len(pieces) or pieces[i].group() != {"(": ")", "[": "]"}[mark]:
                raise SpatialError("bad_template", f"brackets do not match in the template {text!r}")
            i += 1
            options_here = inner if mark == "(" else (*inner, Sequence(()))
            parts.append(Choice(options_here, len(options_here)))
        elif mark == "|":
            options.append(Sequence(tuple(parts)))
            parts = []
        else:
            i -= 1
            break
    options.append(Sequence(tuple(parts)))
    return tuple(options), i


def _slot_fields(tree: Sequence, text: str) -> set[str]:
    found: set[str] = set()
    for part in tree.parts:
        if isinstance(part, Choice):
            options = [_slot_fields(option, text) for option in part.options]
            if any(option != options[0] for option in options):
                raise SpatialError("bad_template", f"choices in {text!r} word different fields")
            found |= options[0]
        elif not isinstance(part, Text):
            found.update(SLOTS[part.name].fields)
    return found


class _Builder:
    """Adds templates to the graph that reads them."""

    def __init__(self, fillers: Phrases[bool]) -> None:
        self.root = Node()
        self._fillers = fillers
        self._choices: dict[Choice, Node] = {}

    def add(self, template: Template) -> None:
        end = self._path(self.root, template.tree)
        key = (template.kind, template.fixed)
        end.ends[key] = end.ends.get(key, False) or template.spoken

    def _path(self, node: Node, tree: Sequence) -> Node:
        for part in tree.parts:
            if isinstance(part, Text):
                # What is read over in a sentence must not be asked for by a template.
                for token in self._fillers.removed_from(words(part.text)):
                    node = node.words.setdefault(token, Node())
            elif isinstance(part, Slot):
                node = node.slots.setdefault(part.name, Node())
            else:
                node = node.choices.setdefault(self._choice(part), Node())
        return node

    def _choice(self, choice: Choice) -> Node:
        if choice not in self._choices:
            root = self._choices[choice] = Node()
            for i, option in enumerate(choice.options):
                end = self._path(root, option)
                end.ends[None] = end.ends.get(None, False) or i < choice.said
        return self._choices[choice]


def phrasings(kind: str, language: str) -> tuple[str, ...]:
    """The templates that are spoken for a kind, "sequence" included."""
    rules = grammar(language)
    if kind == "sequence":
        return tuple(text for joined in rules.sequences.values() for text in joined)
    return tuple(template.text for template in rules.templates.get(kind, ()) if template.spoken)


@cache
def _held_out_texts() -> frozenset[str]:
    out: set[str] = set()
    for language in ("en", "vi"):
        rules = grammar(language)
        out.update(t.text for found in rules.templates.values() for t in found if t.held_out)
        for joined in rules.sequences.values():
            out |= _held_out(list(joined))
    return frozenset(out)


def is_held_out(template: str) -> bool:
    """Whether a template is kept out of training, for testing on wordings never seen."""
    return template in _held_out_texts()


Chosen = Literal["all", "train", "held_out"]


def is_chosen(held_out: bool, templates: Chosen) -> bool:
    """Whether a template that is held out, or not, is among the `templates` asked for."""
    return templates == "all" or (templates == "held_out") == held_out
