"""Proposals ask the shapes, not the vocabulary: things of a catalogue are turned, faced and added too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial import relations
from spatial.instruction import Instruction
from spatial.propose import propose
from spatial.scene import Mesh, SceneObject, Shapes, SpatialError
from tests.spatial.conftest import Boxes, scene, thing


class WithStools(Boxes):
    """Boxes, and as a catalogue would bring it one noun more with two assets: a stool and one with a back."""

    @property
    def nouns(self) -> tuple[str, ...]:
        return (*super().nouns, "stool")

    def assets(self, noun: str) -> tuple[str, ...]:
        return ("stool", "backed") if noun == "stool" else super().assets(noun)

    def fronted(self, asset: str) -> bool:
        return asset == "backed" or super().fronted(asset)

    def turnable(self, asset: str) -> bool:
        return asset == "backed" or super().turnable(asset)


class Unpainted(WithStools):
    """Stools bring their own colours."""

    def mesh(self, asset: str) -> Mesh:
        mesh = super().mesh(asset)
        return replace(mesh, roles=("wood",)) if asset in ("stool", "backed") else mesh


def stool(number: int, x: float, asset: str, color: str, turn: float = 0.0) -> SceneObject:
    return replace(thing(f"stool-{number}", x, 0, color, turn=turn), asset=asset)


def proposals(kind: str, shapes: Shapes, *things: SceneObject) -> list[Instruction]:
    return [propose(kind, scene(*things), shapes, np.random.default_rng(seed)) for seed in range(60)]


@pytest.mark.parametrize("kind", ["rotate", "mirror"])
def test_only_what_looks_different_turned_is_turned_or_mirrored(kind: str) -> None:
    plain, backed = stool(1, -1, "stool", "red", turn=60), stool(2, 1, "backed", "blue", turn=60)
    subjects = [said.subject for said in proposals(kind, WithStools(), plain, backed) if said.subject]
    assert {(subject.noun, subject.color) for subject in subjects} == {("stool", "blue")}
    with pytest.raises(SpatialError) as error:
        proposals(kind, WithStools(), plain)
    assert error.value.reason == "unfit_scene"


@pytest.mark.parametrize(("asset", "clear"), [("stool", True), ("backed", False)])
def test_a_front_from_the_catalogue_makes_sides_ambiguous(asset: str, clear: bool) -> None:
    facing = stool(1, 0, asset, "red")  # its own left is the viewer's right
    assert relations.frames_agree("left_of", facing, scene().camera, WithStools()) == clear
    assert relations.frames_agree("in_front_of", facing, scene().camera, WithStools())


def test_nouns_of_a_catalogue_are_added_in_colours_where_they_can_be_painted() -> None:
    for shapes, painted in ((WithStools(), True), (Unpainted(), False)):
        everything_else = [
            thing(f"{noun}-1", 0.1 * number, 0) for number, noun in enumerate(Boxes().nouns[:-1])
        ]
        room = scene(*everything_else)
        said = []
        for seed in range(40):
            try:
                said.append(propose("add", room, shapes, np.random.default_rng(seed)).subject)
            except SpatialError:  # no words for a neighbour in this crowd
                continue
        stools = [subject for subject in said if subject is not None and subject.noun == "stool"]
        assert stools
        assert any(s.color or s.material for s in stools) == painted
        assert any(s.color for s in said if s is not None and s.noun != "stool")
