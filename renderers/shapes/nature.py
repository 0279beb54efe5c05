"""Plants, and a house among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from renderers.shapes.primitives import (
    Bend,
    Solid,
    box,
    cone_between,
    curve,
    cylinder,
    ellipsoid,
    lathe,
    loft,
    tube,
)
from spatial.scene import Floats


def tree() -> list[Solid]:
    trunk = lathe(
        [(0, 0), *curve([(0.16, 0), (0.095, 0.12), (0.08, 0.4), (0.075, 0.75)], 14), (0, 0.75)], "bark", 20
    )
    boughs = [
        cone_between((0, 0, 0.45), (0.2 * np.cos(a), 0.2 * np.sin(a), 0.72), 0.045, 0.03, "bark")
        for a in (0.3, 2.5, 4.4)
    ]
    clumps = [
        (0, 0, 1.0, 0.36),
        (0.25, 0.06, 0.86, 0.24),
        (-0.23, 0.12, 0.9, 0.26),
        (0.05, -0.24, 0.86, 0.25),
        (-0.08, 0.24, 0.84, 0.24),
        (-0.14, -0.12, 1.2, 0.22),
        (0.15, 0.04, 1.22, 0.22),
    ]
    crown = [
        ellipsoid(r, r, r * 0.88, around=20).bent(_crumple(number)).at(x, y, z)
        for number, (x, y, z, r) in enumerate(clumps)
    ]
    return [trunk, *boughs, *crown]


def cactus() -> list[Solid]:
    pot = lathe(
        [
            (0, 0),
            (0.2, 0),
            (0.255, 0.22),
            (0.285, 0.225),
            (0.29, 0.31),
            (0.25, 0.315),
            (0.24, 0.27),
            (0, 0.27),
        ],
        "terracotta",
        36,
    )
    soil = cylinder(0.235, 0.025, "soil", 28, bevel=0.005).at(z=0.262)
    stem = _ribbed([(0, 0, z) for z in np.linspace(0.26, 1.2, 18)], 0.15)
    left = _ribbed(
        curve([(-0.1, 0, 0.6), (-0.26, 0, 0.61), (-0.34, 0, 0.7), (-0.35, 0, 0.85), (-0.35, 0, 0.98)], 20),
        0.085,
    )
    right = _ribbed(
        curve([(0.1, 0, 0.72), (0.25, 0, 0.73), (0.33, 0, 0.82), (0.34, 0, 0.95), (0.34, 0, 1.1)], 20), 0.08
    )
    flower = [
        ellipsoid(0.05, 0.02, 0.035, "pink", 12)
        .turned("z", 60 * k)
        .at(0.04 * np.cos(k * 1.05), 0.04 * np.sin(k * 1.05), 1.2)
        for k in range(6)
    ]
    return [pot, soil, stem, left, right, *flower]


def mushroom() -> list[Solid]:
    stem = lathe(
        [(0, 0), *curve([(0.15, 0.0), (0.19, 0.08), (0.14, 0.3), (0.125, 0.55)], 16), (0, 0.55)], "cream", 32
    )
    skirt = _skirt(0.42)
    cap = lathe(
        [
            (0, 0.46),
            (0.3, 0.48),
            *curve([(0.41, 0.47), (0.45, 0.52), (0.4, 0.68), (0.24, 0.82), (0.0, 0.88)], 20).clip(min=0),
        ],
        around=48,
    )
    gills = lathe([(0, 0.475), (0.28, 0.462), (0.4, 0.458), (0.41, 0.48), (0, 0.5)], "cream", 40)
    dots = []
    for turn, rise, size in (
        (-90, 36, 0.075),
        (-150, 52, 0.06),
        (-25, 50, 0.065),
        (40, 34, 0.07),
        (100, 48, 0.06),
        (165, 30, 0.065),
        (-60, 72, 0.05),
        (120, 78, 0.055),
        (-118, 20, 0.045),
        (-55, 18, 0.045),
        (10, 16, 0.05),
        (70, 20, 0.045),
    ):
        spot = ellipsoid(size, size, 0.022, "white", 12).turned("y", 90 - rise).turned("z", turn)
        a, e = np.radians(turn), np.radians(rise)
        dots.append(
            spot.at(0.44 * np.cos(e) * np.cos(a), 0.44 * np.cos(e) * np.sin(a), 0.53 + 0.34 * np.sin(e))
        )
    return [stem, skirt, cap, gills, *dots]


def house() -> list[Solid]:
    walls = loft(
        [[(x, -0.42, 0), (x, 0.42, 0), (x, 0.42, 0.6), (x, 0, 0.98), (x, -0.42, 0.6)] for x in (-0.48, 0.48)],
        smooth=False,
    )
    slope = np.degrees(np.arctan2(0.38, 0.42))
    roof = [
        box(1.12, 0.7, 0.055, "roof", bevel=0.015).at(y=side * -0.35).turned("x", -side * -slope).at(z=1.0)
        for side in (1, -1)
    ]
    chimney = [
        box(0.14, 0.14, 0.4, "brick", bevel=0.01).at(0.26, 0.2, 0.78),
        box(0.18, 0.18, 0.04, "dark", bevel=0.01).at(0.26, 0.2, 1.16),
    ]
    door = [
        box(0.24, 0.03, 0.4, "door", bevel=0.01).at(0, -0.425, 0.02),
        box(0.3, 0.02, 0.44, "white", bevel=0.008).at(0, -0.418, 0.0),
        ellipsoid(0.018, 0.018, 0.018, "steel", 12).at(0.08, -0.447, 0.2),
        box(0.36, 0.14, 0.04, "stone").at(0, -0.47, 0),
    ]
    panes = [part.at(x, -0.42, 0.24) for x in (-0.31, 0.31) for part in _window()]
    panes += [
        part.turned("z", turn).at(x, 0, 0.26) for turn, x in ((90, 0.48), (-90, -0.48)) for part in _window()
    ]
    panes += [part.turned("z", 180).at(x, 0.42, 0.24) for x in (-0.25, 0.25) for part in _window()]
    return [walls, *roof, *chimney, *door, *panes]


def _window() -> list[Solid]:
    """A pane with a frame and a cross, in the plane y = 0 towards -y."""
    frame = box(0.22, 0.03, 0.26, "white", bevel=0.008)
    pane = box(0.18, 0.036, 0.22, "window", bevel=0.004).at(z=0.02)
    bars = [
        box(0.018, 0.046, 0.22, "white", bevel=0.004).at(z=0.02),
        box(0.18, 0.046, 0.018, "white", bevel=0.004).at(z=0.121),
    ]
    return [frame, pane, *bars]


def _skirt(z: float) -> Solid:
    """A mushroom's skirt."""
    return lathe(
        [(0, z + 0.02), (0.14, z), (0.2, z - 0.06), (0.19, z - 0.07), (0.125, z - 0.03), (0, z - 0.02)],
        "cream",
        32,
    )


def _ribbed(path: ArrayLike, radius: float) -> Solid:
    """A cactus' arm along a path: ribs around, a dome at the end."""
    middle = np.asarray(path, np.float64)
    count = len(middle)
    dome = np.sqrt(np.clip(1 - (np.clip(np.arange(count) - (count - 5), 0, None) / 4.05) ** 2, 0, 1))
    plain = tube(middle, np.maximum(radius * dome, 0.004), around=27)

    def groove(points: Floats) -> Floats:
        nearest = np.argmin(np.linalg.norm(points[:, None] - middle[None], axis=2), axis=1)
        away = points - middle[nearest]
        angle = np.arctan2(away[:, 1], away[:, 0] + away[:, 2] * (1 if radius < 0.12 else 0))
        result: Floats = middle[nearest] + away * (0.93 + 0.07 * np.cos(9 * angle))[:, None]
        return result

    return plain.bent(groove)


def _crumple(seed: int) -> Bend:
    """Foliage: a sphere's surface made uneven by a few waves."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(5, 3)) * 14
    shift = rng.uniform(0, 6.28, 5)

    def bend(points: Floats) -> Floats:
        crumpled: Floats = points * (
            1 + 0.045 * np.sin(points @ waves.T + shift).sum(axis=1, keepdims=True) / 1.5
        )
        return crumpled

    return bend
