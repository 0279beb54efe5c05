"""How things look: colours, materials, fixed parts, floors, walls and environments, as plain data.

The renderer turns a `Surface` into shader nodes; nothing here knows Blender. Colours are sRGB hex.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spatial.scene import SpatialError


@dataclass(frozen=True, slots=True)
class Surface:
    """color: sRGB hex. color2: the pattern's second colour; None: `color` times `shade`.

    pattern: "", "checker", "grain" (wood), "noise" (mottled), "brick" (rows of bricks, planks or tiles).
    scale: repeats per unit of the pattern's coordinates (an object's longest side; metres for floors and
    walls).
    brick: width and height of one brick, share of the mortar between; in units of 1 / scale.
    roughness, metallic, transmission, coat: 0..1. emission: strength. bump: 0..1.
    """

    color: str
    roughness: float = 0.5
    metallic: float = 0.0
    transmission: float = 0.0
    coat: float = 0.0
    emission: float = 0.0
    pattern: str = ""
    color2: str | None = None
    shade: float = 0.6
    scale: float = 1.0
    brick: tuple[float, float, float] = (1.0, 1.0, 0.02)
    offset: float = 0.5
    bump: float = 0.0


COLORS = {
    "red": "#c81414",
    "orange": "#f06a05",
    "yellow": "#f7c90a",
    "green": "#188c2c",
    "blue": "#1347c4",
    "purple": "#6a1fb0",
    "pink": "#f26fae",
    "brown": "#653818",
    "white": "#f0f0ee",
    "black": "#131316",
    "gray": "#7d8084",
}

# The object's colour goes in where `color` stands.
MATERIALS = {
    "matte": Surface("", roughness=0.85),
    "glossy": Surface("", roughness=0.12, coat=0.6),
    "metal": Surface("", roughness=0.2, metallic=1.0),
    "glass": Surface("", roughness=0.0, transmission=1.0),
    "wood": Surface("", roughness=0.5, pattern="grain", color2="#553214", scale=1.5, bump=0.1),
    "checkered": Surface("", roughness=0.55, pattern="checker", color2="#f4f2ec", scale=7.0),
    "stone": Surface("", roughness=0.9, pattern="noise", shade=0.42, scale=9.0, bump=0.5),
}
# On brown paint brown grain would not show; against a light colour, white checks.
GRAIN_ON_BROWN = "#241205"
CHECK_AGAINST_LIGHT = "#26262a"
LIGHT = frozenset({"white", "yellow", "pink", "gray"})

ROLES = {
    "rubber": Surface("#1b1b1d", roughness=0.8),
    "dark": Surface("#2a2a2e", roughness=0.6),
    "steel": Surface("#c4c8ce", roughness=0.38, metallic=1.0),
    "white": Surface("#f2f0ea", roughness=0.6),
    "snow": Surface("#f4f6fa", roughness=0.7),
    "wood": Surface("#8a5a2e", roughness=0.6, pattern="grain", shade=0.5, scale=3.0),
    "bark": Surface("#5a3a22", roughness=0.9, pattern="noise", shade=0.5, scale=14.0, bump=0.5),
    "leaves": Surface("#2f7a2a", roughness=0.8, pattern="noise", shade=0.55, scale=16.0, bump=0.4),
    "soil": Surface("#3b2a1e", roughness=0.95),
    "terracotta": Surface("#b5613a", roughness=0.8),
    "carrot": Surface("#f07818", roughness=0.6),
    "beak": Surface("#f09a10", roughness=0.5),
    "paper": Surface("#f3ecd9", roughness=0.9),
    "window": Surface("#1d2b3a", roughness=0.05, coat=0.5),
    "glow": Surface("#fff0c8", emission=1.4),
    "flame": Surface("#ff9a2a", emission=5.0),
    "lamp": Surface("#fff4d8", emission=1.0),
    "red": Surface("#b01818", roughness=0.4),
    "skin": Surface("#e8c9a8", roughness=0.8),
    "pink": Surface("#d98a8a", roughness=0.7),
    "eye": Surface("#0c0c0e", roughness=0.1, coat=0.5),
    "tea": Surface("#4a2a14", roughness=0.15),
    "roof": Surface("#6d3b30", roughness=0.85, pattern="noise", shade=0.7, scale=12.0),
    "cork": Surface("#b98a5a", roughness=0.9),
    "cream": Surface("#f0e6d0", roughness=0.8),
    "sail": Surface("#f4efe2", roughness=0.9),
    "ear": Surface("#4a2f1f", roughness=0.9),
    "brick": Surface("#8a4434", roughness=0.9),
    "stone": Surface("#8b8a86", roughness=0.9),
    "door": Surface("#5b3a22", roughness=0.6),
}

FLOORS = {
    "plain": Surface("#a5a29b", roughness=0.9),
    "wood": Surface(
        "#a8703f", roughness=0.45, pattern="brick", color2="#8a5629", scale=1.0, brick=(2.6, 0.32, 0.008)
    ),
    "tiles": Surface(
        "#d9d4c8",
        roughness=0.3,
        pattern="brick",
        color2="#cfc7b6",
        scale=1.0,
        brick=(0.8, 0.8, 0.02),
        offset=0.0,
    ),
    "concrete": Surface("#8f8f8c", roughness=0.85, pattern="noise", shade=0.72, scale=0.9, bump=0.1),
    "grass": Surface("#4f8a2c", roughness=1.0, pattern="noise", color2="#2b5a18", scale=14.0, bump=1.0),
    "sand": Surface("#dcc08c", roughness=1.0, pattern="noise", color2="#c19f66", scale=7.0, bump=0.5),
    "checkered": Surface("#e6e2da", roughness=0.35, pattern="checker", color2="#4a4d55", scale=1.25),
    "carpet": Surface("#7d4550", roughness=1.0, pattern="noise", color2="#5f3340", scale=40.0, bump=0.5),
}
WALLS = {
    "plain": Surface("#d8d3c6", roughness=0.9),
    "brick": Surface(
        "#9c4a34",
        roughness=0.9,
        pattern="brick",
        color2="#7c3626",
        scale=1.0,
        brick=(0.7, 0.24, 0.025),
        bump=0.4,
    ),
    "planks": Surface(
        "#7f9fa8",
        roughness=0.7,
        pattern="brick",
        color2="#6d8d98",
        scale=1.0,
        brick=(30.0, 0.35, 0.02),
        bump=0.3,
    ),
}

# Exposure of each environment map, so that strength 1 lights a scene ordinarily, and the sun's share beside
# it.
ENVIRONMENTS = {
    "city": (0.45, 0.85),
    "courtyard": (0.65, 1.0),
    "forest": (0.6, 1.0),
    "interior": (0.6, 0.6),
    "night": (1.5, 0.4),
    "studio": (1.2, 0.95),
    "sunrise": (0.62, 0.9),
    "sunset": (0.62, 0.8),
}

UNPAINTED = "#c9c7c2"


def painted(color: str | None, material: str | None) -> Surface:
    """The surface of a part that takes its object's colour and material."""
    try:
        surface = MATERIALS[material or "matte"]
        paint = COLORS[color] if color is not None else UNPAINTED
    except KeyError as unknown:
        raise SpatialError("unknown_look", f"no colour or material {unknown} in renderers/looks.py") from None
    if surface.metallic:
        paint = hexadecimal(
            0.25 + 0.75 * encoded(np.array(linear(paint)[:3]))
        )  # metal shows dark what it reflects
    light_checks = surface.pattern == "checker" and color in LIGHT
    color2 = CHECK_AGAINST_LIGHT if light_checks else surface.color2
    if surface.pattern == "grain" and color == "brown":
        color2 = GRAIN_ON_BROWN
    return replace(surface, color=paint, color2=color2)


def fixed(role: str) -> Surface:
    """The surface of a part that is what it is.

    An imported file's own materials are roles "own:#rrggbb:rough:metal".
    """
    if role.startswith("own:"):
        _, color, roughness, metallic = role.split(":")
        return Surface(color, roughness=float(roughness), metallic=float(metallic))
    if role not in ROLES:
        raise SpatialError("unknown_look", f"no role {role!r} in renderers/looks.py")
    return ROLES[role]


def tint(warmth: float) -> tuple[float, float, float]:
    """The colour of light, scene-linear: 1 is like a warm bulb, -1 like shade under a clear sky."""
    end = (1.0, 0.78, 0.5) if warmth > 0 else (0.6, 0.8, 1.0)
    red, green, blue = (1 + (channel - 1) * min(abs(warmth), 1.0) for channel in end)
    return red, green, blue


def linear(color: str) -> tuple[float, float, float, float]:
    """sRGB hex to scene-linear RGBA, 0..1."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return red, green, blue, 1.0


def encoded(color: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scene-linear to sRGB, 0..1 each."""
    color = np.clip(color, 0.0, 1.0).astype(np.float64)
    return np.where(color <= 0.0031308, color * 12.92, 1.055 * color ** (1 / 2.4) - 0.055)


def hexadecimal(color: NDArray[np.floating]) -> str:
    """(3,) sRGB in 0..1 to "#rrggbb"."""
    red, green, blue = (round(255 * float(channel)) for channel in np.clip(color, 0.0, 1.0))
    return f"#{red:02x}{green:02x}{blue:02x}"
