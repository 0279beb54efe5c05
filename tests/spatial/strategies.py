"""Every valid instruction, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from spatial import vocabulary
from spatial.instruction import COMPARISONS, PLACES, REGIONS, RELATIONS, Expression, Instruction

NESTED_RELATIONS = tuple(relation for relation in RELATIONS if relation != "between")
METRIC_RELATIONS = ("left_of", "right_of", "in_front_of", "behind")

_nouns = st.sampled_from((*vocabulary.NOUNS, "object"))
_colors = st.none() | st.sampled_from(vocabulary.COLORS)
_materials = st.none() | st.sampled_from(vocabulary.MATERIALS)


def _plain() -> st.SearchStrategy[Expression]:
    return st.builds(
        Expression,
        noun=_nouns,
        color=_colors,
        material=_materials,
        comparison=st.none() | st.sampled_from(COMPARISONS),
        place=st.none() | st.sampled_from(PLACES),
    )


def _related(reference: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.builds(
        Expression,
        noun=_nouns,
        color=_colors,
        material=_materials,
        comparison=st.none() | st.sampled_from(COMPARISONS),
        place=st.none() | st.sampled_from(PLACES),
        relation=st.sampled_from(NESTED_RELATIONS),
        reference=reference,
    )


# What a noun phrase may name in a scene: plain, "it", or in relation to another, twice nested.
definite = st.one_of(
    _plain(),
    st.just(Expression("it")),
    _related(_plain()),
    _related(_related(_plain() | st.just(Expression("it")))),
)
# New things, or what is counted.
described = st.builds(Expression, noun=_nouns, color=_colors, material=_materials)

metres = st.integers(1, 1000).map(lambda n: n / 100)
percents = st.integers(1, 1000).map(lambda n: n / 10)
degrees = st.integers(1, 3600).map(lambda n: n / 10)
shares = st.integers(1, 999).map(lambda n: n / 1000)
growths = st.integers(1, 4000).map(lambda n: (1000 + n) / 1000)


def _extent(amounts: st.SearchStrategy[float], unit: str) -> st.SearchStrategy[dict[str, Any]]:
    """An amount, a vagueness, or neither."""
    return st.one_of(
        amounts.map(lambda amount: {"amount": amount, "unit": unit}),
        st.just({"vagueness": "slightly"}),
        st.just({}),
    )


@st.composite
def _move(draw: st.DrawFn) -> Instruction:
    subject = draw(definite)
    match draw(st.sampled_from(("side", "height", "depth", "thing", "share"))):
        case "side":
            direction = draw(st.sampled_from(("left", "right")))
            extent = draw(_extent(percents, "percent_width") | _extent(metres, "metre"))
        case "height":
            direction = draw(st.sampled_from(("up", "down")))
            extent = draw(_extent(percents, "percent_height"))
        case "depth":
            direction = draw(st.sampled_from(("forward", "backward")))
            extent = draw(_extent(metres, "metre"))
        case "thing":
            value = draw(st.sampled_from(("toward", "away")))
            extent = draw(_extent(metres, "metre"))
            return Instruction("move", subject, draw(definite), value=value, **extent)
        case _:
            share = draw(shares | st.just(0.5))
            return Instruction("move", subject, draw(definite), value="toward", amount=share, unit="factor")
    return Instruction("move", subject, direction=direction, **extent)


@st.composite
def _relate(draw: st.DrawFn) -> Instruction:
    subject, reference = draw(definite), draw(definite)
    match draw(st.sampled_from(("plain", "metric", "between"))):
        case "plain":
            return Instruction("relate", subject, reference, relation=draw(st.sampled_from(NESTED_RELATIONS)))
        case "metric":
            relation = draw(st.sampled_from(METRIC_RELATIONS))
            return Instruction(
                "relate", subject, reference, relation=relation, amount=draw(metres), unit="metre"
            )
        case _:
            return Instruction("relate", subject, reference, draw(definite), relation="between")


@st.composite
def _camera(draw: st.DrawFn) -> Instruction:
    match draw(st.sampled_from(("orbit", "orbit_open", "zoom", "pan"))):
        case "orbit":
            direction = draw(st.sampled_from(("left", "right")))
            return Instruction("orbit", direction=direction, **draw(_extent(degrees, "degree")))
        case "orbit_open":
            return Instruction("orbit", amount=draw(degrees), unit="degree")
        case "zoom":
            value = draw(st.sampled_from(("in", "out")))
            return Instruction("zoom", value=value, **draw(_extent(growths, "factor")))
        case _:
            direction = draw(st.sampled_from(("left", "right", "up", "down")))
            return Instruction("pan", direction=direction, **draw(_extent(degrees, "degree")))


@st.composite
def _turn(draw: st.DrawFn) -> Instruction:
    subject = draw(definite)
    if draw(st.integers(0, 4)) == 0:
        return Instruction("rotate", subject, amount=180.0, unit="degree")
    direction = draw(st.sampled_from(("clockwise", "counterclockwise")))
    return Instruction("rotate", subject, direction=direction, **draw(_extent(degrees, "degree")))


@st.composite
def _resize(draw: st.DrawFn) -> Instruction:
    value = draw(st.sampled_from(("larger", "smaller")))
    factors = growths | st.just(2.0) if value == "larger" else shares | st.just(0.5)
    return Instruction("resize", draw(definite), value=value, **draw(_extent(factors, "factor")))


@st.composite
def _number(draw: st.DrawFn) -> Instruction:
    kind = draw(st.sampled_from(("add", "duplicate", "count")))
    if kind == "duplicate":
        return Instruction(kind, draw(definite), amount=float(draw(st.integers(1, 3))), unit="count")
    if kind == "count":
        thing = draw(described | st.just(Expression("it")))
        return Instruction(kind, thing, amount=float(draw(st.integers(1, 6))), unit="count")
    amount = float(draw(st.integers(1, 5)))
    match draw(st.sampled_from(("bare", "region", "relation"))):
        case "region":
            region = draw(st.sampled_from(REGIONS))
            return Instruction(kind, draw(described), amount=amount, unit="count", region=region)
        case "relation":
            relation = draw(st.sampled_from(NESTED_RELATIONS))
            return Instruction(
                kind, draw(described), draw(definite), amount=amount, unit="count", relation=relation
            )
        case _:
            return Instruction(kind, draw(described), amount=amount, unit="count")


@st.composite
def _look(draw: st.DrawFn) -> Instruction:
    match draw(st.sampled_from(("recolor", "material", "lighting", "background", "mirror"))):
        case "recolor":
            return Instruction("recolor", draw(definite), value=draw(st.sampled_from(vocabulary.COLORS)))
        case "material":
            return Instruction("material", draw(definite), value=draw(st.sampled_from(vocabulary.MATERIALS)))
        case "lighting":
            value = draw(st.sampled_from(vocabulary.LIGHTINGS))
            direction = draw(st.sampled_from(("left", "right"))) if value == "side" else None
            return Instruction("lighting", value=value, direction=direction)
        case "background":
            return Instruction("background", value=draw(st.sampled_from(vocabulary.BACKGROUNDS)))
        case _:
            return Instruction("mirror", draw(st.none() | definite))


_arrange = st.one_of(
    st.builds(Instruction, st.just("place"), definite, region=st.sampled_from(REGIONS)),
    st.builds(Instruction, st.just("swap"), definite, definite),
    st.builds(Instruction, st.just("align"), definite, definite, value=st.sampled_from(("row", "column"))),
    st.builds(Instruction, st.just("remove"), definite),
)
# Any valid instruction but a sequence, and any at all.
single = st.one_of(_move(), _relate(), _camera(), _turn(), _resize(), _number(), _look(), _arrange)
sequences = st.lists(single, min_size=2, max_size=3).map(
    lambda steps: Instruction("sequence", steps=tuple(steps))
)
instructions = single | sequences
