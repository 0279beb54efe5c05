"""What a dataset must not say: a list of words, and room for a classifier.

The list is short and public on purpose: it catches what nobody means well. It names no group of people; words that
do are no offence. Production adds a classifier (`Moderator`), which reads sentences and not words.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Protocol

import yaml


class Moderator(Protocol):
    """A classifier. The name of what is wrong with a text ("violence"), None for nothing."""

    def __call__(self, text: str) -> str | None: ...


def offence(text: str, moderator: Moderator | None = None) -> str | None:
    """Which section of the list a text falls under, or what the moderator says; None for neither."""
    if match := _pattern().search(text.casefold()):
        return str(match.lastgroup)
    return moderator(text) if moderator is not None else None


@cache
def _pattern() -> re.Pattern[str]:
    lists = yaml.safe_load((Path(__file__).parent / "moderation.yaml").read_text(encoding="utf-8"))
    sections = []
    for name, entries in lists.items():
        forms = [re.escape(entry).replace(r"\*", r"\w*") for entry in entries.split()]
        sections.append(rf"(?P<{name}>\b(?:{'|'.join(forms)})\b)")
    return re.compile("|".join(sections))
