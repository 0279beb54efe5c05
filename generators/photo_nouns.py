"""What the categories of photos are called, in both languages, and how things of each may be moved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from generators.photo_sources import Kind
from spatial.lexicon import Lexicon

Place = Literal["ground", "surface", "wall", "air", "body", "fixed", "person"]
Moves = Literal["sideways", "anywhere", "never"]
_MOVES: dict[Place, Moves] = {
    "ground": "sideways",
    "surface": "sideways",
    "wall": "anywhere",
    "air": "anywhere",
    "body": "never",
    "fixed": "never",
    "person": "never",
}


@dataclass(frozen=True, slots=True)
class PhotoNoun:
    """key: of `photo_lexicon`. place: what it stands on, hangs on, or is part of (photo_nouns.yaml says which).
    fronted: has a front of its own. flat: lies flat."""

    key: str
    place: Place
    fronted: bool = False
    flat: bool = False

    @property
    def moves(self) -> Moves:
        """Where things of it may be put without the photo becoming false."""
        return _MOVES[self.place]

    @property
    def excluded(self) -> str | None:
        """Why it is neither moved nor removed: `person`, `body`, `fixed`; None where it may be."""
        return self.place if self.moves == "never" else None


@cache
def photo_lexicon() -> Lexicon:
    """The lexicon with a noun for every category of COCO, and those of Open Images that mean the same."""
    lexicon = Lexicon.default()
    for key, entry in _entries().items():
        if "en" in entry:
            one, many = (part.strip() for part in entry["en"].split(";"))
            classifier, noun = (part.strip() for part in entry["vi"].split(";"))
            lexicon = lexicon.with_noun(key, en=one, en_plural=many, vi=noun, vi_classifier=classifier)
    return lexicon


def photo_nouns() -> dict[str, PhotoNoun]:
    """All of them by key."""
    return dict(_nouns())


def photo_noun(name: str, source: Kind) -> PhotoNoun | None:
    """What a category of a source is called; None for one without a word. Case does not matter.

    In sets of one's own, and in others that are laid out as COCO's, a key will do, an English word of it ("teaspoon"),
    or the name that another collection has. Open Images' names are its own alone: its mouse is an animal.
    """
    wanted = " ".join(name.casefold().replace("_", " ").split())
    tables = ("open_images",) if source == "open_images" else ("coco", "words", "open_images")
    key = next((found for table in tables if (found := _index(table).get(wanted))), None)
    return _nouns()[key] if key else None


@cache
def _entries() -> dict[str, dict[str, Any]]:
    import yaml

    text = resources.files("generators").joinpath("photo_nouns.yaml").read_bytes()
    nouns: dict[str, dict[str, Any]] = yaml.load(text, yaml.CSafeLoader)["nouns"]
    return nouns


@cache
def _nouns() -> dict[str, PhotoNoun]:
    found = {}
    for key, entry in _entries().items():
        if entry["place"] not in get_args(Place):
            raise ValueError(f"photo_nouns.yaml: {key}: place {entry['place']!r}")
        found[key] = PhotoNoun(
            key, entry["place"], bool(entry.get("fronted", False)), bool(entry.get("flat", False))
        )
    return found


@cache
def _index(table: str) -> dict[str, str]:
    """Names to keys."""
    lexicon = photo_lexicon()
    found: dict[str, str] = {}
    for key, entry in _entries().items():
        if table == "words":
            names = [key.replace("_", " "), *lexicon.noun(key, "en").one]
        else:
            listed = entry.get(table, [])
            names = listed if isinstance(listed, list) else [listed]
        for name in names:
            if found.setdefault(name.casefold(), key) != key:
                raise ValueError(f"photo_nouns.yaml: {name!r} is both {found[name.casefold()]} and {key}")
    return found
