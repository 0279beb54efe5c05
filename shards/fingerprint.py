"""Fingerprints: which rows belong together.

A stage's folder is named by the fingerprint of everything that shapes its rows, so that a change of mind
opens a new folder and never mixes with the old. For renders that is, for example::

    fingerprint({
        "stage": "pairs", "version": 3,               # raised whenever the code's rows change
        "settings": {"resolution": 256, "samples": 16},  # what the rows depend on
        "seed": 7, "unit_size": 32,
        "inputs": {"catalogue": "sha256:5d41..."},    # what was read, by content
        "weights": {},                                # models, by sha256 or revision
        "before": None,                               # the fingerprint of the stage that feeds it
    })

How many workers there are, how much memory they ask for, where the run is stored, where a cache lies: none
of it may be part. Twice the workers must find the half-finished folder and go on in it; a path would make a
moved run start anew. A model counts by its content and not by its file's name, for the same reason. The
fingerprint before is part because scores of other pairs are other scores, although no setting of the scorer
has changed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def fingerprint(parts: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of `parts`, 64 hexadecimal digits.

    Mappings (in any order, keys are strings), lists and tuples, strings, numbers, booleans and None.
    Raises TypeError, naming the place, for everything else: what JSON cannot tell apart must not look
    the same.
    """
    text = json.dumps(_plain(parts, "parts"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | str):
        # Subclasses (enums, numpy's str) would be written as something that depends on their class.
        if type(value) in (type(None), bool, str):
            return value
    elif type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    elif isinstance(value, Mapping):
        if odd := [key for key in value if type(key) is not str]:
            raise TypeError(f"{place}: key {odd[0]!r} is not a string")
        return {key: _plain(inner, f"{place}.{key}") for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        return [_plain(inner, f"{place}[{i}]") for i, inner in enumerate(value)]
    raise TypeError(f"{place}: {value!r} ({type(value).__name__}) has no canonical JSON form")
