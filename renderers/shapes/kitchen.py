"""What stands on a kitchen table, and the plain solids."""

from __future__ import annotations

import numpy as np

from renderers.shapes.primitives import Solid, box, curve, cylinder, ellipsoid, lathe, loft, tube


def ball() -> list[Solid]:
    return [ellipsoid(0.35, 0.35, 0.35, around=40)]


def cube() -> list[Solid]:
    return [box(0.7, 0.7, 0.7, bevel=0.03)]


def cone() -> list[Solid]:
    return [
        lathe(
            [(0, 0), (0.38, 0), (0.4, 0.02), (0.395, 0.04), (0.02, 0.88), (0.008, 0.897), (0, 0.9)], around=64
        )
    ]


def tall_cylinder() -> list[Solid]:
    return [cylinder(0.35, 0.75, around=64, bevel=0.025)]


def mug() -> list[Solid]:
    cup = lathe(
        [
            (0, 0),
            (0.25, 0),
            (0.275, 0.02),
            (0.28, 0.06),
            (0.285, 0.6),
            (0.275, 0.625),
            (0.26, 0.625),
            (0.245, 0.6),
            (0.24, 0.08),
            (0.21, 0.05),
            (0, 0.05),
        ],
        around=48,
    )
    path = curve(
        [(0.265, 0, 0.52), (0.4, 0, 0.54), (0.47, 0, 0.4), (0.45, 0, 0.2), (0.36, 0, 0.11), (0.265, 0, 0.12)],
        24,
    )
    return [cup, tube(path, 0.038)]


def bottle() -> list[Solid]:
    outline = curve(
        [(0.2, 0.02), (0.215, 0.1), (0.215, 0.62), (0.17, 0.8), (0.08, 0.95), (0.07, 1.05), (0.07, 1.16)], 30
    )
    glass = lathe([(0, 0), (0.17, 0), *outline, (0.085, 1.17), (0.085, 1.21), (0, 1.21)], around=40)
    return [glass, cylinder(0.06, 0.1, "cork", around=20).at(z=1.2)]


def bowl() -> list[Solid]:
    outside = curve([(0.2, 0.05), (0.36, 0.14), (0.46, 0.28), (0.5, 0.42)], 12)
    inside = curve([(0.465, 0.42), (0.42, 0.29), (0.32, 0.16), (0.16, 0.09)], 12)
    foot = [(0, 0), (0.2, 0), (0.21, 0.015), (0.205, 0.04)]
    return [lathe([*foot, *outside, (0.49, 0.435), (0.475, 0.435), *inside, (0, 0.08)], around=56)]


def vase() -> list[Solid]:
    outside = curve(
        [(0.17, 0.02), (0.25, 0.2), (0.32, 0.45), (0.26, 0.7), (0.13, 0.88), (0.12, 0.97), (0.24, 1.08)], 24
    )
    inside = curve(
        [(0.22, 1.08), (0.1, 0.97), (0.11, 0.88), (0.23, 0.68), (0.28, 0.45), (0.2, 0.2), (0.1, 0.08)], 14
    )
    band = [
        tube(
            [(r * np.cos(a), r * np.sin(a), z) for a in np.arange(32) * np.pi / 16],
            0.014,
            around=6,
            closed=True,
        )
        for r, z in ((0.318, 0.5), (0.29, 0.64))
    ]
    return [lathe([(0, 0), (0.16, 0), *outside, *inside, (0, 0.06)], around=36), *band]


def teapot() -> list[Solid]:
    belly = lathe(
        [
            (0, 0),
            (0.2, 0),
            (0.21, 0.03),
            *curve([(0.24, 0.05), (0.35, 0.22), (0.32, 0.4), (0.2, 0.5)], 16),
            (0, 0.52),
        ],
        around=48,
    )
    lid = lathe(
        [
            (0, 0.49),
            (0.205, 0.49),
            (0.21, 0.51),
            *curve([(0.2, 0.525), (0.12, 0.57), (0.04, 0.585)], 8),
            (0, 0.59),
        ]
    )
    knob = ellipsoid(0.055, 0.055, 0.05).at(z=0.625)
    spout = tube(
        curve([(-0.27, 0, 0.16), (-0.42, 0, 0.22), (-0.5, 0, 0.38), (-0.6, 0, 0.49)], 16),
        np.linspace(0.1, 0.042, 16),
        around=18,
    )
    mouth = ellipsoid(0.028, 0.028, 0.01, "dark").turned("y", -40).at(-0.602, 0, 0.491)
    handle = tube(
        curve([(0.27, 0, 0.42), (0.44, 0, 0.46), (0.54, 0, 0.34), (0.48, 0, 0.18), (0.31, 0, 0.13)], 22),
        0.036,
    )
    return [belly, lid, knob, spout, mouth, handle]


def candle() -> list[Solid]:
    wax = lathe([(0, 0.05), (0.165, 0.05), (0.165, 0.7), (0.15, 0.725), (0.11, 0.705), (0, 0.69)], around=36)
    drips = [
        ellipsoid(0.035, 0.035, length).at(0.155 * np.cos(a), 0.155 * np.sin(a), 0.7 - length * 0.8)
        for a, length in ((4.4, 0.14), (5.3, 0.09), (0.6, 0.12), (2.4, 0.16))
    ]
    dish = lathe([(0, 0), (0.22, 0), (0.3, 0.07), (0.285, 0.08), (0.21, 0.04), (0, 0.04)], "steel", around=40)
    ring = tube(
        [(0.32 + 0.06 * np.cos(a), 0.06 * np.sin(a), 0.06) for a in np.arange(20) * np.pi / 10],
        0.016,
        "steel",
        8,
        closed=True,
    )
    wick = tube([(0, 0, 0.68), (0.003, 0, 0.76), (0.012, 0, 0.8)], 0.011, "dark", 8)
    flame = lathe(
        curve([(0, 0.76), (0.045, 0.81), (0.05, 0.86), (0.022, 0.95), (0, 1.02)], 16).clip(min=0), "flame", 20
    )
    return [wax, *drips, dish, ring, wick, flame]


def book() -> list[Solid]:
    boards = [box(0.66, 0.9, 0.022, bevel=0.008).at(x=0.02, z=z) for z in (0.0, 0.148)]
    bulge = np.linspace(-np.pi / 2, np.pi / 2, 13)
    outer = [(-0.31 - 0.04 * np.cos(a), 0.085 + 0.085 * np.sin(a)) for a in bulge]
    inner = [(-0.295 - 0.025 * np.cos(a), 0.085 + 0.063 * np.sin(a)) for a in bulge]
    # The spine is a bent sheet, lofted along its bend: each ring is the sheet's cross-section there.
    rings = [
        [(*out, -0.45), (*out, 0.45), (*within, 0.45), (*within, -0.45)] for out, within in zip(outer, inner)
    ]
    rings = [[(x, y, z) for x, z, y in ring] for ring in rings]
    spine = loft(rings)
    pages = box(0.62, 0.86, 0.13, "paper", bevel=0.004).at(x=0.005, z=0.02)
    title = box(0.34, 0.16, 0.004, "paper", bevel=0.0015).at(x=0.03, y=0.16, z=0.169)
    lines = [
        box(width, 0.018, 0.003, "dark", bevel=0.001).at(x=0.03, y=y, z=0.172)
        for width, y in ((0.24, 0.185), (0.16, 0.14))
    ]
    return [*boards, spine, pages, title, *lines]
