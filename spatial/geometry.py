"""Geometry between world and image: projection, silhouettes, footprints.

Frames and units are those of `spatial.scene`. Image positions are pixels; "ground" positions are (x, y) in
metres; the viewer's ground axes are `right` (image x) and `away` (from the camera, along the floor).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.transform import Rotation

from spatial.scene import Camera, Floats, Pose, Quaternion, Scene, SceneObject, Shapes, SpatialError, Vec3

Mask = NDArray[np.bool_]
_SUPERSAMPLE = 2  # silhouettes are drawn on a grid this much finer: centroids good to 0.05 pixel
_SHIFT = 6  # fractional bits that OpenCV's polygon filler takes


def rotation_matrix(quaternion: Quaternion) -> Floats:
    """(3, 3) from wxyz."""
    return Rotation.from_quat(quaternion, scalar_first=True).as_matrix()


def quaternion(matrix: Floats) -> Quaternion:
    """wxyz with w >= 0 from a (3, 3) rotation."""
    return cast(Quaternion, tuple(map(float, Rotation.from_matrix(matrix).as_quat(True, scalar_first=True))))


def turned(pose: Pose, degrees: float) -> Pose:
    """The pose turned about world z through the middle of its base; positive is counterclockwise from above."""
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return replace(pose, quaternion=quaternion(turn @ rotation_matrix(pose.quaternion)))


def yaw(pose: Pose) -> float:
    """Degrees about world z in (-180, 180], of the object's own x axis."""
    x_axis = rotation_matrix(pose.quaternion)[:, 0]
    return float(np.degrees(np.arctan2(x_axis[1], x_axis[0])))


def front(thing: SceneObject) -> Floats:
    """(2,) unit vector on the ground: where the object's front (-y of its own) points."""
    ahead = -rotation_matrix(thing.pose.quaternion)[:2, 1]
    return np.asarray(ahead / max(float(np.linalg.norm(ahead)), 1e-9))


def at(thing: SceneObject, spot: Sequence[float] | Floats, height: float | None = None) -> SceneObject:
    """The object moved to ground position `spot` (x, y), and to `height` where given; metres."""
    z = thing.pose.position[2] if height is None else height
    return replace(thing, pose=replace(thing.pose, position=(float(spot[0]), float(spot[1]), float(z))))


# --- the camera ---------------------------------------------------------------------------------------------


def look_at(
    eye: Vec3, target: Vec3, width: int, height: int, focal: float, *, up: Vec3 = (0.0, 0.0, 1.0)
) -> Camera:
    """A level camera at `eye` (metres) that looks at `target`; focal in pixels; principal point in the middle."""
    forward = np.subtract(target, eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return _camera(width, height, focal, focal, width / 2, height / 2, rotation, np.asarray(eye, float))


def with_view(camera: Camera, rotation: Floats, eye: Floats) -> Camera:
    """The same lens turned to `rotation` (3, 3), world to camera, and moved to `eye` (3,)."""
    return _camera(
        camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, rotation, eye
    )  # fmt: skip


def _camera(
    width: int, height: int, fx: float, fy: float, cx: float, cy: float, rotation: Floats, eye: Floats
) -> Camera:
    rows = tuple(tuple(float(v) for v in row) for row in rotation)
    shift = tuple(float(v) for v in -(rotation @ eye))
    return Camera(
        width, height, float(fx), float(fy), float(cx), float(cy),
        cast(tuple[Vec3, Vec3, Vec3], rows), cast(Vec3, shift),
    )  # fmt: skip


def camera_rotation(camera: Camera) -> Floats:
    """(3, 3), world to camera."""
    return np.asarray(camera.rotation, float)


def camera_eye(camera: Camera) -> Floats:
    """(3,) position in the world, metres."""
    return np.asarray(-camera_rotation(camera).T @ np.asarray(camera.translation, float))


def right_axis(camera: Camera) -> Floats:
    """(2,) unit vector on the ground along image x."""
    axis = camera_rotation(camera)[0, :2]
    return np.asarray(axis / np.linalg.norm(axis))


def away_axis(camera: Camera) -> Floats:
    """(2,) unit vector on the ground, away from the viewer: perpendicular to `right_axis`."""
    x, y = right_axis(camera)
    axis = np.array([-y, x])
    return axis if axis @ camera_rotation(camera)[2, :2] >= 0 else -axis


def project(camera: Camera, points: Floats) -> tuple[Floats, Floats]:
    """(N, 3) world points to (N, 2) pixels and (N,) depths in metres along the camera's z."""
    local = points @ camera_rotation(camera).T + np.asarray(camera.translation, float)
    depth = local[:, 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)[:, None]
    pixels = local[:, :2] / safe * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    return pixels, depth


def depth_of(thing: SceneObject, camera: Camera) -> float:
    """Metres along the camera's z of the middle of the object's base."""
    return float(project(camera, np.array([thing.pose.position]))[1][0])


def ground_point(camera: Camera, x: float, y: float, z: float = 0.0) -> Floats | None:
    """(2,) where the ray through pixel (x, y) meets the plane of height z; None where it does not."""
    ray = camera_rotation(camera).T @ np.array(
        [(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1.0]
    )
    eye = camera_eye(camera)
    if abs(ray[2]) < 1e-9 or (z - eye[2]) / ray[2] <= 0:
        return None
    return np.asarray((eye + (z - eye[2]) / ray[2] * ray)[:2])


# --- objects in the image -----------------------------------------------------------------------------------


def world_vertices(thing: SceneObject, shapes: Shapes) -> Floats:
    """(V, 3) metres."""
    local = shapes.mesh(thing.asset).vertices.astype(float)
    if thing.mirrored:
        local = local * (-1.0, 1.0, 1.0)
    pose = thing.pose
    moved = (local * pose.size) @ rotation_matrix(pose.quaternion).T + pose.position
    return np.asarray(moved)


@dataclass(frozen=True, slots=True, eq=False)
class Silhouette:
    """An object drawn alone. Its mask covers the fine grid from `corner` (x, y) on; all figures in pixels.

    centre: (2,) centroid of the mask. box: xyxy of the projected vertices, *not* cut at the frame.
    area: pixels. depth: metres, of the base's middle.
    """

    mask: Mask
    corner: tuple[int, int]
    centre: Floats
    box: tuple[float, float, float, float]
    area: float
    depth: float


_INVISIBLE = (1e9, 1e9, -1e9, -1e9)


def silhouette(thing: SceneObject, camera: Camera, shapes: Shapes) -> Silhouette:
    """The object's amodal outline, not cut at the frame. An object behind the camera has an empty one."""
    return _silhouette(thing, camera, shapes)


def outline_box(thing: SceneObject, camera: Camera, shapes: Shapes) -> tuple[float, float, float, float]:
    """The box of its `silhouette`, without drawing that: what can be ruled out by it is ruled out cheaply."""
    return _box(camera, *project(camera, world_vertices(thing, shapes)))


def _box(camera: Camera, pixels: Floats, depth: Floats) -> tuple[float, float, float, float]:
    if depth.min() < 0.05:
        return _INVISIBLE
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if np.any(high - low > 4 * max(camera.width, camera.height)):
        return _INVISIBLE
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


@lru_cache(maxsize=512)
def _silhouette(thing: SceneObject, camera: Camera, shapes: Shapes) -> Silhouette:
    pixels, depth = project(camera, world_vertices(thing, shapes))
    base = depth_of(thing, camera)
    empty = Silhouette(np.zeros((1, 1), bool), (0, 0), np.full(2, np.nan), _INVISIBLE, 0.0, base)
    box = _box(camera, pixels, depth)
    if box == _INVISIBLE:
        return empty
    low, high = np.array(box[:2]), np.array(box[2:])
    corner = np.floor(low).astype(int) - 1
    shape = np.ceil((high - corner + 2) * _SUPERSAMPLE).astype(int)
    canvas = np.zeros((shape[1], shape[0]), np.uint8)
    # OpenCV puts a pixel's middle at whole numbers; ours is at one half.
    fine = np.rint(((pixels - corner) * _SUPERSAMPLE - 0.5) * (1 << _SHIFT)).astype(np.int32)
    for triangle in _drawn(thing, fine, shapes):
        cv2.fillConvexPoly(canvas, triangle, 1, lineType=cv2.LINE_8, shift=_SHIFT)
    mask = canvas.astype(bool)
    moments = cv2.moments(canvas, binaryImage=True)
    if moments["m00"] == 0:
        return empty
    middle = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    centre = (middle + 0.5) / _SUPERSAMPLE + corner
    area = moments["m00"] / _SUPERSAMPLE**2
    return Silhouette(mask, (int(corner[0]), int(corner[1])), centre, box, area, base)


def _drawn(thing: SceneObject, points: NDArray[np.int32], shapes: Shapes) -> NDArray[np.int32]:
    """(F', 3, 2): the triangles that an outline needs. Of a closed surface those facing one way cover it."""
    corners = points[shapes.mesh(thing.asset).triangles]
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge1[:, 0].astype(np.int64) * edge2[:, 1] - edge1[:, 1].astype(np.int64) * edge2[:, 0]
    return corners[area > 0] if _closed(thing.asset, shapes) else corners[area != 0]


@lru_cache(maxsize=4096)
def _closed(asset: str, shapes: Shapes) -> bool:
    """Whether every edge of the mesh is run through once each way."""
    triangles = shapes.mesh(asset).triangles.astype(np.int64)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    number = int(triangles.max()) + 1
    forth = edges[:, 0] * number + edges[:, 1]
    back = edges[:, 1] * number + edges[:, 0]
    return len(np.unique(forth)) == len(forth) and bool(np.array_equal(np.sort(forth), np.sort(back)))


def centre(thing: SceneObject, camera: Camera, shapes: Shapes) -> Floats:
    """(2,) pixels: the centroid of the amodal mask. NaN where the object is not before the camera."""
    return silhouette(thing, camera, shapes).centre


def visible_fractions(scene: Scene, shapes: Shapes) -> dict[str, float]:
    """Share of each object's outline that is in frame and not covered by nearer objects.

    Nearer is judged by the base's depth, or by standing on the other: an estimate for sampling; the
    renderer's masks have the last word.
    """
    height, width = scene.camera.height * _SUPERSAMPLE, scene.camera.width * _SUPERSAMPLE
    covered = np.zeros((height, width), bool)
    order = sorted(scene.objects, key=lambda o: silhouette(o, scene.camera, shapes).depth)
    fractions = {}
    for thing in order:
        outline = silhouette(thing, scene.camera, shapes)
        x0, y0 = (c * _SUPERSAMPLE for c in outline.corner)
        rows, columns = outline.mask.shape
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + columns, width), min(y0 + rows, height)
        total = int(outline.mask.sum())
        if left >= right or top >= bottom or not total:
            fractions[thing.id] = 0.0
            continue
        part = outline.mask[top - y0 : bottom - y0, left - x0 : right - x0]
        window = covered[top:bottom, left:right]
        fractions[thing.id] = float((part & ~window).sum()) / total
        window |= part
    return fractions


def in_frame(box: tuple[float, float, float, float], camera: Camera, margin: float = 0.0) -> bool:
    """Whether a box (xyxy, pixels) lies inside the frame with `margin` pixels to spare."""
    x0, y0, x1, y1 = box
    return (
        x0 >= margin and y0 >= margin and x1 <= camera.width - margin and y1 <= camera.height - margin
    )  # fmt: skip


def region_box(region: str, width: int, height: int) -> tuple[float, float, float, float]:
    """xyxy in pixels of a cell of the 3 x 3 grid."""
    column = 0 if region.endswith("left") else 2 if region.endswith("right") else 1
    row = 0 if region.startswith("upper") else 2 if region.startswith("lower") else 1
    return (column * width / 3, row * height / 3, (column + 1) * width / 3, (row + 1) * height / 3)


def region_of(point: Sequence[float] | Floats, width: int, height: int) -> str:
    """The cell of the 3 x 3 grid that pixel position `point` (x, y) lies in."""
    x, y = point
    row = ("upper", "", "lower")[min(max(int(3 * y // height), 0), 2)]
    column = ("left", "", "right")[min(max(int(3 * x // width), 0), 2)]
    return "-".join(filter(None, (row, column))) or "centre"


# --- objects on the floor -----------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def footprint(thing: SceneObject, shapes: Shapes) -> shapely.Polygon:
    """Convex outline on the ground, metres."""
    corners = world_vertices(thing, shapes)[_outermost(thing.asset, shapes), :2]
    hull = shapely.MultiPoint(corners).convex_hull
    if not isinstance(hull, shapely.Polygon):
        raise SpatialError("flat_asset", f"{thing.asset} has no extent on the floor")
    return hull


@lru_cache(maxsize=4096)
def _outermost(asset: str, shapes: Shapes) -> NDArray[np.intp]:
    """Indices of the vertices on the mesh's convex hull: few, and no other can be on a footprint."""
    vertices = shapes.mesh(asset).vertices.astype(float)
    try:
        return np.sort(ConvexHull(vertices).vertices)
    except QhullError:  # a flat mesh has no hull in space
        return np.arange(len(vertices))


def gap(a: SceneObject, b: SceneObject, shapes: Shapes) -> float:
    """Metres between two objects seen from above; 0 where they overlap; infinite where one is above the other."""
    low_a, low_b = a.pose.position[2], b.pose.position[2]
    if low_a >= low_b + b.pose.size[2] - 1e-6 or low_b >= low_a + a.pose.size[2] - 1e-6:
        return float("inf")
    return float(shapely.distance(footprint(a, shapes), footprint(b, shapes)))


def top(thing: SceneObject) -> float:
    """Height of the object's upper face, metres."""
    return thing.pose.position[2] + thing.pose.size[2]
