"""Captions of scenes: what a picture shows, in plain English, in the order in which the viewer sees it.

English whatever the instruction's language: captions are read by text encoders that know nothing else.
"""

from __future__ import annotations

from spatial import geometry
from spatial.expressions import say_expression
from spatial.instruction import Expression
from spatial.lexicon import Lexicon
from spatial.scene import Backdrop, Light, Scene, SceneObject

AROUND_WORDS = {
    "sunrise": "at sunrise", "sunset": "at sunset", "night": "at night", "studio": "in a studio",
    "city": "in a city", "courtyard": "in a courtyard", "forest": "in a forest", "interior": "indoors",
}  # fmt: skip
FLOOR_WORDS = {
    "plain": "a plain floor", "wood": "a wooden floor", "tiles": "a tiled floor", "concrete": "a concrete floor",
    "grass": "grass", "sand": "sand", "checkered": "a checkered floor", "carpet": "a carpet",
}  # fmt: skip


def caption(scene: Scene, *, lexicon: Lexicon | None = None) -> str:
    """For example "From left to right: a red mug, a blue glass ball and a wooden chair, on grass at sunset"."""
    right = geometry.right_axis(scene.camera)
    order = sorted(
        (thing for thing in scene.objects if thing.support is None),
        key=lambda thing: float(right @ thing.pose.position[:2]),
    )
    names = [_name(thing, scene, lexicon) for thing in order]
    if not names:
        things = "an empty place"
    elif len(names) == 1:
        things = names[0]
    else:
        things = f"from left to right: {', '.join(names[:-1])} and {names[-1]}"
    text = f"{things}, {_place(scene.backdrop, scene.light)}"
    return text[0].upper() + text[1:]


def _name(thing: SceneObject, scene: Scene, lexicon: Lexicon | None) -> str:
    words = Expression(thing.noun, color=thing.color, material=thing.material)
    text = say_expression(words, "en", article="a", lexicon=lexicon)
    on_top = [other for other in scene.objects if other.support == thing.id]
    if on_top:
        text += f" with {' and '.join(_name(other, scene, lexicon) for other in on_top)} on it"
    return text


def _place(backdrop: Backdrop, light: Light) -> str:
    wall = {"brick": " before a brick wall", "planks": " before a wall of planks", "plain": " before a wall"}
    return f"on {FLOOR_WORDS[backdrop.floor]}{wall.get(backdrop.wall or '', '')} {AROUND_WORDS[light.environment]}"
