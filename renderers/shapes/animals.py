"""Animals and a snowman; they look towards -y."""

from __future__ import annotations

import numpy as np

from renderers.shapes.primitives import Solid, cone_between, curve, ellipsoid, lathe, tube
from spatial.scene import Floats


def cat() -> list[Solid]:
    body = ellipsoid(0.2, 0.36, 0.2).at(y=0.08, z=0.42)
    chest = ellipsoid(0.17, 0.17, 0.2).at(y=-0.18, z=0.43)
    head = ellipsoid(0.2, 0.17, 0.17, around=28).at(y=-0.36, z=0.7)
    neck = cone_between((0, -0.2, 0.48), (0, -0.34, 0.66), 0.14, 0.12)
    ears = [
        cone_between((x, -0.35, 0.8), (1.35 * x, -0.34, 1.0), 0.075, 0.006).scaled(y=1.0)
        for x in (-0.12, 0.12)
    ]
    inner = [
        cone_between((x, -0.392, 0.81), (1.32 * x, -0.372, 0.96), 0.045, 0.004, "pink") for x in (-0.12, 0.12)
    ]
    muzzle = [ellipsoid(0.07, 0.06, 0.05, "white", 18).at(x, -0.51, 0.645) for x in (-0.045, 0.045)]
    nose = ellipsoid(0.028, 0.02, 0.02, "pink", 14).at(y=-0.56, z=0.68)
    eyes = [ellipsoid(0.036, 0.02, 0.042, "eye", 16).at(x, -0.505, 0.745) for x in (-0.085, 0.085)]
    legs = [_leg(x, y, 0.4, 0.065) for x in (-0.12, 0.12) for y in (-0.2, 0.3)]
    path = curve(
        [(0, 0.4, 0.48), (0.02, 0.56, 0.56), (0.04, 0.62, 0.78), (0.05, 0.56, 0.98), (0.06, 0.6, 1.08)], 22
    )
    tail = tube(path, [0.055] * 19 + [0.05, 0.038, 0.012], around=14)
    whiskers = [
        tube(
            [
                (side * 0.07, -0.54, 0.65),
                (side * 0.17, -0.53, 0.66 + lift),
                (side * 0.27, -0.5, 0.65 + 2 * lift),
            ],
            0.005,
            "dark",
            6,
        )
        for side in (-1, 1)
        for lift in (0.015, -0.02)
    ]
    return [body, chest, head, neck, *ears, *inner, *muzzle, nose, *eyes, *legs, tail, *whiskers]


def dog() -> list[Solid]:
    body = ellipsoid(0.21, 0.4, 0.2).at(y=0.1, z=0.47)
    chest = ellipsoid(0.19, 0.19, 0.22).at(y=-0.18, z=0.48)
    neck = cone_between((0, -0.2, 0.52), (0, -0.36, 0.76), 0.16, 0.13)
    head = ellipsoid(0.185, 0.19, 0.175, around=28).at(y=-0.4, z=0.82)
    snout = ellipsoid(0.1, 0.19, 0.09).at(y=-0.6, z=0.76)
    nose = ellipsoid(0.05, 0.035, 0.04, "eye", 16).at(y=-0.785, z=0.79)
    tongue = ellipsoid(0.045, 0.07, 0.015, "pink", 14).turned("x", 25).at(y=-0.68, z=0.665)
    eyes = [ellipsoid(0.03, 0.02, 0.036, "eye", 16).at(x, -0.565, 0.88) for x in (-0.085, 0.085)]
    ears = [
        ellipsoid(0.04, 0.09, 0.19, "ear", 18).turned("y", side * -14).at(side * 0.2, -0.38, 0.79)
        for side in (-1, 1)
    ]
    legs = [_leg(x, y, 0.44, 0.075) for x in (-0.13, 0.13) for y in (-0.2, 0.36)]
    tail = tube(
        curve([(0, 0.45, 0.55), (0, 0.58, 0.66), (0, 0.62, 0.82), (0, 0.57, 0.93)], 14),
        np.linspace(0.06, 0.02, 14),
    )
    collar = tube(
        [
            (0.155 * np.cos(a), -0.29 + 0.155 * np.sin(a), 0.645 - 0.08 * np.sin(a))
            for a in np.arange(32) * np.pi / 16
        ],
        0.024,
        "dark",
        closed=True,
    )
    return [body, chest, neck, head, snout, nose, tongue, *eyes, *ears, *legs, tail, collar]


def duck() -> list[Solid]:
    body = ellipsoid(0.3, 0.44, 0.25, around=32).bent(_lift_tail).at(y=0.04, z=0.25)
    head = ellipsoid(0.2, 0.21, 0.2, around=28).at(y=-0.26, z=0.64)
    neck = cone_between((0, -0.2, 0.36), (0, -0.25, 0.6), 0.2, 0.15)
    bill = [
        ellipsoid(0.105, 0.14, 0.032, "beak", 20).turned("x", tilt).at(y=-0.49, z=z)
        for tilt, z in ((8, 0.62), (-8, 0.585))
    ]
    eyes = [ellipsoid(0.022, 0.03, 0.035, "eye", 16).at(x, -0.385, 0.7) for x in (-0.135, 0.135)]
    wings = [
        ellipsoid(0.055, 0.24, 0.13, around=22)
        .turned("x", 14)
        .turned("z", side * 6)
        .at(side * 0.29, 0.1, 0.33)
        for side in (-1, 1)
    ]
    return [body, head, neck, *bill, *eyes, *wings]


def snowman() -> list[Solid]:
    balls = [
        ellipsoid(r, r, r * 0.94, around=28).at(z=z) for r, z in ((0.36, 0.33), (0.265, 0.82), (0.19, 1.17))
    ]
    nose = cone_between((0, -0.16, 1.17), (0, -0.42, 1.14), 0.042, 0.006, "carrot")
    eyes = [ellipsoid(0.026, 0.018, 0.028, "eye", 14).at(x, -0.172, 1.235) for x in (-0.07, 0.07)]
    smile = [
        ellipsoid(0.015, 0.012, 0.015, "eye", 10).at(x, -0.163 + 0.2 * x * x, 1.06 + 2.2 * x * x)
        for x in (-0.09, -0.045, 0, 0.045, 0.09)
    ]
    buttons = [
        ellipsoid(0.032, 0.022, 0.032, "eye", 14).at(0, y, z)
        for y, z in ((-0.243, 0.92), (-0.263, 0.81), (-0.24, 0.69))
    ]
    hat = lathe(
        [
            (0, 1.3),
            (0.24, 1.3),
            (0.245, 1.315),
            (0.235, 1.335),
            (0.155, 1.34),
            (0.165, 1.58),
            (0.15, 1.595),
            (0, 1.595),
        ],
        "dark",
        36,
    )
    arms = [
        tube(
            [(side * 0.22, 0, 0.86), (side * 0.4, -0.02, 0.96), (side * 0.6, -0.04, 1.08)],
            [0.024, 0.02, 0.012],
            "bark",
            8,
        )
        for side in (-1, 1)
    ]
    twigs = [
        tube(
            [(side * 0.47, -0.03, 1.0), (side * 0.51, -0.04, 1.06), (side * 0.53, -0.05, 1.13)],
            [0.014, 0.012, 0.007],
            "bark",
            8,
        )
        for side in (-1, 1)
    ]
    return [*balls, nose, *eyes, *smile, *buttons, hat, *arms, *twigs]


def _leg(x: float, y: float, height: float, radius: float) -> Solid:
    leg = lathe(
        [(0, 0), (radius * 0.9, 0), (radius * 1.1, 0.04), (radius, 0.1), (radius * 1.1, height), (0, height)],
        around=18,
    )
    paw = ellipsoid(radius * 1.15, radius * 1.5, 0.06, around=16).at(y=-radius * 0.5, z=0.055)
    return _fuse(leg, paw).at(x, y)


def _fuse(first: Solid, second: Solid) -> Solid:
    faces = np.concatenate([first.triangles, second.triangles + len(first.vertices)])
    return Solid(np.concatenate([first.vertices, second.vertices]), faces.astype(np.int32), first.role)


def _lift_tail(points: Floats) -> Floats:
    """A duck's tail: the rear narrows and rises; the belly is flattened."""
    bent = points.copy()
    rear = np.clip(points[:, 1] / 0.44, 0, 1) ** 2
    bent[:, 2] += 0.2 * rear
    bent[:, 0] *= 1 - 0.55 * rear
    bent[:, 2] = np.maximum(bent[:, 2], -0.25 + 0.02)
    return bent
