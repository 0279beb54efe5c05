"""Furniture: tables, chairs, lamps."""

from __future__ import annotations

from renderers.shapes.primitives import Solid, box, cylinder, ellipsoid, hoop, lathe, tube


def table() -> list[Solid]:
    top = box(1.3, 0.9, 0.07, bevel=0.025).at(z=0.68)
    legs = [_leg(0.045, 0.03, 0.69).at(x, y) for x in (-0.56, 0.56) for y in (-0.36, 0.36)]
    rails = [box(1.1, 0.03, 0.09).at(y=y, z=0.595) for y in (-0.36, 0.36)]
    ends = [box(0.03, 0.7, 0.09).at(x=x, z=0.595) for x in (-0.56, 0.56)]
    return [top, *legs, *rails, *ends]


def chair() -> list[Solid]:
    seat = box(0.58, 0.56, 0.07, bevel=0.025).at(z=0.46)
    front = [_leg(0.036, 0.026, 0.47).at(x, -0.23) for x in (-0.24, 0.24)]
    posts = [
        tube([(x, 0.24, 0), (x, 0.24, 0.48), (x, 0.27, 0.75), (x, 0.32, 1.12)], 0.034) for x in (-0.24, 0.24)
    ]
    top = box(0.54, 0.05, 0.17, bevel=0.022).turned("x", -7).at(y=0.305, z=0.93)
    slats = [
        box(0.055, 0.032, 0.48, bevel=0.012).turned("x", -7).at(x=x, y=0.255, z=0.5) for x in (-0.13, 0, 0.13)
    ]
    rungs = [tube([(x, -0.23, 0.2), (x, 0.0, 0.2), (x, 0.24, 0.2)], 0.018) for x in (-0.24, 0.24)]
    return [seat, *front, *posts, top, *slats, *rungs]


def lamp() -> list[Solid]:
    foot = lathe([(0, 0), (0.22, 0), (0.24, 0.02), (0.23, 0.045), (0.06, 0.08), (0.035, 0.12), (0, 0.12)])
    stem = cylinder(0.026, 0.55, "steel", around=16).at(z=0.1)
    knot = ellipsoid(0.06, 0.06, 0.06).at(z=0.36)
    shade = hoop([(0.365, 0.56), (0.385, 0.56), (0.215, 0.98), (0.195, 0.98)])
    bulb = ellipsoid(0.1, 0.1, 0.13, "lamp").at(z=0.74)
    spokes = [box(0.4, 0.014, 0.012, "steel", bevel=0.004).turned("z", turn).at(z=0.95) for turn in (0, 90)]
    finial = ellipsoid(0.025, 0.025, 0.035, "steel").at(z=0.98)
    return [foot, stem, knot, shade, bulb, *spokes, finial]


def _leg(top: float, bottom: float, height: float) -> Solid:
    return lathe([(0, 0), (bottom, 0), (top, height), (0, height)], around=16)
