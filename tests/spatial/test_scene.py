from __future__ import annotations

import pickle

import pydantic
import pytest

from spatial.scene import Scene, SpatialError
from tests.spatial.conftest import scene, thing


def test_scene_survives_json_unchanged() -> None:
    original = scene(thing("mug-1", 0.1, 0.2, turn=30), thing("ball-1", -1, 1, "blue"))
    assert Scene.from_json(original.to_json()) == original


def test_json_with_a_wrong_field_is_refused_by_name() -> None:
    broken = scene(thing("mug-1", 0, 0)).to_json().replace('"width":200', '"width":"wide"')
    with pytest.raises(pydantic.ValidationError, match="width"):
        Scene.from_json(broken)


def test_unknown_object_is_named() -> None:
    with pytest.raises(SpatialError, match="cat-9") as caught:
        scene(thing("mug-1", 0, 0))["cat-9"]
    assert caught.value.reason == "unknown_object"


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SpatialError("no_room", "found no place")))  # noqa: S301 - our own bytes
    assert (error.reason, str(error)) == ("no_room", "found no place")
