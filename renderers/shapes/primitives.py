"""Solids in numpy: closed surfaces swept, turned and rounded, to be joined into a `Mesh`.

Lengths are metres at toy scale, z is up, the front looks towards -y. Whatever the order in which points are
given, a `Solid` is oriented outwards: its signed volume is made positive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spatial.scene import Floats, Mesh

TAU = 2 * np.pi
Ints = NDArray[np.int32]
Bend = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """A closed surface of one role. vertices: (V, 3) float64, metres. triangles: (F, 3) int32, outwards."""

    vertices: Floats
    triangles: Ints
    role: str = "body"
    smooth: bool = True

    def of(self, role: str) -> Solid:
        return replace(self, role=role)

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        return replace(self, vertices=self.vertices + np.array([x, y, z]))

    def bent(self, bend: Bend) -> Solid:
        """Every vertex mapped by `bend`, (V, 3) to (V, 3)."""
        return _oriented(bend(self.vertices), self.triangles, self.role, self.smooth)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Solid:
        return self.bent(lambda points: points * np.array([x, y, z]))

    def turned(self, axis: str, degrees: float) -> Solid:
        """Turned about "x", "y" or "z" through the origin, counterclockwise seen from the axis' tip."""
        first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        points = self.vertices.copy()
        points[:, first] = cosine * self.vertices[:, first] - sine * self.vertices[:, second]
        points[:, second] = sine * self.vertices[:, first] + cosine * self.vertices[:, second]
        return replace(self, vertices=points)


def loft(rings: ArrayLike, role: str = "body", smooth: bool = True, closed: bool = False) -> Solid:
    """The skin over rings of points, (R, N, 3): caps at both ends, or with `closed` the last joined to the
    first.

    A cap is a fan around the ring's middle, so rings must be star-shaped; a ring may shrink to a point.
    """
    points = np.asarray(rings, np.float64)
    count, around = points.shape[:2]
    index = np.arange(count * around).reshape(count, around)
    lower, upper = (index, np.roll(index, -1, axis=0)) if closed else (index[:-1], index[1:])
    lower_next, upper_next = np.roll(lower, -1, axis=1), np.roll(upper, -1, axis=1)
    quads = [np.stack([lower, lower_next, upper_next], -1), np.stack([lower, upper_next, upper], -1)]
    faces = [quad.reshape(-1, 3) for quad in quads]
    vertices = points.reshape(-1, 3)
    if not closed:
        middles = points[[0, -1]].mean(axis=1)
        vertices = np.concatenate([vertices, middles])
        bottom, top = count * around, count * around + 1
        first, last = index[0], index[-1]
        faces.append(np.stack([np.roll(first, -1), first, np.full(around, bottom)], -1))
        faces.append(np.stack([last, np.roll(last, -1), np.full(around, top)], -1))
    return _oriented(vertices, np.concatenate(faces), role, smooth)


def lathe(profile: ArrayLike, role: str = "body", around: int = 40, smooth: bool = True) -> Solid:
    """The profile, (P, 2) of (radius, z), turned about z; it begins and ends on the axis."""
    outline = np.asarray(profile, np.float64)
    angles = np.arange(around) * TAU / around
    circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(around)], -1)
    rings = circle[None] * outline[:, :1, None] + np.array([0, 0, 1.0]) * outline[:, 1:, None]
    return loft(rings, role, smooth)


def hoop(profile: ArrayLike, role: str = "body", around: int = 40) -> Solid:
    """A closed profile, (P, 2) of (radius, z) away from the axis, turned about z."""
    outline = np.asarray(profile, np.float64)
    angles = np.arange(around) * TAU / around
    ways = np.stack([np.cos(angles), np.sin(angles), np.zeros(around)], -1)
    rings = ways[:, None] * outline[None, :, :1] + np.array([0, 0, 1.0]) * outline[None, :, 1:]
    return loft(rings, role, closed=True)


def ellipsoid(x: float, y: float, z: float, role: str = "body", around: int = 18) -> Solid:
    """Half axes in metres; its middle is the origin."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, around // 2 + 1)
    profile = np.stack([np.cos(angles), np.sin(angles)], -1)
    profile[[0, -1], 0] = 0.0
    return lathe(profile, role, around).scaled(x, y, z)


def box(x: float, y: float, z: float, role: str = "body", bevel: float = 0.015, steps: int = 2) -> Solid:
    """Full extents in metres, edges rounded by `bevel` in `steps`; the middle of its base is the origin."""
    # A grid on each face of a cube, pushed onto a sphere of the bevel's radius around the nearest inner
    # corner.
    arc = np.maximum(np.sin(np.linspace(0, np.pi / 2, steps)), 1e-6)  # not 0: the sign tells the corner
    line = np.concatenate([-arc[::-1], arc])
    side = len(line)
    u, v = (axis.ravel() for axis in np.meshgrid(line, line, indexing="ij"))
    corner = np.arange(side * side).reshape(side, side)[:-1, :-1].ravel()
    quad = np.stack(
        [corner, corner + side, corner + side + 1, corner, corner + side + 1, corner + 1], -1
    ).reshape(-1, 3)
    points: list[Floats] = []
    faces = []
    for axis in range(3):
        for sign in (1, -1):
            faces.append(quad[:, ::sign] + len(points) * side * side)
            points.append(np.roll(np.stack([u, v, np.full_like(u, sign)], -1), axis, axis=1))
    cube = np.concatenate(points)
    half = np.array([x, y, z]) / 2
    radius = min(bevel, 0.99 * half.min())
    rounded = np.sign(cube) * (half - radius) + radius * cube / np.linalg.norm(cube, axis=1, keepdims=True)
    return _oriented(rounded + np.array([0, 0, half[2]]), np.concatenate(faces), role, True)


def tube(
    path: ArrayLike,
    radius: ArrayLike,
    role: str = "body",
    around: int = 12,
    closed: bool = False,
) -> Solid:
    """A tube along points, (P, 3), with one radius or one for each point; round ends come from small
    radii."""
    points = np.asarray(path, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(points))
    ahead = np.roll(points, -1, 0) - np.roll(points, 1, 0) if closed else np.gradient(points, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    side = np.cross(ahead[0], [0.0, 0.0, 1.0] if abs(ahead[0][2]) < 0.9 else [1.0, 0.0, 0.0])
    angles = np.arange(around) * TAU / around
    rings = []
    for point, direction, width in zip(points, ahead, radii, strict=True):
        side = side - direction * (side @ direction)  # carried along without twist
        side /= np.linalg.norm(side)
        up = np.cross(direction, side)
        rings.append(point + width * (np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * up))
    return loft(rings, role, closed=closed)


def cone_between(
    start: Sequence[float], end: Sequence[float], first: float, last: float, role: str = "body"
) -> Solid:
    """A straight tapering tube from one point to another."""
    middle = np.add(start, end) / 2
    return tube([tuple(start), tuple(middle), tuple(end)], [first, (first + last) / 2, last], role, around=18)


def prism(outline: ArrayLike, thickness: float, role: str = "body", smooth: bool = False) -> Solid:
    """A star-shaped outline, (N, 2) of (y, z), extruded along x and centred on x = 0."""
    flat = np.asarray(outline, np.float64)
    sides = [np.full((len(flat), 1), x) for x in (-thickness / 2, thickness / 2)]
    return loft([np.concatenate([x, flat], axis=1) for x in sides], role, smooth)


def cylinder(
    radius: float, height: float, role: str = "body", around: int = 32, bevel: float = 0.01
) -> Solid:
    """The middle of its base is the origin; its rims are rounded by `bevel`."""
    return lathe(
        [
            (0, 0),
            (radius - bevel, 0),
            (radius, bevel),
            (radius, height - bevel),
            (radius - bevel, height),
            (0, height),
        ],
        role,
        around,
    )


def curve(points: ArrayLike, count: int = 16) -> Floats:
    """A smooth curve through the points, (P, D) to (count, D): Catmull and Rom's spline."""
    knots = np.asarray(points, np.float64)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    at = np.linspace(0, len(knots) - 1, count)
    segment = np.minimum(at.astype(int), len(knots) - 2)
    t = (at - segment)[:, None]
    a, b, c, d = (padded[segment + offset] for offset in range(4))
    spline: Floats = b + t * (
        (c - a) / 2 + t * (a - 2.5 * b + 2 * c - d / 2 + t * (1.5 * (b - c) + (d - a) / 2))
    )
    return spline


def extents(solids: Iterable[Solid]) -> Floats:
    """(3,) metres: the size of everything together."""
    points = np.concatenate([solid.vertices for solid in solids])
    size: Floats = points.max(axis=0) - points.min(axis=0)
    return size


def join(solids: Sequence[Solid]) -> Mesh:
    """One mesh in the unit box; it touches all six sides."""
    points = np.concatenate([solid.vertices for solid in solids])
    low, high = points.min(axis=0), points.max(axis=0)
    unit = (points - low) / (high - low) - np.array([0.5, 0.5, 0.0])
    roles = tuple(dict.fromkeys(solid.role for solid in solids))
    starts = np.cumsum([0, *(len(solid.vertices) for solid in solids[:-1])])
    counts = [len(solid.triangles) for solid in solids]
    return Mesh(
        vertices=unit.astype(np.float32),
        triangles=np.concatenate([s.triangles + at for s, at in zip(solids, starts)]).astype(np.int32),
        parts=np.repeat([roles.index(solid.role) for solid in solids], counts).astype(np.uint8),
        roles=roles,
        smooth=np.repeat([solid.smooth for solid in solids], counts),
    )


def volume(vertices: Floats, triangles: Ints) -> float:
    """Signed volume, cubic metres: positive where triangles run counterclockwise seen from outside."""
    a, b, c = (vertices[triangles[:, corner]].astype(np.float64) for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _oriented(vertices: Floats, triangles: NDArray[np.integer], role: str, smooth: bool) -> Solid:
    """Equal points become one, triangles without area go, and the rest face outwards."""
    _, first, same = np.unique(np.round(vertices, 7), axis=0, return_index=True, return_inverse=True)
    faces = same.reshape(-1)[triangles].astype(np.int32)
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    points = vertices[first]
    if volume(points - points.mean(axis=0), faces) < 0:
        faces = faces[:, ::-1]
    return Solid(points, np.ascontiguousarray(faces), role, smooth)
