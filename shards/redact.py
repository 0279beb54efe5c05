"""A configuration as strangers may read it: without a word of where things lie or who runs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "(redacted)"
# Addresses, absolute paths, paths from a home or upwards, drives, hosts with ports, and names at hosts.
_PLACE = re.compile(
    r"[a-z][a-z0-9+.-]*://|^(?:/|~|\.{1,2}/|[A-Za-z]:[\\/]|\\\\)|^[\w.-]+:\d{2,5}(?:/|$)|@[\w-]+\.",
    re.IGNORECASE,
)
_SECRET = re.compile(r"(?:^|_)(?:key|token|secret|password|endpoint|out|user|host)$", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """Plain values, every text that names a place replaced, and whatever stands under a key such as "token"."""
    if isinstance(value, Mapping):
        return {
            key: REDACTED if inner is not None and _SECRET.search(str(key)) else redacted(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return REDACTED if isinstance(value, str) and _PLACE.search(value) else value
