"""The keys of the vocabulary: nouns, colours, materials, lights, places. Words for them are in `lexicon`."""

from __future__ import annotations

# Things with a procedural mesh.
NOUNS = (
    "ball", "cube", "cone", "cylinder", "mug", "bottle", "bowl", "vase", "teapot", "table", "chair",
    "lamp", "book", "candle", "tree", "cactus", "mushroom", "house", "car", "truck", "boat", "rocket",
    "cat", "dog", "duck", "snowman",
)  # fmt: skip
# Have a front of their own; look different turned by 90 degrees. For one thing of a scene ask `Shapes`: a
# catalogue may say otherwise for an asset of its own.
FRONTED = frozenset({"chair", "house", "car", "truck", "boat", "cat", "dog", "duck", "snowman"})
TURNABLE = FRONTED | {"mug", "teapot"}
# Flat enough on top for something to stand on.
SUPPORTS = frozenset({"cube", "table", "book", "cylinder"})

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black", "gray")
MATERIALS = ("matte", "glossy", "metal", "glass", "wood", "checkered", "stone")
# Glass shows what a simple shape is; a glass cat is a dark lump. Clear glass has no colour that can be named.
GLASSY = frozenset({"ball", "cube", "cone", "cylinder", "mug", "bottle", "bowl", "vase"})
CLEAR = frozenset({"white", "gray", "black"})
# Seen through or seen in: pixels beside them may change when something else moves.
REFLECTIVE = frozenset({"glossy", "metal", "glass"})

# The eight maps that come with Blender (Poly Haven, CC0): four times of day, four places.
TIMES = ("sunrise", "sunset", "night", "studio")
# The sun that goes with each: (warmth -1..1, strength as a factor).
TIME_LIGHT = {"sunrise": (0.3, 0.9), "sunset": (0.8, 0.9), "night": (-0.6, 0.3), "studio": (0.0, 1.0)}
PLACES = ("city", "courtyard", "forest", "interior")
ENVIRONMENTS = TIMES + PLACES
FLOORS = ("plain", "wood", "tiles", "concrete", "grass", "sand", "checkered", "carpet")
WALLS = ("plain", "brick", "planks")

# What a lighting instruction may ask for: a time of day, a strength, a warmth, or light from one side.
LIGHTINGS = (*TIMES, "brighter", "dimmer", "warmer", "cooler", "side")
# What a background instruction may ask for: a place, or a floor (keys "floor:wood" and so on).
BACKGROUNDS = (*PLACES, *(f"floor:{floor}" for floor in FLOORS if floor != "plain"))


def recognisable(noun: str, color: str | None, material: str | None) -> bool:
    """Whether a thing of this colour and material can be told by its looks."""
    return material != "glass" or (noun in GLASSY and color not in CLEAR)
