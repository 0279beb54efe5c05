"""Captions as they are on the web, made fit to be edited; and what is said twice, said once.

`clean` either gives a sentence that a text encoder can read or says why there is none.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import ftfy

from filters.near_duplicates import NearDuplicates
from filters.wording import WORD
from generators.captions import Caption

MIN_WORDS, MAX_WORDS, MAX_CHARACTERS = 2, 40, 300

_TAG = re.compile(r"<[^<>]{0,200}>")
_URL = re.compile(r"(https?://|www\.)\S+|\S+@\S+\.\w+", re.I)
_FILE = re.compile(r"\b[\w%+-]+\.(jpe?g|png|gif|webp|tiff?|bmp|svg|pdf|psd|mp4)\b", re.I)
_CAMERA = re.compile(r"\b(IMG|DSC[NF]?|PXL|P\d{3}|SAM|GOPR|WP|Screenshot|Untitled)[_ -]?\d{2,}\w*", re.I)
_CODES = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[A-Z0-9]{8,}\b|#\d{5,}|\b\d{6,}\b")
# Written by shops and picture agencies about every picture they have.
_BOILERPLATE = re.compile(
    r"(royalty[- ]free|rights[- ]managed|stock (photo|photos|photography|image|images|illustration|vector|footage)s?|"
    r"free (download|shipping)|buy (now|online)|click (here|to \w+)|for sale|on sale|\d+% off|best price|"
    r"in stock|add to cart|shop now|read more|via (pinterest|etsy|flickr|instagram)|all rights reserved|"
    r"(photo|image|picture) (by|credit|courtesy)[^,|-]*|(c|©|\(c\)) ?(19|20)\d\d[^,|-]*|copyright[^,|-]*)",
    re.I,
)
# Somebody talks to the model, not about a picture.
_ORDER = re.compile(
    r"\b(ignore|disregard|forget)\b.{0,40}\b(above|previous|prior|earlier|instructions?|rules?|prompt)\b|"
    r"\b(system prompt|you are (now )?(an?|the) (ai|assistant|language model)|as an ai|"
    r"(respond|reply|answer|output) (only )?(with|in)\b|do anything now|jailbreak)|"
    r"</?(system|user|assistant|im_start|im_end)\b|<\|",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """text: fit to be used, None where there is none. reason: then why: "empty", "too_long", "too_short", "script",
    "not_text", "order"."""

    text: str | None
    reason: str | None = None


def clean(text: str | None) -> Cleaned:
    """One caption without markup, addresses, file names and boilerplate, NFC, on one line.

    Captions of more than MAX_WORDS words are cut at the last clause that fits, or turned down. Never raises.
    """
    if text is None or not text.strip():
        return Cleaned(None, "empty")
    if len(text) > 100 * MAX_CHARACTERS:  # no caption, and not worth mending
        return Cleaned(None, "too_long")
    if _ORDER.search(text):
        return Cleaned(None, "order")
    kept = html.unescape(html.unescape(_TAG.sub(" ", text)))
    kept = unicodedata.normalize("NFC", ftfy.fix_text(_TAG.sub(" ", kept), uncurl_quotes=True))
    # Controls, marks of direction and private characters; what is left of a broken encoding.
    kept = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp") else c for c in kept
    )
    kept = kept.replace("�", " ")
    if _ORDER.search(kept):  # hidden behind markup
        return Cleaned(None, "order")
    for pattern in (_URL, _FILE, _CAMERA, _BOILERPLATE, _CODES):
        kept = pattern.sub(" ", kept)
    kept = re.sub(r"[\s_]+", " ", kept)
    kept = re.sub(r"\s+([,.;:!?)])", r"\1", kept)
    kept = re.sub(r"([,;:|/–—-]\s*){2,}", r"\1", kept)
    kept = re.sub(r"\(\s*\)|\[\s*\]", "", kept).strip(" ,;:|/–—-\t")
    if not kept:
        return Cleaned(None, "not_text")
    return _judged(_cut(kept))


def _judged(kept: str) -> Cleaned:
    words = WORD.findall(kept)
    letters = [c for c in kept if c.isalpha()]
    if not letters or len(letters) < 0.5 * len(kept.replace(" ", "")):
        return Cleaned(None, "not_text")
    latin = sum("LATIN" in unicodedata.name(c, "") for c in letters)
    if latin < 0.9 * len(letters):
        return Cleaned(None, "script")
    if len(words) < MIN_WORDS:
        return Cleaned(None, "too_short")
    if len(words) > MAX_WORDS or len(kept) > MAX_CHARACTERS:
        return Cleaned(None, "too_long")
    if Counter(word.casefold() for word in words).most_common(1)[0][1] > max(4, 0.4 * len(words)):
        return Cleaned(None, "not_text")  # one word over and over
    return Cleaned(kept)


def _cut(text: str) -> str:
    """The first clauses that fit, where the whole does not."""
    if len(WORD.findall(text)) <= MAX_WORDS and len(text) <= MAX_CHARACTERS:
        return text
    best = text
    for mark in re.finditer(r"[.;|–—!?](?=\s)|,(?=\s)", text):
        head = text[: mark.start()]
        if len(WORD.findall(head)) > MAX_WORDS or len(head) > MAX_CHARACTERS:
            break
        best = head
    return best.strip()


def sampled(captions: Iterable[Caption], share: float, seed: int) -> Iterator[Caption]:
    """About this share of them, by their text and the seed alone: the same ones in any order of the files."""
    if not 0 < share <= 1:
        raise ValueError(f"a share must be above 0 and at most 1, not {share}")
    for caption in captions:
        digest = hashlib.blake2b(f"{seed}/{caption.text}".encode(errors="replace"), digest_size=8).digest()
        if int.from_bytes(digest, "big") < share * 2**64:
            yield caption


def cleaned(captions: Iterable[Caption], reasons: Counter[str] | None = None) -> Iterator[Caption]:
    """Those that are fit, clean, each said once. reasons: counts what was left out and why; "kept" the rest."""
    seen = NearDuplicates()
    counts: Counter[str] = Counter() if reasons is None else reasons
    for caption in captions:
        found = clean(caption.text)
        if found.text is None:
            counts[found.reason or ""] += 1
        elif not seen.is_new(found.text):
            counts["duplicate"] += 1
        else:
            counts["kept"] += 1
            yield Caption(found.text, caption.license, caption.provenance)
