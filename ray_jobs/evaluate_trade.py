"""How much a picture changes against how far it changes as it was told, over guidance scales: figure 8 of Brooks et al.
2023. Editors that differ in their `text` scale alone are points of one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

Figures = Mapping[str, Mapping[str, Any]]


def trade_off(
    editors: Mapping[str, BaseModel], figures: Figures, size: tuple[int, int], colours: Sequence[str]
) -> dict[str, Any] | None:
    """Lines of an SVG of `size` pixels, and what its edges mean; None where CLIP was not asked. Up is alike, to the
    right is as it was told."""
    places = {
        name: (found["clip_direction"]["mean"], found["clip_image"]["mean"])
        for name, found in figures.items()
        if found["clip_direction"] and found["clip_image"]
    }
    if not places:
        return None
    x, y = (_span([place[axis] for place in places.values()]) for axis in (0, 1))
    families: dict[str, list[str]] = {}
    for name in places:
        about = editors[name].model_dump(mode="json", exclude={"text"})
        families.setdefault(json.dumps(about, sort_keys=True), []).append(name)
    lines = []
    for number, names in enumerate(families.values()):
        scaled = sorted(names, key=lambda one: float(getattr(editors[one], "text", 0.0)))
        points = [
            {
                "name": name,
                "x": round((places[name][0] - x[0]) / (x[1] - x[0]) * size[0], 1),
                "y": round((1 - (places[name][1] - y[0]) / (y[1] - y[0])) * size[1], 1),
            }
            for name in scaled
        ]
        lines.append({"colour": colours[number % len(colours)], "points": points})
    return {"lines": lines, "x": x, "y": y}


def _span(values: Sequence[float]) -> tuple[float, float]:
    """With some room, so that no point lies on the edge."""
    room = max(0.01, 0.1 * (max(values) - min(values)))
    return min(values) - room, max(values) + room
