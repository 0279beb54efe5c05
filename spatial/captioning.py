"""Captions of scenes in many forms, from a bare "a red mug" to "a red mug to the left of a blue bottle on a
wooden floor at sunset", in English and Vietnamese.

`caption` in `spatial.captions` says all that a picture shows, always alike. Models that are to understand what
people type need the variety that people have. What is said is always true of the scene, and every object is
named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial import geometry
from spatial.expressions import say_expression
from spatial.instruction import REGIONS, Expression
from spatial.lexicon import Lexicon
from spatial.relations import AXES, holds
from spatial.scene import Scene, Shapes
from spatial.vocabulary import ENVIRONMENTS

SAY_COLOR = 0.97  # share of objects whose colour is said
SAY_MATERIAL = 0.75  # of materials that are not plain paint
SAY_FLOOR = 0.4
SAY_AROUND = 0.35
CLEAR_SIDE = 0.12  # of the width, between middles in the picture: less is not called left or right

_LEADS = {
    "en": ("", "", "", "", "a photo of ", "a picture of ", "there is ", "an image of "),
    "vi": ("", "", "", "", "ảnh chụp ", "bức ảnh có ", "có ", "hình ảnh "),
}
_JOINTS = {"en": (" and ", " and ", " with ", ", "), "vi": (" và ", " và ", " cùng ", ", ")}
FLOORS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "plain": ("on a plain floor", "on a gray floor"),
        "wood": ("on a wooden floor", "on wooden boards"),
        "tiles": ("on a tiled floor", "on white tiles"),
        "concrete": ("on a concrete floor", "on concrete"),
        "grass": ("on grass", "on the grass", "on a lawn"),
        "sand": ("on sand", "on the sand"),
        "checkered": ("on a checkered floor",),
        "carpet": ("on a carpet", "on a red carpet"),
    },
    "vi": {
        "plain": ("trên sàn trơn", "trên sàn xám"),
        "wood": ("trên sàn gỗ",),
        "tiles": ("trên sàn gạch", "trên nền gạch trắng"),
        "concrete": ("trên sàn bê tông", "trên nền bê tông"),
        "grass": ("trên cỏ", "trên bãi cỏ"),
        "sand": ("trên cát", "trên bãi cát"),
        "checkered": ("trên sàn ca rô",),
        "carpet": ("trên thảm", "trên tấm thảm đỏ"),
    },
}
AROUND: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "sunrise": ("at sunrise", "at dawn"),
        "sunset": ("at sunset", "at dusk"),
        "night": ("at night", "in the dark"),
        "studio": ("in a studio",),
        "city": ("in a city", "in town"),
        "courtyard": ("in a courtyard",),
        "forest": ("in a forest", "in the woods"),
        "interior": ("indoors", "in a room"),
    },
    "vi": {
        "sunrise": ("lúc bình minh", "vào lúc mặt trời mọc"),
        "sunset": ("lúc hoàng hôn", "vào lúc mặt trời lặn"),
        "night": ("vào ban đêm", "trong đêm"),
        "studio": ("trong phòng chụp",),
        "city": ("trong thành phố", "giữa phố"),
        "courtyard": ("trong sân",),
        "forest": ("trong rừng",),
        "interior": ("trong nhà", "trong phòng"),
    },
}
_SIDES = {"en": ("on the left", "on the right"), "vi": ("ở bên trái", "ở bên phải")}
_ORDER = {"en": "from left to right: ", "vi": "từ trái sang phải: "}


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be said of a picture.

    things: nouns with colour and material, from left to right in the picture. regions: where each one's middle
    is. relations: (i, j) -> what thing i is to thing j, only what nobody can argue with. floor, environment:
    None where they are not to be said.
    """

    things: tuple[Expression, ...]
    regions: tuple[str, ...]
    relations: Mapping[tuple[int, int], tuple[str, ...]]
    floor: str | None = None
    environment: str | None = None


def facts_of(scene: Scene, shapes: Shapes) -> Facts:
    """What a scene's picture shows."""
    camera = scene.camera
    middles = {
        thing.id: np.mean(np.reshape(geometry.silhouette(thing, camera, shapes).box, (2, 2)), axis=0)
        for thing in scene.objects
    }
    things = sorted(scene.objects, key=lambda thing: float(middles[thing.id][0]))
    relations = {}
    for i, one in enumerate(things):
        for j, other in enumerate(things):
            if i == j:
                continue
            apart = abs(middles[one.id][0] - middles[other.id][0]) >= CLEAR_SIDE * camera.width
            found = tuple(
                relation
                for relation in (*AXES, "on", "next_to")
                if (apart or relation not in ("left_of", "right_of"))
                and holds(relation, one, other, scene, shapes, dominant=True)
            )
            if found:
                relations[i, j] = found
    return Facts(
        things=tuple(Expression(t.noun, color=t.color, material=t.material) for t in things),
        regions=tuple(geometry.region_of(middles[t.id], camera.width, camera.height) for t in things),
        relations=relations,
        floor=scene.backdrop.floor,
        environment=scene.light.environment,
    )


def imagined(
    rng: np.random.Generator,
    *,
    nouns: Sequence[str],
    colors: Sequence[str],
    materials: Sequence[str],
    floors: Sequence[str],
    environments: Sequence[str] = ENVIRONMENTS,
    never: frozenset[tuple[str, str]] = frozenset(),
) -> Facts:
    """What a picture of one or two things might show, without laying out a scene: for captions that are to be edited.

    never: pairs of noun and colour that are not to be shown. Raises ValueError where nothing is left to show.
    """

    def one_of(words: Sequence[str]) -> str:
        return words[int(rng.integers(len(words)))]

    pairs = sorted({(noun, color) for noun in nouns for color in colors} - never)
    if not pairs:
        raise ValueError("never leaves no pair of a noun and a colour")
    number = min(1 if rng.random() < 0.5 else 2, len(pairs))
    things = [
        Expression(noun, color=color, material=one_of(materials))
        for noun, color in (pairs[place] for place in rng.permutation(len(pairs))[:number])
    ]
    relations: dict[tuple[int, int], tuple[str, ...]] = {}
    if len(things) == 2:
        found = one_of(("left_of", "left_of", "in_front_of", "behind", "next_to"))
        inverse = {
            "left_of": "right_of",
            "in_front_of": "behind",
            "behind": "in_front_of",
            "next_to": "next_to",
        }
        relations = {(0, 1): (found,), (1, 0): (inverse[found],)}
    return Facts(
        things=tuple(things),
        regions=tuple(one_of(REGIONS) for _ in things),
        relations=relations,
        floor=one_of(floors),
        environment=one_of(environments),
    )


def mirrored(facts: Facts) -> Facts:
    """The facts of the flipped picture."""
    last = len(facts.things) - 1
    sides = {"left_of": "right_of", "right_of": "left_of"}
    return replace(
        facts,
        things=facts.things[::-1],
        regions=tuple(_other_side(region) for region in facts.regions[::-1]),
        relations={
            (last - i, last - j): tuple(sides.get(name, name) for name in names)
            for (i, j), names in facts.relations.items()
        },
    )


def _other_side(region: str) -> str:
    return "-".join({"left": "right", "right": "left"}.get(part, part) for part in region.split("-"))


def say_caption(
    facts: Facts,
    language: str,
    rng: np.random.Generator,
    *,
    full: bool = False,
    lexicon: Lexicon | None = None,
) -> str:
    """One of the many captions of these facts. full: nothing is left unsaid but that paint is
    matte, which goes without saying."""
    lexicon = lexicon or Lexicon.default()
    things = tuple(_mention(thing, facts.things, rng, full) for thing in facts.things)
    text = _arrangement(replace(facts, things=things), language, rng, lexicon)
    if facts.floor is not None and (full or rng.random() < SAY_FLOOR):
        text += f" {_one_of(FLOORS[language][facts.floor], rng)}"
    if facts.environment is not None and (full or rng.random() < SAY_AROUND):
        text += f" {_one_of(AROUND[language][facts.environment], rng)}"
    return text[0].upper() + text[1:] + "." if rng.random() < 0.15 else text


def _mention(
    thing: Expression, others: tuple[Expression, ...], rng: np.random.Generator, full: bool
) -> Expression:
    """The thing with some attributes left unsaid; what tells it from another of its kind is always said."""
    alike = sum(other.noun == thing.noun for other in others) > 1
    color = thing.color if alike or full or rng.random() < SAY_COLOR else None
    plain = thing.material == "matte"
    said = not plain and (alike or full or rng.random() < SAY_MATERIAL)
    return replace(thing, color=color, material=thing.material if said else None)


def _arrangement(facts: Facts, language: str, rng: np.random.Generator, lexicon: Lexicon) -> str:
    names = [_a(thing, language, rng, lexicon) for thing in facts.things]
    lead = _one_of(_LEADS[language], rng)
    if not names:
        return "an empty place" if language == "en" else "một khoảng trống"
    if len(names) == 1:
        if rng.random() < 0.25:
            places = lexicon.forms("region_places", facts.regions[0], language).said
            return f"{lead}{names[0]} {_one_of(places, rng)}"
        return lead + names[0]
    if facts.relations and rng.random() < 0.55:
        return lead + _related(facts, names, language, rng, lexicon)
    left_to_right = [(i, i + 1) for i in range(len(names) - 1)]
    ordered = all("left_of" in facts.relations.get(pair, ()) for pair in left_to_right)
    if ordered and len(names) == 2 and rng.random() < 0.35:
        parts = [f"{name} {side}" for name, side in zip(names, _SIDES[language])]
        return _one_of(_JOINTS[language][:2], rng).join(parts if rng.random() < 0.5 else parts[::-1])
    if ordered and rng.random() < 0.3:
        return _ORDER[language] + _listed(names, language, rng)
    counted = Counter(facts.things)
    shuffled = [list(counted)[i] for i in rng.permutation(len(counted))]
    told = [
        _a(thing, language, rng, lexicon)
        if counted[thing] == 1
        else say_expression(thing, language, count=counted[thing], rng=rng, lexicon=lexicon)
        for thing in shuffled
    ]
    return lead + _listed(told, language, rng)


def _related(
    facts: Facts, names: list[str], language: str, rng: np.random.Generator, lexicon: Lexicon
) -> str:
    """Every thing once, each but the first two tied to one that was named before where they have a relation."""
    pairs = sorted(facts.relations)
    i, j = pairs[int(rng.integers(len(pairs)))]
    parts = [f"{names[i]} {_relation(facts, i, j, language, rng, lexicon)} {names[j]}"]
    for k in range(len(names)):
        if k in (i, j):
            continue
        ties = [other for other in (i, j) if (k, other) in facts.relations]
        unlike = [other for other in ties if names.count(names[other]) == 1]
        if unlike and rng.random() < 0.5:
            other = unlike[int(rng.integers(len(unlike)))]
            the = say_expression(facts.things[other], language, rng=rng, lexicon=lexicon)
            parts.append(f"{names[k]} {_relation(facts, k, other, language, rng, lexicon)} {the}")
        else:
            parts.append(names[k])
    return _listed(parts, language, rng, comma=True)


def _relation(facts: Facts, i: int, j: int, language: str, rng: np.random.Generator, lexicon: Lexicon) -> str:
    found = facts.relations[i, j]
    forms = lexicon.forms("relative_relations", found[int(rng.integers(len(found)))], language)
    words = _one_of(forms.said, rng)
    return f"ở {words}" if language == "vi" and rng.random() < 0.5 else words


def _listed(names: list[str], language: str, rng: np.random.Generator, *, comma: bool = False) -> str:
    if len(names) == 1:
        return names[0]
    joint = _one_of(_JOINTS[language], rng)
    last = joint if len(names) == 2 else _JOINTS[language][0]
    if comma:
        last = f",{_JOINTS[language][0]}"
    return last.join([", ".join(names[:-1]), names[-1]])


def _a(thing: Expression, language: str, rng: np.random.Generator, lexicon: Lexicon) -> str:
    return say_expression(thing, language, article="a", rng=rng, lexicon=lexicon)


def _one_of(forms: tuple[str, ...], rng: np.random.Generator) -> str:
    return forms[int(rng.integers(len(forms)))]
