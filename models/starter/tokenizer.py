"""The starter models' tokenizer: byte-level BPE in CLIP's format, over English and Vietnamese.

CLIP's own 49,408 tokens would be most of a small model's weights, and cut Vietnamese into single bytes. Any text
can be written with this one, for every byte is a token; what the starter world speaks of takes few.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from models.starter.world import COLORS, FLOORS, KINDS, MATERIALS, SEED, sample
from renderers.shapes import ProceduralShapes
from spatial.captioning import Facts, facts_of, say_caption
from spatial.instruction import LANGUAGES, Expression
from spatial.language import say
from spatial.propose import SCENE_KINDS, propose
from spatial.relations import AXES
from spatial.scene import SpatialError
from spatial.vocabulary import COLORS as ALL_COLORS
from spatial.vocabulary import ENVIRONMENTS, NOUNS
from spatial.vocabulary import FLOORS as ALL_FLOORS
from spatial.vocabulary import MATERIALS as ALL_MATERIALS

VOCABULARY = 4_000  # at most
LENGTH = 48  # tokens of a text, with start and end; what few captions of four objects have more is cut off
START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
# CLIP's own division of text into words.
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def texts(scenes: int = 3_000) -> Iterator[str]:
    """What the tokenizer is made for: captions and instructions in both languages, over all words known."""
    rng = np.random.default_rng(SEED)
    shapes = ProceduralShapes()
    for number in range(scenes):
        kind = SCENE_KINDS[number % len(SCENE_KINDS)]
        try:
            scene = sample("reader_train", shapes, rng)
            said = propose(kind, scene, shapes, rng)
        except SpatialError:  # a scene that did not come together, or that this kind of edit cannot have
            continue
        facts = facts_of(scene, shapes)
        for language in LANGUAGES:
            for _ in range(2):
                yield say_caption(facts, language, rng)
                yield say_caption(any_facts(rng), language, rng)
                yield say(said, language, rng)


def any_facts(rng: np.random.Generator, *, starter: bool = False) -> Facts:
    """Facts of no scene at all: one to four things, in a row. starter: only what the starter world has."""
    nouns, colors, materials, floors = (
        (KINDS, COLORS, MATERIALS, FLOORS) if starter else (NOUNS, ALL_COLORS, ALL_MATERIALS, ALL_FLOORS)
    )

    def one(of: tuple[str, ...]) -> str:
        return of[int(rng.integers(len(of)))]

    things = tuple(
        Expression(one(nouns), color=one(colors), material=one(materials))
        for _ in range(int(rng.integers(1, 5)))
    )
    pairs = [(i, j) for i in range(len(things)) for j in range(len(things)) if i != j]
    depth = [one(tuple(AXES)[2:]) for _ in things]
    relations = {(i, j): ("left_of" if i < j else "right_of", depth[i]) for i, j in pairs}
    regions = tuple(one(("left", "right", "upper-left", "lower-right", "centre")) for _ in things)
    return Facts(things, regions, relations, one(floors), one(ENVIRONMENTS))


def train(corpus: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges, in CLIP's order: bytes, bytes that end a word, merges, start and end."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(alphabet) - 2,  # the bytes that end a word come on top
        min_frequency=2,
        initial_alphabet=alphabet,
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    merges = [(first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"]]
    names = [*alphabet, *(letter + _WORD_END for letter in alphabet)]
    names += [name for name in dict.fromkeys(a + b for a, b in merges) if name not in set(names)]
    names += [START, END]
    return {name: index for index, name in enumerate(names)}, merges


def save(folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """As `transformers.CLIPTokenizer.from_pretrained(folder)` and open_clip's "local-dir:" read it."""
    from transformers import CLIPTokenizer

    # Its annotation of merges forgets the pairs that it takes.
    tokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=cast(Any, merges), model_max_length=LENGTH, pad_token=END
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)


def composed(text: str) -> str:
    """Unicode's composed form: the one in which the tokenizer, like the parser, knows Vietnamese letters."""
    return unicodedata.normalize("NFC", text)
