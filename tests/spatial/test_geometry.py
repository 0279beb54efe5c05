from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial import geometry
from spatial.instruction import REGIONS
from tests.spatial.conftest import Boxes, scene, thing

degrees = st.floats(-179, 179)


def test_camera_axes_are_opencvs() -> None:
    """A point to the east is to the right, a higher one further up (smaller y), a nearer one less deep."""
    camera = scene().camera
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
    pixels, depth = geometry.project(camera, points)
    assert pixels[1, 0] > pixels[0, 0]
    assert pixels[2, 1] < pixels[0, 1]
    assert depth[3] < depth[0]
    assert geometry.right_axis(camera) == pytest.approx([1, 0])
    assert geometry.away_axis(camera) == pytest.approx([0, 1])


@given(degrees, degrees)
def test_turns_add_up_and_positive_is_counterclockwise_from_above(first: float, second: float) -> None:
    pose = geometry.turned(geometry.turned(thing("mug-1", 0, 0).pose, first), second)
    expected = (first + second + 180) % 360 - 180
    assert abs((geometry.yaw(pose) - expected + 180) % 360 - 180) < 1e-6
    quarter = geometry.turned(thing("mug-1", 0, 0).pose, 90)
    assert geometry.rotation_matrix(quarter.quaternion) @ (1, 0, 0) == pytest.approx([0, 1, 0], abs=1e-9)


@given(st.floats(20, 180), st.floats(60, 150))
def test_ground_point_is_what_the_pixel_shows(x: float, y: float) -> None:
    camera = scene().camera
    spot = geometry.ground_point(camera, x, y)
    assert spot is not None
    assert geometry.project(camera, np.array([[*spot, 0.0]]))[0][0] == pytest.approx([x, y], abs=1e-6)


def test_pixels_above_the_horizon_show_no_floor() -> None:
    camera = geometry.look_at((0, -5, 1), (0, 0, 1), 100, 100, 100)
    assert geometry.ground_point(camera, 50, 20) is None


def test_silhouette_is_exact_for_a_box_seen_from_above(boxes: Boxes) -> None:
    """From straight above only the upper face shows: a rectangle whose size and middle are known."""
    camera = geometry.look_at((0, -1e-6, 10), (0, 0, 0), 300, 300, 300)
    box = thing("cube-1", 1.0, 0.5)
    outline = geometry.silhouette(box, camera, boxes)
    scale = 300 / 9.5  # pixels per metre at the upper face, which hides all below it near the middle
    assert outline.centre[0] == pytest.approx(150 + 1.0 * scale, abs=1.0)
    assert outline.area >= 0.8 * 0.6 * scale**2 * 0.98
    assert outline.box[0] == pytest.approx(150 + 0.6 * 30, abs=0.1)


def test_silhouette_behind_the_camera_is_empty(boxes: Boxes) -> None:
    outline = geometry.silhouette(thing("cube-1", 0, -9), scene().camera, boxes)
    assert outline.area == 0 and np.isnan(outline.centre).all()


def test_nearer_object_hides_the_farther_one(boxes: Boxes) -> None:
    crowd = scene(thing("cube-1", 0, 0), thing("cube-2", 0, -0.7, scale=1.4), thing("cube-3", 2, 0))
    shares = geometry.visible_fractions(crowd, boxes)
    assert shares["cube-2"] == 1.0 and shares["cube-3"] == 1.0
    assert shares["cube-1"] < 0.7


def test_out_of_frame_part_counts_as_unseen(boxes: Boxes) -> None:
    assert geometry.visible_fractions(scene(thing("cube-1", 2.9, 0)), boxes)["cube-1"] < 0.9


@pytest.mark.parametrize("region", REGIONS)
def test_middle_of_a_region_lies_in_it(region: str) -> None:
    x0, y0, x1, y1 = geometry.region_box(region, 300, 150)
    assert geometry.region_of(((x0 + x1) / 2, (y0 + y1) / 2), 300, 150) == region


def test_gap_is_between_footprints_and_ignores_what_is_above(boxes: Boxes) -> None:
    left, right = thing("cube-1", 0, 0), thing("cube-2", 1.3, 0)
    assert geometry.gap(left, right, boxes) == pytest.approx(0.5)
    above = geometry.at(right, (0, 0), geometry.top(left))
    assert geometry.gap(left, above, boxes) == float("inf")
