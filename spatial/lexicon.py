"""The words for every key of the vocabulary, in English and Vietnamese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import resources
from typing import Any

from spatial.instruction import LANGUAGES
from spatial.scene import SpatialError
from spatial.tokens import Phrases

Table = Mapping[str, "Forms"]


def read_yaml(name: str) -> dict[str, Any]:
    """A YAML file of this package."""
    import yaml

    text = resources.files("spatial").joinpath(name).read_bytes()
    data: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)  # the C parser: a tenth of the time
    return data


@dataclass(frozen=True, slots=True)
class Forms:
    """Words of one meaning. said: spoken and understood; also: understood only."""

    said: tuple[str, ...]
    also: tuple[str, ...] = ()

    @staticmethod
    def read(text: str) -> Forms:
        """From "said, said | understood, understood"."""
        said, _, also = str(text).partition("|")
        return Forms(_split(said), _split(also))

    def __iter__(self) -> Iterator[str]:
        return iter(self.said + self.also)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Noun:
    """one, many: English singular and plural, or the Vietnamese noun twice.

    classifier: Vietnamese only; its first form is said before the noun, "" where the noun needs none.
    """

    one: Forms
    many: Forms
    classifier: Forms = Forms(("",))


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words by language, section and key. Frozen: `with_noun` returns another one."""

    tables: Mapping[str, Mapping[str, Table]]
    nouns: Mapping[str, Mapping[str, Noun]]
    idioms: Mapping[str, Mapping[str, Table]]
    classifiers: tuple[str, ...]
    _indexes: dict[tuple[str, str, bool], Phrases[str]] = field(default_factory=dict, repr=False)

    @staticmethod
    @cache
    def default() -> Lexicon:
        """The words of lexicon_en.yaml and lexicon_vi.yaml."""
        tables: dict[str, dict[str, Table]] = {}
        nouns: dict[str, dict[str, Noun]] = {}
        idioms: dict[str, dict[str, Table]] = {}
        classifiers: tuple[str, ...] = ()
        for language in LANGUAGES:
            data = read_yaml(f"lexicon_{language}.yaml")
            idioms[language] = {name: _table(forms) for name, forms in data.pop("idioms").items()}
            if "classifiers" in data:
                classifiers = _split(data.pop("classifiers"))
            nouns[language] = {
                key: _noun(language, *entry.split(";")) for key, entry in data.pop("nouns").items()
            }
            tables[language] = {section: _table(forms) for section, forms in data.items()}
        return Lexicon(tables, nouns, idioms, classifiers)

    def with_noun(self, key: str, *, en: str, en_plural: str, vi: str, vi_classifier: str = "cái") -> Lexicon:
        """This lexicon and one more noun, in the notation of the files ("said | understood").

        Raises SpatialError when the key is taken, or when one of its words already names another noun.
        """
        new = {"en": _noun("en", en, en_plural), "vi": _noun("vi", vi_classifier, vi)}
        if key in self.nouns["en"]:
            raise SpatialError("bad_noun", f"the noun {key!r} is already in the lexicon; choose another key")
        for language, noun in new.items():
            for word in noun.one:
                taken = self._noun_words[language].get(word)
                if taken:
                    raise SpatialError(
                        "bad_noun", f"the {language} word {word!r} for {key!r} already means {taken!r}"
                    )
        nouns = {language: {**self.nouns[language], key: new[language]} for language in LANGUAGES}
        return replace(self, nouns=nouns, _indexes={})

    def noun(self, key: str, language: str) -> Noun:
        found = self.nouns[language].get(key)
        if found is None:
            raise SpatialError(
                "unknown_word", f"no {language} noun for {key!r}; add it with Lexicon.with_noun"
            )
        return found

    def forms(self, section: str, key: str, language: str) -> Forms:
        found = self.tables[language][section].get(key)
        if found is None:
            raise SpatialError("unknown_word", f"no {language} word for {key!r} among the {section}")
        return found

    def phrases(self, section: str, language: str, *, loose: bool) -> Phrases[str]:
        """The words of a section for finding them in a sentence; `loose` takes those only understood too."""
        index = self._indexes.get((section, language, loose))
        if index is None:
            index = Phrases(
                (word, key)
                for key, forms in self.tables[language][section].items()
                for word in (forms if loose else forms.said)
            )
            self._indexes[section, language, loose] = index
        return index

    def idiom_phrases(self, name: str, language: str, *, loose: bool) -> Phrases[str]:
        """Amounts with a wording of their own ("half a metre"); the value is the number as text."""
        index = self._indexes.get((f"idioms:{name}", language, loose))
        if index is None:
            index = Phrases(
                (word, number)
                for number, forms in self.idioms[language].get(name, {}).items()
                for word in (forms if loose else forms.said)
            )
            self._indexes[f"idioms:{name}", language, loose] = index
        return index

    def noun_phrases(self, language: str, number: str, *, loose: bool) -> Phrases[str]:
        """Nouns as they stand in a sentence: number "one" or "many"; Vietnamese with its classifier."""
        index = self._indexes.get((f"nouns:{number}", language, loose))
        if index is None:
            index = Phrases(
                (word, key)
                for key, noun in self.nouns[language].items()
                for word in self._heads(noun, language, number, loose)
            )
            self._indexes[f"nouns:{number}", language, loose] = index
        return index

    def _heads(self, noun: Noun, language: str, number: str, loose: bool) -> list[str]:
        forms = noun.one if number == "one" else noun.many
        if language == "en":
            return list(forms if loose else forms.said)
        if not loose:
            return [f"{noun.classifier.said[0]} {word}".strip() for word in forms.said]
        bare = ["", *noun.classifier] + (list(self.classifiers) if noun.classifier.said[0] else [])
        return [f"{classifier} {word}".strip() for classifier in bare for word in forms]

    @cached_property
    def _noun_words(self) -> dict[str, dict[str, str]]:
        return {
            language: {word: key for key, noun in table.items() for word in noun.one}
            for language, table in self.nouns.items()
        }


def _table(forms: Mapping[Any, str]) -> Table:
    return {str(key): Forms.read(text) for key, text in forms.items()}


def _noun(language: str, first: str, second: str) -> Noun:
    if language == "en":
        return Noun(Forms.read(first), Forms.read(second))
    noun = Forms.read(second)
    return Noun(noun, noun, Forms.read(first) if first else Forms(("",)))
