"""Surfaces and the sky as graphs of shader nodes, in plain data: the renderer only has to build them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from renderers.looks import Surface, linear

Socket = tuple[str, str | int]  # node, and its socket by name or number
Values = dict[str | int, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """kind: "Mapping" for Blender's ShaderNodeMapping. settings: its properties. inputs: values by socket."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str | int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: Mapping[str, Node]
    links: tuple[tuple[Socket, Socket], ...]


# Mix of colours: factor is input 0, colours are inputs 6 and 7 (their names repeat for every data type).
MIX, MIX_A, MIX_B, MIXED = {"data_type": "RGBA"}, 6, 7, 2


def surface_graph(surface: Surface) -> Graph:
    """The nodes of a material."""
    color = linear(surface.color)
    nodes = {
        "output": Node("OutputMaterial"),
        "shader": Node(
            "BsdfPrincipled",
            inputs={
                "Base Color": color,
                "Roughness": surface.roughness,
                "Metallic": surface.metallic,
                "Transmission Weight": surface.transmission,
                "Coat Weight": surface.coat,
                "Coat Roughness": 0.05,
                "Emission Color": color,
                "Emission Strength": surface.emission,
            },
        ),
    }
    links: list[tuple[Socket, Socket]] = [(("shader", "BSDF"), ("output", "Surface"))]
    if surface.pattern:
        more, woven = _pattern(surface)
        nodes, links = nodes | more, links + woven
    if surface.transmission:
        more, links = _glass(color)
        nodes = nodes | more
    return Graph(nodes, tuple(links))


def world_graph() -> Graph:
    """An environment map with a turn and a tint; the image, "turn", "tint" and "sky" are set for every
    scene."""
    return Graph(
        {
            "place": Node("TexCoord"),
            # TEXTURE applies the inverse: a direction is turned back first, then mirrored.
            "turn": Node("Mapping", {"vector_type": "TEXTURE"}),
            "map": Node("TexEnvironment"),
            "tint": Node("Mix", {**MIX, "blend_type": "MULTIPLY"}, {0: 1.0}),
            "sky": Node("Background"),
            "output": Node("OutputWorld"),
        },
        (
            (("place", "Generated"), ("turn", "Vector")),
            (("turn", "Vector"), ("map", "Vector")),
            (("map", "Color"), ("tint", MIX_A)),
            (("tint", MIXED), ("sky", "Color")),
            (("sky", "Background"), ("output", "Surface")),
        ),
    )


def _pattern(surface: Surface) -> tuple[dict[str, Node], list[tuple[Socket, Socket]]]:
    """Colour and relief of a pattern in the object's own coordinates, so that it moves and mirrors with
    it."""
    first = linear(surface.color)
    red, green, blue, _ = linear(surface.color2) if surface.color2 else (c * surface.shade for c in first)
    second = (red, green, blue, 1.0)
    scale: Values = {"Scale": surface.scale}
    nodes = {
        "object": Node("TexCoord"),
        "extent": Node("Attribute", {"attribute_type": "OBJECT", "attribute_name": "extent"}),
        # The shift keeps every face off the border of two checks.
        "place": Node("VectorMath", {"operation": "MULTIPLY_ADD"}, {2: (0.0137, 0.0171, 0.0113)}),
    }
    links: list[tuple[Socket, Socket]] = [
        (("object", "Object"), ("place", 0)),
        (("extent", "Vector"), ("place", 1)),
    ]
    place: Socket = ("place", 0)
    color: Socket = ("texture", "Color")
    relief: Socket = ("texture", "Fac")
    if surface.pattern == "checker":
        nodes["texture"] = Node("TexChecker", inputs={"Color1": first, "Color2": second, **scale})
    elif surface.pattern == "brick":
        width, height, mortar = surface.brick
        nodes["texture"] = Node(
            "TexBrick",
            {"offset": surface.offset},
            {
                "Color1": first,
                "Color2": second,
                "Mortar": (red * 0.35, green * 0.35, blue * 0.35, 1.0),
                "Brick Width": width,
                "Row Height": height,
                "Mortar Size": mortar,
                **scale,
            },
        )
    else:
        distortion = 1.2 if surface.pattern == "grain" else 0.0
        nodes["texture"] = Node("TexNoise", inputs={"Detail": 4.0, "Distortion": distortion, **scale})
        # Grain is drawn sharply, so that wood is told from paint on things of thirty pixels.
        blur = 0.055 if surface.pattern == "grain" else 0.12
        nodes["contrast"] = Node("MapRange", inputs={"From Min": 0.5 - blur, "From Max": 0.5 + blur})
        nodes["mix"] = Node("Mix", MIX, {MIX_A: second, MIX_B: first})
        links += [(("texture", "Fac"), ("contrast", "Value")), (("contrast", "Result"), ("mix", 0))]
        color = ("mix", MIXED)
    if surface.pattern == "grain":  # fibres run along x
        nodes["fibre"] = Node("VectorMath", {"operation": "MULTIPLY"}, {1: (1.0, 6.0, 6.0)})
        links.append((place, ("fibre", 0)))
        place = ("fibre", 0)
    links += [(place, ("texture", "Vector")), (color, ("shader", "Base Color"))]
    if surface.bump:
        depth: Values = {"Strength": surface.bump, "Distance": 0.03}
        # The relief of bricks is 1 on the mortar, which lies deeper.
        nodes["bump"] = Node("Bump", {"invert": surface.pattern == "brick"}, depth)
        links += [(relief, ("bump", "Height")), (("bump", "Normal"), ("shader", "Normal"))]
    return nodes, links


def _glass(color: tuple[float, ...]) -> tuple[dict[str, Node], list[tuple[Socket, Socket]]]:
    """Refraction, with tinted shadows: without caustics, Cycles would make them as black as those of
    stone."""
    # Light is tinted at every surface it passes, and a thing has several.
    red, green, blue = (channel**0.4 for channel in color[:3])
    nodes = {
        "shader": Node(
            "BsdfPrincipled",
            inputs={
                "Base Color": (red, green, blue, 1.0),
                "Roughness": 0.0,
                "Transmission Weight": 1.0,
                "IOR": 1.3,
            },
        ),
        "path": Node("LightPath"),
        "clear": Node("BsdfTransparent", inputs={"Color": (*(0.25 + 0.65 * c for c in color[:3]), 1.0)}),
        "either": Node("MixShader"),
    }
    links: list[tuple[Socket, Socket]] = [
        (("path", "Is Shadow Ray"), ("either", "Fac")),
        (("shader", "BSDF"), ("either", 1)),
        (("clear", "BSDF"), ("either", 2)),
        (("either", "Shader"), ("output", "Surface")),
    ]
    return nodes, links
