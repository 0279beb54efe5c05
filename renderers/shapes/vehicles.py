"""What drives, floats and flies; fronts towards -y."""

from __future__ import annotations

import numpy as np

from renderers.shapes.primitives import Solid, box, curve, cylinder, ellipsoid, hoop, lathe, loft, prism, tube
from spatial.scene import Floats


def car() -> list[Solid]:
    # Cross-sections from the front bumper to the rear: y, half width, bottom, top.
    hull = _sections(
        [
            (-0.72, 0.22, 0.2, 0.3),
            (-0.71, 0.27, 0.16, 0.36),
            (-0.62, 0.3, 0.13, 0.42),
            (-0.3, 0.315, 0.12, 0.46),
            (0.3, 0.315, 0.12, 0.47),
            (0.6, 0.3, 0.13, 0.46),
            (0.7, 0.27, 0.16, 0.42),
            (0.715, 0.22, 0.2, 0.36),
        ],
        0.07,
    )
    cabin = _cabin([(-0.36, 0.44), (-0.1, 0.7), (0.36, 0.7), (0.58, 0.44)], 0.56, 0.45)
    pillars = [
        prism([(-0.285, 0.5), (-0.135, 0.655), (0.085, 0.655), (0.085, 0.5)], 0.575, "window"),
        prism([(0.125, 0.5), (0.125, 0.655), (0.33, 0.655), (0.45, 0.5)], 0.575, "window"),
    ]
    # The cabin leans inwards, and so do its side windows.
    pillars = [window.bent(lambda points: points + _lean(points)) for window in pillars]
    front = box(0.42, 0.012, 0.24, "window", bevel=0.005).turned("x", -43).at(y=-0.315, z=0.485)
    rear = box(0.42, 0.012, 0.2, "window", bevel=0.005).turned("x", 40).at(y=0.55, z=0.5)
    lights = [ellipsoid(0.055, 0.03, 0.045, "glow", 16).at(x, -0.7, 0.31) for x in (-0.19, 0.19)]
    tails = [box(0.1, 0.03, 0.06, "red", bevel=0.01).at(x, 0.705, 0.32) for x in (-0.19, 0.19)]
    grill = box(0.2, 0.03, 0.05, "dark", bevel=0.01).at(y=-0.715, z=0.22)
    bumpers = [box(0.5, 0.05, 0.05, "dark", bevel=0.02).at(y=y, z=0.13) for y in (-0.71, 0.705)]
    return [
        hull,
        cabin,
        *pillars,
        front,
        rear,
        *lights,
        *tails,
        grill,
        *bumpers,
        *_wheels(0.16, 0.11, 0.3, (-0.43, 0.43)),
    ]


def truck() -> list[Solid]:
    cab = prism([(-0.8, 0.2), (-0.82, 0.5), (-0.72, 0.86), (-0.34, 0.88), (-0.34, 0.2)], 0.6)
    load = box(0.66, 1.02, 0.82, bevel=0.02).at(y=0.27, z=0.27)
    frame = box(0.4, 1.5, 0.1, "dark").at(y=0.0, z=0.14)
    shield = box(0.5, 0.015, 0.27, "window", bevel=0.005).turned("x", -15.5).at(y=-0.806, z=0.55)
    sides = prism([(-0.745, 0.55), (-0.69, 0.79), (-0.46, 0.79), (-0.46, 0.55)], 0.615, "window")
    lights = [cylinder(0.05, 0.03, "glow", 16).turned("x", 90).at(x, -0.8, 0.36) for x in (-0.2, 0.2)]
    bumper = box(0.62, 0.06, 0.09, "dark", bevel=0.02).at(y=-0.8, z=0.17)
    grill = box(0.22, 0.02, 0.12, "dark", bevel=0.008).at(y=-0.812, z=0.32)
    tails = [box(0.09, 0.02, 0.06, "red", bevel=0.008).at(x, 0.78, 0.3) for x in (-0.26, 0.26)]
    ribs = [box(0.675, 0.02, 0.78, bevel=0.008).at(y=y, z=0.29) for y in np.linspace(-0.12, 0.66, 5)]
    return [
        cab,
        load,
        frame,
        shield,
        sides,
        *lights,
        bumper,
        grill,
        *tails,
        *ribs,
        *_wheels(0.17, 0.13, 0.29, (-0.55, 0.22, 0.58)),
    ]


def boat() -> list[Solid]:
    # A hull from bow to stern: y, half width, keel, gunwale.
    shape = [
        (-0.75, 0.012, 0.3, 0.46),
        (-0.66, 0.1, 0.16, 0.43),
        (-0.45, 0.22, 0.05, 0.39),
        (-0.1, 0.3, 0.0, 0.36),
        (0.3, 0.29, 0.01, 0.36),
        (0.6, 0.24, 0.05, 0.38),
        (0.68, 0.21, 0.08, 0.39),
    ]
    run = curve(shape, 22)
    hull = loft(
        [
            [(w * np.cos(a), y, top + (top - keel) * np.sin(a)) for a in np.linspace(-np.pi, 0, 15)]
            for y, w, keel, top in run
        ]
    )
    deck = loft(
        [
            [
                (x * max(w - 0.025, 0.004), y, z)
                for x, z in ((-1, top - 0.02), (1, top - 0.02), (1, top + 0.006), (-1, top + 0.006))
            ]
            for y, w, _, top in run[1:-1]
        ],
        "wood",
        smooth=False,
    )
    rail = [tube([(side * w, y, top) for y, w, _, top in run], 0.018) for side in (-1, 1)]
    stern = tube([(-0.21, 0.68, 0.39), (0.0, 0.68, 0.39), (0.21, 0.68, 0.39)], 0.018)
    cabin = box(0.28, 0.34, 0.17, "white", bevel=0.03).at(y=0.3, z=0.37)
    panes = [
        cylinder(0.045, 0.3, "window", 20, bevel=0.004).turned("y", 90).at(-0.15, y, 0.465)
        for y in (0.22, 0.38)
    ]
    mast = tube([(0, -0.06, 0.3), (0, -0.06, 0.9), (0, -0.06, 1.55)], [0.022, 0.02, 0.013], "wood")
    boom = tube([(0, -0.06, 0.6), (0.1, 0.26, 0.6), (0.2, 0.58, 0.6)], 0.014, "wood")
    main = _sail((0.005, -0.035, 1.5), (0.005, -0.03, 0.62), (0.19, 0.56, 0.62), 0.1)
    jib = _sail((0.0, -0.075, 1.36), (0.0, -0.7, 0.5), (0.12, -0.1, 0.58), 0.07)
    return [hull, deck, *rail, stern, cabin, *panes, mast, boom, main, jib]


def rocket() -> list[Solid]:
    outline = curve([(0.17, 0.2), (0.24, 0.45), (0.245, 0.75), (0.19, 1.05)], 20)
    tip = curve([(0.19, 1.05), (0.12, 1.25), (0.035, 1.4), (0.0, 1.45)], 12).clip(min=0)
    nose = lathe([(0, 1.05), *tip], "steel")
    band = hoop([(0.18, 1.03), (0.2, 1.03), (0.196, 1.07), (0.17, 1.07)], "dark")
    nozzle = lathe([(0, 0.08), (0.15, 0.08), (0.12, 0.2), (0, 0.2)], "dark")
    fin = prism(
        [(0.16, 0.55), (0.36, 0.3), (0.42, 0.0), (0.37, 0.0), (0.28, 0.16), (0.14, 0.24)], 0.035, "dark"
    )
    fins = [fin.turned("z", turn) for turn in (45, 135, 225, 315)]
    rim = tube(
        [(0.085 * np.cos(a), -0.235, 0.8 + 0.085 * np.sin(a)) for a in np.arange(24) * np.pi / 12],
        0.02,
        "steel",
        closed=True,
    )
    pane = ellipsoid(0.08, 0.025, 0.08, "window").at(y=-0.228, z=0.8)
    small = [
        tube(
            [(0.05 * np.cos(a), -0.238, 0.55 + 0.05 * np.sin(a)) for a in np.arange(16) * np.pi / 8],
            0.014,
            "steel",
            8,
            closed=True,
        ),
        ellipsoid(0.047, 0.018, 0.047, "window", 16).at(y=-0.236, z=0.55),
    ]
    return [lathe([(0, 0.2), *outline, (0, 1.05)]), nose, band, nozzle, *fins, rim, pane, *small]


def _sections(run: list[tuple[float, float, float, float]], corner: float) -> Solid:
    """A body of rounded rectangular cross-sections along y: (y, half width, bottom, top) each."""
    rings = []
    for y, half, bottom, top in run:
        soft = min(corner, (top - bottom) / 2.2, half / 1.2)
        centers = [
            (half - soft, top - soft, 0),
            (-half + soft, top - soft, 90),
            (-half + soft, bottom + soft, 180),
            (half - soft, bottom + soft, 270),
        ]
        angles = [(x, z, np.radians(start + turn)) for x, z, start in centers for turn in (0, 30, 60, 90)]
        rings.append([(x + soft * np.cos(a), y, z + soft * np.sin(a)) for x, z, a in angles])
    return loft(rings)


def _cabin(outline: list[tuple[float, float]], below: float, above: float) -> Solid:
    """A roofed trapezoid of (y, z), `below` wide at its foot and `above` at its roof, edges softened."""
    low, high = outline[0][1], outline[1][1]
    rings = []
    for share in (0.0, 0.9, 1.0):
        inset = 0.0 if share < 1 else 0.035
        front = outline[0][0] + (outline[1][0] - outline[0][0]) * share + inset
        back = outline[3][0] + (outline[2][0] - outline[3][0]) * share - inset
        half = (below + (above - below) * share) / 2 - inset
        z = low + (high - low) * share
        rings.append([(-half, front, z), (half, front, z), (half, back, z), (-half, back, z)])
    return loft(rings)


def _lean(points: Floats) -> Floats:
    """How far a car's side windows lean inwards at each height."""
    shift = np.zeros_like(points)
    shift[:, 0] = -np.sign(points[:, 0]) * (0.003 + (points[:, 2] - 0.44) * 0.21)
    return shift


def _wheels(radius: float, width: float, x: float, along: tuple[float, ...]) -> list[Solid]:
    tyre = lathe(
        [
            (0, 0),
            (radius - 0.03, 0),
            (radius, 0.025),
            (radius, width - 0.025),
            (radius - 0.03, width),
            (0, width),
        ],
        "rubber",
        28,
    )
    hub = lathe(
        [
            (0, -0.012),
            (radius * 0.5, -0.012),
            (radius * 0.55, 0.0),
            (radius * 0.55, width),
            (radius * 0.5, width + 0.012),
            (0, width + 0.012),
        ],
        "steel",
        20,
    )
    wheel = [part.at(z=-width / 2).turned("y", 90) for part in (tyre, hub)]
    return [part.at(side * x, y, radius) for part in wheel for side in (-1, 1) for y in along]


def _sail(head: tuple[float, ...], tack: tuple[float, ...], clew: tuple[float, ...], belly: float) -> Solid:
    """A triangular cloth, bellied along x."""
    top, low, out = np.array(head), np.array(tack), np.array(clew)
    rings = []
    for up in np.linspace(0, 0.985, 10):
        along = np.linspace(0, 1, 9)
        line = (1 - along)[:, None] * (low + (top - low) * up) + along[:, None] * (out + (top - out) * up)
        line[:, 0] += belly * np.sin(np.pi * along) * (1 - up)
        rings.append(np.concatenate([line, line[::-1] + np.array([0.008, 0, 0])]))
    return loft(rings, "sail")
