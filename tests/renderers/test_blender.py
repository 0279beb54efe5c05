"""What Blender draws: the masks are its own, the camera is the one asked for, colours are as named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from renderers.shapes import ProceduralShapes
from renderers.worker import BlenderWorker, RenderSettings
from spatial.scene import Backdrop, Camera, Light, Mesh, SpatialError
from tests.renderers.scenes import camera, mirrored, scene, thing


def test_camera_read_back_is_the_camera_asked_for(blender: BlenderWorker) -> None:
    ball = thing("a", "ball", 0, 0)
    for eye in (camera(), camera(96, 64, (9.5, -4.25), 1.3), camera(64, 96, (-3.0, 6.0), 0.8)):
        passes, _ = blender.prepare(scene(ball, view=eye), scene(ball, view=eye))
        seen = passes.camera
        np.testing.assert_allclose(seen.rotation, eye.rotation, atol=1e-5)
        np.testing.assert_allclose(seen.translation, eye.translation, atol=1e-4)
        asked = (eye.fx, eye.fy, eye.cx, eye.cy)
        np.testing.assert_allclose((seen.fx, seen.fy, seen.cx, seen.cy), asked, atol=0.01)
        assert passes.ids.shape == (eye.height, eye.width)


class Glowing(ProceduralShapes):
    """The same shapes, all of light."""

    def mesh(self, asset: str) -> Mesh:
        mesh = super().mesh(asset)
        return replace(mesh, parts=np.zeros_like(mesh.parts), roles=("lamp",))


@pytest.mark.parametrize(
    "eye", [camera(160, 160), camera(160, 120, (9.0, -7.0), 1.25)], ids=["plain", "skewed"]
)
def test_masks_agree_with_what_cycles_draws(eye: Camera) -> None:
    """Things that glow in the dark: a pixel is drawn when more than half of it is bright.

    Cycles blurs over 1.5 pixels, so legs and masts that are one pixel wide differ from a ray through the
    pixel's centre: thin things must agree everywhere but on their outline, compact ones in place too.
    """
    dark = Light("night", environment_strength=0.0, sun_strength=0.0)
    with BlenderWorker(RenderSettings(samples=16, denoise=False), shapes=Glowing()) as worker:
        for assets, least, shift in ((("cube", "teapot"), 0.97, 0.12), (("chair", "boat"), 0.93, 1.0)):
            pair = [scene(thing("a", asset, 0, 0, turn=30), view=eye, light=dark) for asset in assets]
            pair = [replace(state, backdrop=Backdrop("carpet", None, 4.0)) for state in pair]
            for passes, picture in zip(worker.prepare(*pair), worker.render(), strict=True):
                body = passes.visible(0)
                light = ((picture[..., 1] / 255 + 0.055) / 1.055) ** 2.4
                drawn = light > 0.5 * np.median(light[body])
                assert (drawn & body).sum() / (drawn | body).sum() >= least
                assert not (drawn & ~binary_dilation(body)).any()
                assert not (binary_erosion(body) & ~drawn).any()
                apart = np.argwhere(drawn).mean(axis=0) - np.argwhere(body).mean(axis=0)
                assert np.abs(apart).max() < shift  # pixels


@pytest.mark.parametrize(
    ("color", "test"),
    [
        ("red", lambda r, g, b: r > 2 * g and r > 2 * b),
        ("green", lambda r, g, b: g > 1.5 * r and g > 1.5 * b),
        ("blue", lambda r, g, b: b > 2 * r and b > 1.5 * g),
        ("yellow", lambda r, g, b: min(r, g) > 1.5 * b),
        ("white", lambda r, g, b: min(r, g, b) > 150),
        ("black", lambda r, g, b: max(r, g, b) < 75),
    ],
)
def test_a_named_colour_looks_like_its_name(blender: BlenderWorker, color: str, test) -> None:
    state = scene(thing("a", "cube", 0, 0, color), view=camera(64, 64))
    passes, _ = blender.prepare(state, state)
    picture, again = blender.render()
    assert test(*np.median(picture[passes.visible(0)], axis=0))
    assert np.abs(picture.astype(int) - again).max() <= 1


def test_a_mirrored_scene_renders_as_the_flipped_picture(blender: BlenderWorker) -> None:
    state = replace(
        scene(
            thing("a", "mug", -0.9, -0.4, "blue", "checkered", 35),
            thing("b", "teapot", 0.8, 0.5, "orange", "wood", -50),
            view=camera(128, 96, (5.0, 3.0)),
            light=Light("forest", 70.0, sun_direction=(0.6, -0.48, 0.64)),
        ),
        backdrop=Backdrop("tiles", "brick", 3.0),
    )
    there, back = blender.prepare(state, mirrored(state))
    # A pixel's centre may fall on either side of an outline.
    assert (there.ids[:, ::-1] != back.ids).mean() < 0.002
    np.testing.assert_allclose(there.depth[:, ::-1], back.depth, rtol=1e-3)
    picture, flipped = (image.astype(int) for image in blender.render())
    difference = np.abs(picture[:, ::-1] - flipped).mean(axis=2)
    assert difference.mean() < 5 and np.percentile(difference, 95) < 18
    assert np.abs(picture - flipped).mean() > 2 * difference.mean()


def test_only_what_differs_changes_between_before_and_after(blender: BlenderWorker) -> None:
    ball, cube = thing("a", "ball", -1.2, 0, "red"), thing("b", "cube", 1.4, 0.6, "blue")
    moved = replace(ball, pose=replace(ball.pose, position=(-0.9, 0.0, 0.0)))
    before, after = scene(ball, cube), scene(moved, cube)
    passes = blender.prepare(before, after)
    assert np.array_equal(passes[0].amodal[1], passes[1].amodal[1])
    first, second = (image.astype(int) for image in blender.render())
    difference = np.abs(first - second).mean(axis=2)
    assert difference[passes[0].amodal[0] | passes[1].amodal[0]].mean() > 10
    assert difference[passes[0].visible(1)].mean() < 1.5


def test_rendering_again_gives_the_same_pictures_whatever_came_between(blender: BlenderWorker) -> None:
    pair = (
        scene(thing("a", "car", 0, 0, "green", "glossy")),
        scene(thing("a", "car", 0.3, 0, "green", "glossy")),
    )
    blender.prepare(*pair)
    first = blender.render()
    other = scene(thing("z", "snowman", 0, 0, "white", "stone"), light=Light("night", 20.0, warmth=0.8))
    blender.prepare(other, other)
    blender.render()
    blender.prepare(*pair)
    for old, new in zip(first, blender.render(), strict=True):
        assert np.abs(old.astype(int) - new).max() <= 1


def test_things_added_removed_and_repainted_show(blender: BlenderWorker) -> None:
    ball, cube = thing("a", "ball", -1.0, 0, "red"), thing("b", "cube", 1.0, 0, "blue")
    passes = blender.prepare(scene(ball, cube), scene(cube))
    assert [p.amodal.shape[0] for p in passes] == [2, 1]
    first, second = blender.render()
    spot = passes[0].visible(0)
    assert first[spot][:, 0].mean() > 1.5 * second[spot][:, 0].mean() - 60
    assert (passes[1].ids[spot] == -1).all()
    passes = blender.prepare(scene(ball), scene(replace(ball, color="blue")))
    assert np.array_equal(passes[0].ids, passes[1].ids)
    red, blue = (picture[passes[0].visible(0)].mean(axis=0) for picture in blender.render())
    assert red[0] > red[2] and blue[2] > blue[0]


def test_a_scene_that_cannot_be_built_is_an_answer_and_not_the_end(blender: BlenderWorker) -> None:
    fine = scene(thing("a", "ball", 0, 0), view=camera(32, 32))
    broken = {
        "no_such_look": replace(fine, light=Light("mars")),
        "no_such_floor": replace(fine, backdrop=Backdrop("lava")),
        "no_such_color": replace(fine, objects=(replace(fine.objects[0], color="mauve"),)),
    }
    blender.prepare(fine, fine)
    pid = blender.pid
    for state in broken.values():
        with pytest.raises(SpatialError, match=r"mars|lava|mauve") as error:
            blender.prepare(fine, state)
        assert error.value.reason == "unknown_look"
        with pytest.raises(SpatialError, match="prepare"):
            blender.render()
    assert blender.prepare(fine, fine)[0].visible(0).any()
    assert blender.pid == pid
