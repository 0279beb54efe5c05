"""What is said twice, said once: near duplicates by MinHash over word shingles.

"Red Mug on a table" and "A red mug, on a table" are one caption. Broder 1997, "On the resemblance and containment of
documents"; candidates by locality-sensitive hashing, then the estimate itself.
"""

from __future__ import annotations

import hashlib

from datasketch import MinHash, MinHashLSH

from filters.wording import WORD

SIMILAR = 0.8  # Jaccard similarity of shingles from which two texts are one
_PERMUTATIONS, _SHINGLE = 64, 3


def shingles(text: str) -> set[str]:
    """Runs of three words, letters and digits alone, case aside; of a shorter text the whole."""
    words = [word.casefold() for word in WORD.findall(text) if word.casefold() not in ("a", "an", "the")]
    if len(words) <= _SHINGLE:
        return {" ".join(words)}
    return {" ".join(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1)}


class NearDuplicates:
    """Remembers texts, and knows one that was seen before in nearly the same words.

    threshold: Jaccard similarity of `shingles`. About 2.5 kB and 0.13 ms a text of 14 words.
    """

    def __init__(self, threshold: float = SIMILAR) -> None:
        self._index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
        self._threshold = threshold
        self._exact: set[bytes] = set()
        self._hashes: dict[str, MinHash] = {}

    def is_new(self, text: str) -> bool:
        """Whether nothing like it was seen; if so it is remembered."""
        parts = shingles(text)
        exact = hashlib.blake2b("\n".join(sorted(parts)).encode(), digest_size=16).digest()
        if exact in self._exact:
            return False
        made = MinHash(num_perm=_PERMUTATIONS, seed=1)
        made.update_batch([part.encode() for part in parts])
        if any(self._hashes[key].jaccard(made) >= self._threshold for key in self._index.query(made)):
            return False
        key = exact.hex()
        self._exact.add(exact)
        self._index.insert(key, made, check_duplication=False)
        self._hashes[key] = made
        return True
