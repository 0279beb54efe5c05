"""Licences as photo collections write them, under one name each.

SPDX identifiers where there is one. Terms without one keep the words of their source ("United States Government Work").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Terms that let others share what they made of a photo. Not in it: ND, which forbids edits, and NC.
ADAPTABLE = (
    "CC0-1.0",
    "CC-PDM-1.0",
    "CC-BY",
    "CC-BY-SA",
    "Public domain",
    "No known copyright restrictions",
    "United States Government Work",
)

_CREATIVE = re.compile(r"creativecommons\.org/licenses/(by(?:-nc)?(?:-sa|-nd)?)/(\d\.\d)", re.IGNORECASE)
_PUBLIC = {
    "creativecommons.org/publicdomain/zero/1.0": "CC0-1.0",
    "creativecommons.org/publicdomain/mark/1.0": "CC-PDM-1.0",
    "flickr.com/commons/usage": "No known copyright restrictions",
    "usa.gov/copyright": "United States Government Work",
}
_VERSION = re.compile(r"-\d+(\.\d+)*(-[A-Z]{2,3})?$")


def licence_name(name: str | None, url: str | None = None) -> str | None:
    """SPDX where the URL (or a name that is one) says so, else the name, else the URL; None for neither."""
    for text in (url, name):
        if not text:
            continue
        found = _CREATIVE.search(text)
        if found:
            return f"CC-{found[1].upper()}-{found[2]}"
        for part, licence in _PUBLIC.items():
            if part in text.lower():
                return licence
    return (name or "").strip() or (url or "").strip() or None


def is_allowed(licence: str | None, allowed: Sequence[str] | None) -> bool:
    """Whether one of `allowed` is this licence, or this licence without its version. None allows everything."""
    if allowed is None:
        return True
    if licence is None:
        return False
    names = {licence.casefold(), _VERSION.sub("", licence).casefold()}
    return any(entry.casefold() in names for entry in allowed)


def refused(licence: str | None, allowed: Sequence[str] | None) -> str | None:
    """Why a photo is left out, None if it is not: `licence_unknown`, `licence_not_allowed`."""
    if is_allowed(licence, allowed):
        return None
    return "licence_unknown" if licence is None else "licence_not_allowed"
