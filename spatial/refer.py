"""Referring: from words to the one thing they mean, and from a thing to the fewest words that mean it alone.

Ambiguity is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from spatial import geometry, relations
from spatial.instruction import Expression
from spatial.scene import Scene, SceneObject, Shapes, SpatialError
from spatial.vocabulary import SUPPORTS

SIZE_RATIO = 1.25  # "the larger" is at least this many times as long as the next
LOOKS_RATIO = 1.1  # and looks larger by at least this factor of lengths: a near toy is no "larger" house
PLACE_MARGIN = 0.04  # "the leftmost" is at least this share of the width further out
DEPTH_MARGIN = 0.3  # "the nearest" is at least this much nearer, metres
GENERIC = ("object", "it")


def ground(expression: Expression, scene: Scene, shapes: Shapes, *, antecedent: str | None = None) -> str:
    """The id of the one object meant.

    antecedent: id that "it" stands for, where an earlier step of a sequence named one. Without it,
    "it" and "the object" mean something only where the scene leaves no choice.
    Raises SpatialError with reason "no_such_object" or "ambiguous_reference".
    """
    if expression.noun == "it" and antecedent is not None and antecedent in scene:
        return antecedent
    found = matching(expression, scene, shapes)
    if len(found) == 1:
        return found[0].id
    words = _words(expression)
    if not found:
        raise SpatialError("no_such_object", f"nothing in the scene is {words}")
    names = ", ".join(thing.id for thing in found)
    raise SpatialError("ambiguous_reference", f"{words} could be any of {names}")


def matching(expression: Expression, scene: Scene, shapes: Shapes) -> list[SceneObject]:
    """Every object that the words fit; empty where a comparison or place has no clear winner."""
    found = [
        thing
        for thing in scene.objects
        if expression.noun in (thing.noun, *GENERIC)
        and expression.color in (None, thing.color)
        and expression.material in (None, thing.material)
    ]
    if expression.relation is not None and expression.reference is not None:
        reference = scene[ground(expression.reference, scene, shapes)]
        if not relations.frames_agree(expression.relation, reference, scene.camera, shapes):
            raise SpatialError(
                "ambiguous_reference",
                f"{expression.relation} {reference.id}: the viewer and the {reference.noun} disagree",
            )
        found = [
            thing
            for thing in found
            if thing.id != reference.id
            and relations.holds(expression.relation, thing, reference, scene, shapes)
        ]
    if expression.comparison is not None:
        found = _compared(expression.comparison, found, scene, shapes)
    if expression.place is not None:
        found = _placed(expression.place, found, scene, shapes)
    return found


def describe(
    object_id: str, scene: Scene, shapes: Shapes, rng: np.random.Generator, *, avoid: Iterable[str] = ()
) -> Expression:
    """The fewest words that mean this object and no other; of equally short ones, one drawn by `rng`.

    avoid: ids that the words may not lean on (an object about to move, say).
    Raises SpatialError "indescribable".
    """
    thing = scene[object_id]
    for group in _ways(thing, scene, shapes, frozenset(avoid)):
        options = [e for e in group if _means(e, object_id, scene, shapes)]
        if options:
            return options[int(rng.integers(len(options)))]
    raise SpatialError("indescribable", f"no short expression means {object_id} alone")


def _ways(
    thing: SceneObject, scene: Scene, shapes: Shapes, avoid: frozenset[str]
) -> Iterator[list[Expression]]:
    """Groups of expressions, shortest first."""
    noun, color, material = thing.noun, thing.color, thing.material
    yield [Expression(noun)]
    yield [Expression(noun, color=color)] if color else []
    yield [Expression(noun, material=material)] if material else []
    yield [Expression(noun, comparison=word) for word in ("larger", "smaller")]
    yield [Expression(noun, color=color, material=material)] if color and material else []
    yield [
        *(Expression(noun, place=word) for word in ("leftmost", "rightmost", "nearest", "farthest")),
        *(Expression(noun, comparison=word) for word in ("largest", "smallest")),
        *(Expression(noun, color=color, comparison=word) for word in ("larger", "smaller") if color),
    ]
    related = []
    for other in scene.objects:
        if other.id == thing.id or other.id in avoid:
            continue
        for simple in (Expression(other.noun), Expression(other.noun, color=other.color)):
            if _means(simple, other.id, scene, shapes):
                related += [(relation, other, simple) for relation in _true(thing, other, scene, shapes)]
                break
    yield [Expression(noun, relation=relation, reference=simple) for relation, _, simple in related]
    yield [
        Expression(noun, color=color, relation=relation, reference=simple) for relation, _, simple in related
    ]


def _true(thing: SceneObject, other: SceneObject, scene: Scene, shapes: Shapes) -> list[str]:
    names = [*relations.AXES, *(["on"] if other.noun in SUPPORTS else [])]
    return [n for n in names if relations.holds(n, thing, other, scene, shapes, dominant=True)]


def _means(expression: Expression, object_id: str, scene: Scene, shapes: Shapes) -> bool:
    try:
        return ground(expression, scene, shapes) == object_id
    except SpatialError:
        return False


def length(thing: SceneObject) -> float:
    """Metres: the cube root of the box's volume, by which things are called larger or smaller."""
    return float(np.cbrt(np.prod(thing.pose.size)))


def _compared(word: str, found: list[SceneObject], scene: Scene, shapes: Shapes) -> list[SceneObject]:
    """The one that is larger (smaller) than all others both in metres and in the picture, else none."""
    if len(found) < 2 or (word in ("larger", "smaller") and len(found) != 2):
        return []
    largest_first = word in ("larger", "largest")
    first, second, *_ = sorted(found, key=length, reverse=largest_first)
    looks = {t.id: float(np.sqrt(geometry.silhouette(t, scene.camera, shapes).area)) for t in found}
    others = [looks[thing.id] for thing in found if thing.id != first.id]
    if largest_first:
        clear = length(first) >= SIZE_RATIO * length(second)
        seen = looks[first.id] >= LOOKS_RATIO * max(others)
    else:
        clear = length(second) >= SIZE_RATIO * length(first)
        seen = min(others) >= LOOKS_RATIO * looks[first.id]
    return [first] if clear and seen else []


def _placed(word: str, found: list[SceneObject], scene: Scene, shapes: Shapes) -> list[SceneObject]:
    if len(found) < 2:
        return []
    camera = scene.camera
    if word in ("leftmost", "rightmost"):
        sign, margin = (1 if word == "leftmost" else -1), PLACE_MARGIN * camera.width
        keyed = [(sign * float(geometry.centre(t, camera, shapes)[0]), t) for t in found]
    else:
        sign, margin = (1 if word == "nearest" else -1), DEPTH_MARGIN
        keyed = [(sign * geometry.depth_of(t, camera), t) for t in found]
    keyed.sort(key=lambda pair: pair[0])
    first, second = next(pairwise(keyed))
    return [first[1]] if second[0] - first[0] >= margin else []


def _words(expression: Expression) -> str:
    parts = (expression.place, expression.comparison, expression.color, expression.material, expression.noun)
    text = " ".join(["the", *filter(None, parts)])
    if expression.relation is not None and expression.reference is not None:
        text += f" {expression.relation} {_words(expression.reference)}"
    return f'"{text}"'
