"""The reader: what it makes of a heatmap, its angles, its units, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from filters.reader import CONFIG, WEIGHTS, Reader, mirrored_yaw, seen_yaw, write_config
from filters.reader_net import POINTS, ReaderConfig, ReaderNet, cell_middles, distinct, peaks, sampled
from renderers.shapes import ProceduralShapes
from spatial import geometry
from spatial.scene import Camera, Pose, SceneObject

TINY = ReaderConfig(
    kinds=("ball", "mug", "car"),
    colors=("red", "blue"),
    materials=("matte", "wood"),
    turnable=("mug", "car"),
    lopsided=("mug",),
    size=64,
    widths=(8, 8, 16, 16),
    neck=16,
    crop=(8, 8, 8),
    hidden=32,
    threshold=0.0,
)


def weights_folder(folder: Path, config: ReaderConfig = TINY) -> Path:
    torch.manual_seed(0)
    save_file(ReaderNet(config).state_dict(), folder / WEIGHTS)
    (folder / CONFIG).write_bytes(write_config(config))
    return folder


def pictures(number: int, size: int = 64) -> np.ndarray:
    """Smooth, so that they are the same at another size."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (number, 4, 4, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_CUBIC) for one in small])


# --- from a heatmap to things -------------------------------------------------------------------------------


def test_each_peak_of_a_heatmap_is_one_thing_with_its_cells_box():
    heat = torch.full((2, 16, 16), -9.0)
    heat[0, 3, 4], heat[0, 3, 5], heat[0, 2, 4] = 2.0, 1.9, 1.0  # a peak and its shoulders
    heat[0, 3, 7] = 1.0  # another thing, three cells off
    heat[0, 12, 12] = -1.5  # 0.18: too low
    heat[1, 15, 0] = 0.5  # in a corner
    boxes = torch.arange(2 * 16 * 16 * 4).reshape(2, 16, 16, 4).float()
    found = peaks(heat, boxes, threshold=0.3)
    assert found.picture.tolist() == [0, 0, 1]
    assert torch.allclose(found.score, torch.tensor([2.0, 1.0, 0.5]).sigmoid())
    assert torch.equal(found.boxes, torch.stack([boxes[0, 3, 4], boxes[0, 3, 7], boxes[1, 15, 0]]))


def test_a_flat_heatmap_below_the_threshold_holds_nothing():
    assert len(peaks(torch.full((3, 8, 8), -5.0), torch.zeros(3, 8, 8, 4), 0.3).picture) == 0


def test_a_thing_seen_twice_counts_once_but_not_across_pictures():
    box, shifted, other = [10.0, 10, 30, 30], [11.0, 10, 31, 30], [28.0, 10, 48, 30]
    boxes = torch.tensor([shifted, box, other, box])
    keep = distinct(boxes, torch.tensor([0.5, 0.9, 0.4, 0.3]), torch.tensor([0, 0, 0, 1]), 0.6)
    assert keep.tolist() == [False, True, True, True]


def test_what_repeats_a_dropped_box_alone_stays():
    chain = torch.tensor([[0.0, 0, 10, 10], [2.0, 0, 12, 10], [4.0, 0, 14, 10]])
    keep = distinct(chain, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64), 0.6)
    assert keep.tolist() == [True, False, True]


def test_points_are_sampled_from_the_boxes_own_picture_wherever_it_stands_in_the_list():
    ramp = torch.stack([cell_middles(16)[..., 0], cell_middles(16)[..., 1]])  # x and y in pixels
    features = torch.stack([ramp, ramp + 1000, ramp + 2000])
    boxes = torch.tensor([[12.0, 20, 32, 40], [20.0, 8, 50, 28], [12.0, 20, 32, 40]])
    taken = sampled(features, boxes / 64, torch.tensor([2, 0, 0]), POINTS)
    middle = taken.mean(dim=(2, 3))
    assert torch.allclose(middle, torch.tensor([[2022.0, 2030], [35.0, 18], [22.0, 30]]), atol=1e-2)
    assert taken.shape == (3, 2, POINTS, POINTS)
    assert torch.allclose(taken[1, 0, 0], torch.linspace(17, 53, POINTS), atol=1e-3)  # x runs along rows


# --- both sides alike ---------------------------------------------------------------------------------------


def test_a_picture_and_its_mirror_image_are_read_alike(tmp_path):
    reader = Reader.load(weights_folder(tmp_path))
    images = pictures(4)
    whole, mirrored = reader.read(images), reader.read(np.ascontiguousarray(images[:, :, ::-1]))
    assert any(whole)
    for seen, other in zip(whole, mirrored, strict=True):
        # Of two peaks of the same height either may come first.
        seen, other = (
            sorted(row, key=lambda s: (-round(s.confidence, 4), s.box[1])) for row in (seen, other)
        )
        assert len(seen) == len(other)
        for one, two in zip(seen, other, strict=True):
            x0, y0, x1, y1 = one.box
            assert two.box == pytest.approx((64 - x1, y0, 64 - x0, y1), abs=1e-2)
            assert two.centre == pytest.approx((64 - one.centre[0], one.centre[1]), abs=1e-2)
            assert (two.kind, two.color, two.material) == (one.kind, one.color, one.material)
            assert two.material_confidence == pytest.approx(one.material_confidence, abs=1e-3)
            if one.yaw is not None and one.yaw_confidence > 0.01:
                off = two.yaw - mirrored_yaw(one.yaw, one.kind == "mug")
                assert (off + 180) % 360 - 180 == pytest.approx(0, abs=1)


# --- angles -------------------------------------------------------------------------------------------------


def camera(heading: float) -> Camera:
    """Looks at the origin from 4 m off, level with 1.5 m; heading 0 looks along +y."""
    eye = (4 * math.sin(math.radians(heading)), -4 * math.cos(math.radians(heading)), 1.5)
    return geometry.look_at(eye, (0.0, 0.0, 0.3), 128, 128, 150.0)


def thing(noun: str, yaw: float) -> SceneObject:
    """With its front `yaw` degrees counterclockwise from +y, the heading of camera(0)."""
    size = ProceduralShapes().size(noun)
    return SceneObject("a", noun, noun, geometry.turned(Pose((0, 0, 0), size=size), yaw + 180))


@pytest.mark.parametrize("heading", [0.0, 25.0, -140.0])
@pytest.mark.parametrize("yaw", [0.0, 90.0, 180.0, -90.0, 37.0, -155.0])
def test_yaw_is_counterclockwise_from_where_the_camera_looks(yaw, heading):
    """heading turns the camera counterclockwise about the scene, and the thing with it."""
    turned = replace(thing("car", yaw), pose=geometry.turned(thing("car", yaw).pose, heading))
    assert (seen_yaw(turned, camera(heading)) - yaw) % 360 == pytest.approx(0, abs=1e-6) or (
        seen_yaw(turned, camera(heading)) - yaw
    ) % 360 == pytest.approx(360, abs=1e-6)


def test_a_thing_that_faces_the_pictures_left_has_yaw_90():
    left = thing("car", 90.0)
    assert geometry.front(left) @ geometry.right_axis(camera(0)) == pytest.approx(-1)


@pytest.mark.parametrize(("noun", "lopsided"), [("car", False), ("chair", False), ("mug", True)])
@pytest.mark.parametrize("yaw", [0.0, 35.0, 90.0, -110.0, 180.0])
def test_the_flipped_outline_is_that_of_the_mirrored_yaw(noun, lopsided, yaw):
    shapes, view = ProceduralShapes(), camera(0)

    def drawn(angle: float) -> np.ndarray:
        seen = geometry.silhouette(thing(noun, angle), view, shapes)
        canvas = np.zeros((512, 512), bool)
        (x, y), (h, w) = (2 * c for c in seen.corner), seen.mask.shape
        canvas[y : y + h, x : x + w] = seen.mask
        return canvas[:256, :256]

    flipped, said = drawn(yaw)[:, ::-1], drawn(mirrored_yaw(yaw, lopsided))
    assert (flipped & said).sum() / (flipped | said).sum() > 0.96


def test_mirrored_yaws_stay_in_range():
    assert mirrored_yaw(180.0, False) == 180.0
    assert mirrored_yaw(-170.0, True) == -10.0
    assert mirrored_yaw(0.0, True) == 180.0


# --- reading ------------------------------------------------------------------------------------------------


def test_boxes_come_back_in_the_pictures_own_pixels(tmp_path):
    reader = Reader.load(weights_folder(tmp_path))
    own, twice = reader.read(pictures(2)), reader.read(pictures(2, 128))
    best, larger = own[0][0], twice[0][0]
    assert np.allclose(np.array(larger.box), 2 * np.array(best.box), atol=1.5)
    assert np.allclose(np.array(larger.centre), 2 * np.array(best.centre), atol=1.5)


def test_a_picture_reads_the_same_alone_and_in_a_batch(tmp_path):
    reader = Reader.load(weights_folder(tmp_path))
    images = pictures(3)
    for number, together in enumerate(reader.read(images)):
        (alone,) = reader.read(images[number : number + 1])
        assert [s.kind for s in alone] == [s.kind for s in together]
        assert np.allclose([s.box for s in alone], [s.box for s in together], atol=1e-3)


def test_sightings_are_sorted_and_in_range_and_only_turnable_kinds_have_a_yaw(tmp_path):
    seen = [s for row in Reader.load(weights_folder(tmp_path)).read(pictures(8)) for s in row]
    assert seen
    for sighting in seen:
        assert (sighting.yaw is None) == (sighting.yaw_confidence is None) == (sighting.kind == "ball")
        confidences = (sighting.confidence, sighting.kind_confidence, sighting.color_confidence)
        assert all(0 <= value <= 1 for value in confidences)
        assert all(0 <= value <= 64 for value in sighting.box)
    for row in Reader.load(tmp_path).read(pictures(8)):
        assert [s.confidence for s in row] == sorted((s.confidence for s in row), reverse=True)


def test_no_pictures_give_no_rows(tmp_path):
    assert Reader.load(weights_folder(tmp_path)).read(np.zeros((0, 64, 64, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("images", "word"),
    [
        (np.zeros((64, 64, 3), np.uint8), r"\(64, 64, 3\)"),
        (np.zeros((1, 64, 32, 3), np.uint8), "square"),
        (np.zeros((1, 64, 64, 4), np.uint8), r"\(1, 64, 64, 4\)"),
        (np.full((1, 64, 64, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused_by_name(tmp_path, images, word):
    with pytest.raises(ValueError, match=word):
        Reader.load(weights_folder(tmp_path)).read(images)


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_missing_files_say_how_to_make_them(tmp_path, missing):
    (weights_folder(tmp_path) / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{missing}.*reader-train"):
        Reader.load(tmp_path)


def test_broken_weights_are_refused(tmp_path):
    folder = weights_folder(tmp_path)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Reader.load(folder)
    state = ReaderNet(TINY).state_dict()
    state["say.bias"][1] = torch.nan
    save_file(state, folder / WEIGHTS)
    with pytest.raises(ValueError, match=r"NaN.*say\.bias"):
        Reader.load(folder)


def test_weights_of_another_configuration_are_refused(tmp_path):
    folder = weights_folder(tmp_path)
    (folder / CONFIG).write_bytes(write_config(replace(TINY, kinds=("ball", "mug", "car", "cat"))))
    with pytest.raises(ValueError, match=r"does not fit config\.json"):
        Reader.load(folder)


@pytest.mark.parametrize(
    "text", ["{", "{}", write_config(TINY).decode().replace('"neck": 16', '"neck": "wide"')]
)
def test_a_wrong_configuration_is_refused(tmp_path, text):
    (weights_folder(tmp_path) / CONFIG).write_text(text)
    with pytest.raises(ValueError, match="not a reader's configuration"):
        Reader.load(tmp_path)


def test_the_ordinary_network_keeps_its_size():
    config = ReaderConfig(
        *(tuple(f"{name}{i}" for i in range(10)) for name in "kcm"), turnable=(), lopsided=()
    )
    assert sum(weight.numel() for weight in ReaderNet(config).parameters()) < 1_400_000
