"""What is said: an instruction in words, free of any scene.

`Instruction` is the meaning of a sentence, not its wording: `say` words it, `parse` reads it back, and
the two round-trip. Things are named by `Expression` ("the larger red ball"), never by ids. Which fields
a kind of instruction uses is written in `FIELDS`; `Instruction.__post_init__` holds to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from spatial.scene import SpatialError

LANGUAGES = ("en", "vi")

# Every kind of edit that a pair may carry. The last two exist for edits of pictures, not of scenes.
KINDS = (
    "move", "place", "relate", "swap", "align", "rotate", "orbit", "zoom", "pan", "resize", "add",
    "duplicate", "remove", "count", "recolor", "material", "lighting", "background", "mirror",
    "replace", "style", "sequence",
)  # fmt: skip
CAMERA_KINDS = frozenset({"orbit", "zoom", "pan"})
DIRECTIONS = ("left", "right", "up", "down", "forward", "backward", "clockwise", "counterclockwise")
UNITS = ("percent_width", "percent_height", "metre", "degree", "count", "factor")
REGIONS = (
    "upper-left", "upper", "upper-right",
    "left", "centre", "right",
    "lower-left", "lower", "lower-right",
)  # fmt: skip
RELATIONS = ("left_of", "right_of", "in_front_of", "behind", "on", "next_to", "between")
VAGUENESS = ("slightly",)
COMPARISONS = ("larger", "smaller", "largest", "smallest")
PLACES = ("leftmost", "rightmost", "nearest", "farthest")


@dataclass(frozen=True, slots=True)
class Expression:
    """A noun phrase that refers to a thing, or describes a new one.

    noun: lexicon key; "object" for the generic word, "it" for the pronoun.
    color, material: lexicon keys. comparison: "larger" and "smaller" choose of two, "largest" and
    "smallest" of more. place: which one, as the viewer sees it. relation, reference: "behind the cube".
    """

    noun: str
    color: str | None = None
    material: str | None = None
    comparison: str | None = None
    place: str | None = None
    relation: str | None = None
    reference: Expression | None = None

    def __post_init__(self) -> None:
        _member("comparison", self.comparison, COMPARISONS)
        _member("place", self.place, PLACES)
        _member("relation", self.relation, RELATIONS)
        if (self.relation is None) != (self.reference is None):
            raise SpatialError("bad_expression", "relation and reference come together")


@dataclass(frozen=True, slots=True)
class Instruction:
    """The meaning of one instruction.

    amount is in `unit`; with neither amount nor vagueness the extent is left open ("move it left").
    `steps` holds the two or three parts of a sequence, and is empty otherwise.

    Field by kind:

    - move: subject; direction left/right/up/down with amount in percent_width (left, right) or
      percent_height (up, down), or left/right/forward/backward with amount in metre (forward: towards the
      viewer); or reference with value "toward"/"away" and amount in metre (or, toward only, in factor: the
      share of the way, 0.5 is halfway); or vagueness, or neither.
    - place: subject, region.
    - relate: subject, relation, reference (reference2 for between); amount in metre with left_of,
      right_of, in_front_of, behind is the distance between the two middles.
    - swap: subject, reference.
    - align: subject, reference, value "row" (side by side, their feet at one height in the image) or
      "column" (one behind the other: the same x in the image).
    - rotate: subject; direction clockwise/counterclockwise as seen from above, amount in degree or
      vagueness or neither. A half turn ("turn around") has amount 180 and no direction.
    - orbit: the camera goes left or right around the scene; amount in degree, or vagueness, or neither;
      direction may be left open when there is an amount ("rotate the view by 45 degrees").
    - zoom: value "in"/"out"; amount in factor (> 1), or vagueness, or neither.
    - pan: the camera turns left/right/up/down where it stands; amount in degree, or vagueness, or neither.
    - resize: subject; value "larger"/"smaller"; amount in factor, of lengths (1.5 is 50% larger, 0.8 is
      20% smaller), or vagueness, or neither.
    - add: subject describes the new things; amount in count (1..5); region, or relation and reference, or
      neither.
    - duplicate: subject; amount in count: how many copies are added (1..3).
    - remove: subject.
    - count: subject describes the things counted; amount in count: how many there are to be (1..6).
    - recolor, material: subject, value (lexicon key).
    - lighting: value (lexicon key); "side" has direction left/right: light from that side.
    - background: value (lexicon key of a place or a floor).
    - mirror: the whole picture; or subject alone.
    """

    kind: str
    subject: Expression | None = None
    reference: Expression | None = None
    reference2: Expression | None = None
    direction: str | None = None
    amount: float | None = None
    unit: str | None = None
    vagueness: str | None = None
    region: str | None = None
    relation: str | None = None
    value: str | None = None
    steps: tuple[Instruction, ...] = ()

    def __post_init__(self) -> None:
        _member("kind", self.kind, KINDS)
        _member("direction", self.direction, DIRECTIONS)
        _member("unit", self.unit, UNITS)
        _member("vagueness", self.vagueness, VAGUENESS)
        _member("region", self.region, REGIONS)
        _member("relation", self.relation, RELATIONS)
        if (self.amount is None) != (self.unit is None):
            raise SpatialError("bad_instruction", "amount and unit come together")
        if (self.kind == "sequence") != bool(self.steps):
            raise SpatialError("bad_instruction", "a sequence, and only a sequence, has steps")
        if any(step.kind == "sequence" for step in self.steps):
            raise SpatialError("bad_instruction", "sequences do not nest")

    def parts(self) -> tuple[Instruction, ...]:
        """The steps of a sequence, or the instruction itself."""
        return self.steps or (self,)


def _member(field: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise SpatialError("bad_instruction", f"{field} {value!r} is not one of {', '.join(allowed)}")
