"""Gendered words that a list of pairs leaves out, learned from a language model's embeddings.

The direction from the masculine to the feminine word, averaged over known pairs, is that of gender (Bolukbasi et al.
2016, "Man is to Computer Programmer as Woman is to Homemaker?"); words that are close to each other and apart in that
direction are counterparts. `scripts.gender_words` prints those that are gender.learned in bias.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.4  # least cosine of two counterparts
ALONG = 0.345  # least cosine of what is between them with the direction of gender


def learned(
    words: Sequence[str], vectors: NDArray[np.float32], pairs: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Pairs of words, each the other's best counterpart, that share no word with `pairs`; the surest first.

    words: n words in lower case. vectors: (n, d), their embeddings. pairs: masculine and feminine, known.

    Raises ValueError where fewer than two of the pairs are among the words.
    """
    place = {word: index for index, word in enumerate(words)}
    known = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
    if len(known) < 2:
        raise ValueError("fewer than two known pairs are among the words: no direction to be learned")
    unit = vectors - vectors.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    direction = np.mean([unit[b] - unit[a] for a, b in known], axis=0)
    direction /= np.linalg.norm(direction)
    side = unit @ direction
    best = [_best(unit, side, index, 1.0) for index in range(len(words))]
    taken = {word for pair in pairs for word in pair}
    found = []
    for masculine, (feminine, score) in enumerate(best):
        if feminine < 0 or _best(unit, side, feminine, -1.0)[0] != masculine:
            continue
        if not {words[masculine], words[feminine]} & taken:
            found.append((score, words[masculine], words[feminine]))
    return [(a, b) for _, a, b in sorted(found, reverse=True)]


def _best(unit: NDArray[np.float32], side: NDArray[np.float32], index: int, sign: float) -> tuple[int, float]:
    """The counterpart of a word and how sure it is; -1 where there is none. sign: 1 towards the feminine."""
    alike = unit @ unit[index]
    along = sign * (side - side[index]) / np.sqrt(np.maximum(2 - 2 * alike, 1e-4))
    score = np.where((alike >= ALIKE) & (along >= ALONG), alike + along, -1.0)
    place = int(score.argmax())
    return (place, float(score[place])) if score[place] > 0 else (-1, -1.0)


def embeddings(folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Whole words in lower case, of letters alone, and their input embeddings. folder: a model with its tokenizer, in
    transformers' layout.

    Raises OSError where there is none.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: give that of a model, with its tokenizer")
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    words = {
        t[1:]: i for t, i in tokens.items() if t[0] in "\u0120\u2581" and t[1:].isascii() and t[1:].isalpha()
    }
    whole = {word: i for word, i in words.items() if word.islower() and len(word) > 2}
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    table = model.get_input_embeddings().weight.detach().float().numpy()
    return list(whole), table[list(whole.values())]
