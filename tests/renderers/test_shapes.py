"""Procedural meshes: every noun has one, in the unit box, closed, facing outwards, with proportions kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from renderers import looks
from renderers.shapes import BUILDERS, NOMINAL_SIZE, ProceduralShapes
from renderers.shapes.primitives import box, curve, ellipsoid, extents, hoop, loft, tube, volume
from spatial.scene import SpatialError
from spatial.vocabulary import COLORS, ENVIRONMENTS, FLOORS, FRONTED, MATERIALS, NOUNS, WALLS

SHAPES = ProceduralShapes()


def test_every_noun_of_the_vocabulary_has_a_shape_and_a_size() -> None:
    assert set(BUILDERS) == set(NOMINAL_SIZE)
    assert SHAPES.nouns == NOUNS  # in this order: instructions of old seeds are drawn by it
    for noun in NOUNS:
        assert SHAPES.assets(noun) == (noun,)
        assert SHAPES.licence(noun) == "Apache-2.0"


@pytest.mark.parametrize("noun", NOUNS)
def test_mesh_fills_the_unit_box_and_its_arrays_agree(noun: str) -> None:
    mesh = SHAPES.mesh(noun)
    assert mesh.vertices.dtype == np.float32 and mesh.triangles.dtype == np.int32
    assert np.isfinite(mesh.vertices).all()
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [-0.5, -0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [0.5, 0.5, 1.0], atol=1e-6)
    assert 100 <= len(mesh.triangles) <= 6000
    assert len(mesh.parts) == len(mesh.smooth) == len(mesh.triangles)
    assert mesh.parts.max() == len(mesh.roles) - 1
    assert "body" in mesh.roles
    for role in mesh.roles:
        if role != "body":
            looks.fixed(role)


@pytest.mark.parametrize("noun", NOUNS)
def test_every_solid_is_closed_and_faces_outwards(noun: str) -> None:
    for solid in BUILDERS[noun]():
        edges = Counter(
            (int(a), int(b)) for face in solid.triangles for a, b in zip(face, np.roll(face, -1), strict=True)
        )
        assert all(count == edges[b, a] for (a, b), count in edges.items()), f"{noun}: open {solid.role}"
        assert volume(solid.vertices - solid.vertices.mean(axis=0), solid.triangles) > 0


@pytest.mark.parametrize("noun", NOUNS)
def test_nominal_size_keeps_the_proportions_that_the_shape_was_drawn_with(noun: str) -> None:
    np.testing.assert_allclose(NOMINAL_SIZE[noun], extents(BUILDERS[noun]()), atol=0.02)


@pytest.mark.parametrize("noun", sorted(FRONTED - {"chair", "boat"}))
def test_faces_and_lamps_are_in_front(noun: str) -> None:
    """Eyes, headlamps, beaks and doors lie on the -y side."""
    mesh = SHAPES.mesh(noun)
    role = next(role for role in ("eye", "glow", "door") if role in mesh.roles)
    faces = mesh.triangles[mesh.parts == mesh.roles.index(role)]
    assert mesh.vertices[faces][..., 1].mean() < -0.1


def test_the_mug_is_hollow_and_the_ball_is_not() -> None:
    mug = BUILDERS["mug"]()[0]
    assert volume(mug.vertices, mug.triangles) < 0.4 * np.prod(extents([mug]))
    ball = BUILDERS["ball"]()[0]
    assert volume(ball.vertices, ball.triangles) == pytest.approx(4 / 3 * np.pi * 0.35**3, rel=0.03)


def test_unknown_names_are_refused_with_the_names_that_exist() -> None:
    for ask in (SHAPES.mesh, SHAPES.size, SHAPES.assets, SHAPES.licence):
        with pytest.raises(SpatialError, match=r"'unicorn'.*teapot") as error:
            ask("unicorn")
        assert error.value.reason == "unknown_asset"


def test_solids_have_the_volumes_of_geometry() -> None:
    def size(solid) -> float:
        return volume(solid.vertices, solid.triangles)

    assert size(box(1.0, 2.0, 3.0, bevel=0.001)) == pytest.approx(6.0, rel=0.01)
    assert size(ellipsoid(1.0, 2.0, 3.0, around=60)) == pytest.approx(8 * np.pi, rel=0.01)
    assert size(tube([(0, 0, 0), (0, 0, 1), (0, 0, 2)], 0.5, around=60)) == pytest.approx(np.pi / 2, rel=0.01)
    ring = hoop([(1.9, -0.1), (2.1, -0.1), (2.1, 0.1), (1.9, 0.1)], around=90)
    assert size(ring) == pytest.approx(2 * np.pi * 2 * 0.04, rel=0.01)
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    upside_down = loft([[(x, y, z) for x, y in square] for z in (1.0, 0.0)])
    assert size(upside_down) == pytest.approx(1.0)
    assert size(box(1, 1, 1).turned("x", 30).turned("y", 50)) == pytest.approx(size(box(1, 1, 1)))


def test_a_curve_goes_through_its_points() -> None:
    points = np.array([(0.0, 0.0), (1.0, 2.0), (3.0, 1.0), (4.0, 4.0)])
    np.testing.assert_allclose(curve(points, 7)[::2], points, atol=1e-12)


def test_every_look_of_the_vocabulary_is_there() -> None:
    assert tuple(looks.COLORS) == COLORS and tuple(looks.MATERIALS) == MATERIALS
    assert tuple(looks.FLOORS) == FLOORS and tuple(looks.WALLS) == WALLS
    assert set(looks.ENVIRONMENTS) == set(ENVIRONMENTS)
    with pytest.raises(SpatialError, match="mauve"):
        looks.painted("mauve", "matte")
    with pytest.raises(SpatialError, match="plasma"):
        looks.fixed("plasma")


def test_colours_survive_the_way_to_linear_light_and_back() -> None:
    for code in looks.COLORS.values():
        assert looks.hexadecimal(looks.encoded(np.array(looks.linear(code)[:3]))) == code
