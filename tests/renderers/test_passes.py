"""Ray-cast masks and depth against pinhole arithmetic, without Blender."""

from __future__ import annotations

import numpy as np

from renderers.passes import Passes, cast
from renderers.shapes.primitives import box, ellipsoid
from spatial.scene import Camera
from spatial.view import mask_box
from tests.renderers.scenes import camera


def lens(width: int = 64, height: int = 48) -> Camera:
    """At (0, -10, 0), looking along +y; 100 pixels of focal length."""
    rotation = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
    return Camera(width, height, 100.0, 100.0, width / 2, height / 2, rotation, (0.0, 0.0, 10.0))


def hidden(passes: Passes, index: int) -> int:
    """Pixels that the object alone would have and another thing has."""
    return int(np.count_nonzero(passes.amodal[index] & ~passes.visible(index)))


def card(x: float, y: float, half: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A square facing the camera, `half` to each side of (x, y, 0)."""
    corners = [(-half, -half), (half, -half), (half, half), (-half, half)]
    vertices = np.array([(x + a, y, b) for a, b in corners], np.float32)
    return vertices, np.array([(0, 1, 2), (0, 2, 3)], np.int32)


def test_a_square_covers_the_pixels_that_the_pinhole_says() -> None:
    # 1 m at 10 m and 100 px is 10 px: 20 x 20 pixels around the middle, plus 0.5 m to the right.
    passes = cast([card(0.5, 0.0)], [], lens())
    assert mask_box(passes.amodal[0]) == (32 + 5 - 10, 24 - 10, 32 + 5 + 10, 24 + 10)
    assert passes.visible(0).sum() == 400 and hidden(passes, 0) == 0
    assert np.allclose(passes.depth[passes.visible(0)], 10.0)
    assert np.isinf(passes.depth[~passes.visible(0)]).all()
    assert (passes.ids[~passes.visible(0)] == -1).all()


def test_the_nearer_thing_hides_the_farther_whatever_their_order() -> None:
    near, far = card(0.0, -5.0, 0.5), card(0.0, 0.0, 2.0)
    for order, (first, second) in (((0, 1), (near, far)), ((1, 0), (far, near))):
        passes = cast([first, second], [], lens())
        assert passes.visible(order[0]).sum() == 400 and hidden(passes, order[0]) == 0
        assert passes.amodal[order[1]].sum() == 1600 and hidden(passes, order[1]) == 400


def test_a_wall_hides_without_having_an_id() -> None:
    passes = cast([card(0.0, 0.0)], [card(0.0, -2.0, 50.0)], lens())
    assert (passes.ids == -1).all()
    assert passes.amodal[0].sum() == hidden(passes, 0) == 400
    assert np.allclose(passes.depth, 8.0)


def test_things_out_of_frame_or_behind_the_camera_are_not_seen() -> None:
    passes = cast([card(40.0, 0.0), card(0.0, -30.0)], [], lens())
    assert not passes.amodal.any() and (passes.ids == -1).all()


def test_a_thing_cut_by_the_frame_or_by_the_camera_plane_keeps_its_visible_part() -> None:
    assert mask_box(cast([card(3.2, 0.0)], [], lens()).amodal[0]) == (54, 14, 64, 34)
    floor = np.array([(-50, -50, -1), (50, -50, -1), (50, 50, -1), (-50, 50, -1)], np.float32)
    passes = cast([(floor, np.array([(0, 1, 2), (0, 2, 3)], np.int32))], [], lens())
    assert passes.visible(0)[30:].all() and not passes.visible(0)[:24].any()


def test_projected_vertices_lie_inside_the_mask_of_an_oblique_camera() -> None:
    eye = camera(80, 64, off=(7.0, -5.0), stretch=1.2)
    for solid in (box(1.0, 0.8, 0.6), ellipsoid(0.4, 0.6, 0.5)):
        passes = cast([(solid.vertices.astype(np.float32), solid.triangles)], [], eye)
        points = solid.vertices @ np.array(eye.rotation).T + np.array(eye.translation)
        x = eye.fx * points[:, 0] / points[:, 2] + eye.cx
        y = eye.fy * points[:, 1] / points[:, 2] + eye.cy
        left, top, right, bottom = mask_box(passes.amodal[0])
        assert abs(left - x.min()) <= 1 and abs(right - x.max()) <= 1
        assert abs(top - y.min()) <= 1 and abs(bottom - y.max()) <= 1
        assert points[:, 2].min() - 0.02 <= passes.depth.min() <= points[:, 2].min() + 0.1
