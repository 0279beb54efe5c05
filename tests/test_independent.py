"""The second opinion must agree with right pairs and object to wrong ones: rows drawn here as plain rectangles."""

from __future__ import annotations

import ast
import io
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from tests.independent import judge
from tests.independent.edits import COLORS
from tests.independent.sentence import split
from tests.independent.words import read

SIDE = 200  # pixels
FAR = 100.0  # metres: so far that a metre is the same number of pixels everywhere
PIXELS = 25.0  # per metre


@dataclass(frozen=True)
class Block:
    id: str
    color: str = "red"
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: float = 1.0
    yaw: float = 0.0
    material: str = "matte"

    @property
    def name(self) -> str:
        return self.id.split("-")[0]

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Block:
        return replace(self, at=(self.at[0] + x, self.at[1] + y, self.at[2] + z))


@dataclass(frozen=True)
class Lens:
    """A camera about the origin. turn: degrees it went round to its right. pan: degrees turned to its right."""

    turn: float = 0.0
    pan: float = 0.0
    focal: float = 1.0
    pitch: float = 30.0

    def matrix(self) -> np.ndarray:
        turn, pitch = np.radians(self.turn), np.radians(self.pitch)
        eye = FAR * np.array([np.sin(turn) * np.cos(pitch), -np.cos(turn) * np.cos(pitch), np.sin(pitch)])
        heading = turn - np.radians(self.pan)
        forward = np.array(
            [-np.sin(heading) * np.cos(pitch), np.cos(heading) * np.cos(pitch), -np.sin(pitch)]
        )
        right = np.array([np.cos(heading), np.sin(heading), 0.0])
        rotation = np.stack([right, np.cross(forward, right), forward])
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ eye
        return matrix

    @property
    def fx(self) -> float:
        return PIXELS * FAR * self.focal

    def row(self) -> dict[str, Any]:
        return {"fx": self.fx, "fy": self.fx, "cx": SIDE / 2, "cy": SIDE / 2, "width": SIDE, "height": SIDE,
                "world_to_camera": self.matrix().tolist()}  # fmt: skip

    def box(self, block: Block) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the block's silhouette, pixels."""
        corners = [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)]
        points = np.array(corners) * block.size + block.at
        x, y, z = (points @ self.matrix()[:3, :3].T + self.matrix()[:3, 3]).T
        u, v = self.fx * x / z + SIDE / 2, self.fx * y / z + SIDE / 2
        return round(u.min()), round(v.min()), round(u.max()), round(v.max())


@dataclass(frozen=True)
class Shot:
    blocks: tuple[Block, ...]
    lens: Lens = Lens()
    light: float = 1.0
    floor: tuple[int, int, int] = (90, 90, 90)

    def drawn(self) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, float]]:
        """Picture, visible masks, visible shares; nearer blocks hide farther ones."""
        image = np.full((SIDE, SIDE, 3), np.array(self.floor, float))
        masks: dict[str, np.ndarray] = {}
        alone: dict[str, int] = {}
        for block in sorted(self.blocks, key=lambda b: -(self.lens.matrix()[:3] @ [*b.at, 1.0])[2]):
            x0, y0, x1, y1 = self.lens.box(block)
            mask = np.zeros((SIDE, SIDE), bool)
            mask[y0:y1, x0:x1] = True
            look = 20.0 * (block.material == "wood") + block.yaw % 360 / 6
            image[mask] = np.array(COLORS[block.color]) * 0.7 + look
            for other in masks.values():
                other &= ~mask
            masks[block.id], alone[block.id] = mask, int(mask.sum())
        shares = {key: mask.sum() / alone[key] for key, mask in masks.items()}
        return np.clip(image * self.light, 0, 255).astype(np.uint8), masks, shares

    def columns(self, when: str) -> dict[str, Any]:
        image, masks, shares = self.drawn()
        stored = io.BytesIO()
        Image.fromarray(image).save(stored, "PNG")
        objects = []
        for block in self.blocks:
            run = coco.encode(np.asfortranarray(masks[block.id].astype(np.uint8)))
            half = np.radians(block.yaw) / 2
            pose = {"position": list(block.at), "quaternion": [np.cos(half), 0.0, 0.0, np.sin(half)],
                    "size": [block.size] * 3}  # fmt: skip
            objects.append({"id": block.id, "name": block.name, "color": block.color, "material": block.material,
                            "visible_fraction": shares[block.id], "pose": pose,
                            "mask": {"size": run["size"], "counts": run["counts"].decode()}})  # fmt: skip
        picture = "original_image" if when == "before" else "edited_image"
        return {
            f"objects_{when}": objects,
            f"camera_{when}": self.lens.row(),
            picture: {"bytes": stored.getvalue()},
        }


EMPTY = dict.fromkeys(("subject", "reference", "reference2", "direction", "amount", "unit", "region", "relation",
                       "value", "vagueness"))  # fmt: skip


def step(kind: str, words: tuple[str, ...] = (), ids: tuple[str, ...] = (), objects: tuple[str, ...] = (),
         **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """(said, done) of one step; `done_amount` where a vague sentence leaves the amount open."""
    done_amount, unit = fields.pop("done_amount", None), fields.get("unit")
    names = ("subject", "reference", "reference2")
    said = EMPTY | fields | {"kind": kind} | dict(zip(names, words))
    done = EMPTY | fields | {"kind": kind, "objects": list(objects)} | dict(zip(names, ids))
    if done_amount is not None:
        said |= {"amount": None, "unit": None}
        done |= {"amount": done_amount, "unit": unit}
    return said, done


def pair(text: str, steps: list[tuple[dict[str, Any], dict[str, Any]]], before: Shot, after: Shot,
         language: str = "en") -> dict[str, Any]:  # fmt: skip
    return {
        "edit_prompt": text, "language": language,
        "edit_kind": steps[0][0]["kind"] if len(steps) == 1 else "sequence",
        "instructions": [said for said, _ in steps], "operations": [done for _, done in steps],
        **before.columns("before"), **after.columns("after"),
    }  # fmt: skip


BALL, CUBE, CONE = (
    Block("ball-1", "red", (-1, 0, 0)),
    Block("cube-1", "blue", (1.5, 1, 0)),
    Block("cone-1", "green", (2, -2, 0)),
)
SCENE = Shot((BALL, CUBE, CONE))
LEFT = step("move", ("the red ball",), ("ball-1",), direction="left", amount=25.0, unit="percent_width")
QUARTER = 0.25 * SIDE / PIXELS  # metres that are a quarter of the picture


def changed(**blocks: Block) -> Shot:
    return replace(SCENE, blocks=tuple(blocks.get(b.name, b) for b in SCENE.blocks))


def moved_left(
    text: str = "move the red ball 25% to the left", by: float = QUARTER, language: str = "en"
) -> dict[str, Any]:
    words = "the red ball" if language == "en" else "quả bóng đỏ"
    steps = [(LEFT[0] | {"subject": words}, LEFT[1])]
    return pair(text, steps, SCENE, changed(ball=BALL.moved(x=-by)), language)


def added(number: int, text: str, asked: float | None = None, color: str = "yellow") -> dict[str, Any]:
    new = tuple(Block(f"mug-{i}", color, (-3.0 + 1.5 * i, -1.5, 0)) for i in range(number))
    steps = [
        step(
            "add", ("yellow mugs",), (), tuple(b.id for b in new), amount=asked or float(number), unit="count"
        )
    ]
    return pair(text, steps, SCENE, replace(SCENE, blocks=SCENE.blocks + new))


def rotated(text: str, by: float, direction: str = "clockwise") -> dict[str, Any]:
    steps = [step("rotate", ("the cube",), ("cube-1",), direction=direction, amount=90.0, unit="degree")]
    return pair(text, steps, SCENE, changed(cube=replace(CUBE, yaw=by)))


def related(relation: str, text: str, at: tuple[float, float, float]) -> dict[str, Any]:
    steps = [step("relate", ("the ball", "the cube"), ("ball-1", "cube-1"), relation=relation)]
    return pair(text, steps, SCENE, changed(ball=replace(BALL, at=at)))


def camera(kind: str, text: str, lens: Lens, **fields: Any) -> dict[str, Any]:
    said, done = step(kind, **fields)
    if kind == "zoom" and fields["value"] == "out":
        done["amount"] = 1 / done["amount"]
    return pair(text, [(said, done)], SCENE, replace(SCENE, lens=lens))


def recolored(value: str, now: str, text: str) -> dict[str, Any]:
    steps = [step("recolor", ("the ball",), ("ball-1",), value=value)]
    return pair(text, steps, SCENE, changed(ball=replace(BALL, color=now)))


def resized(text: str, size: float, amount: float = 1.5) -> dict[str, Any]:
    steps = [step("resize", ("the ball",), ("ball-1",), value="larger", amount=amount, unit="factor")]
    return pair(text, steps, SCENE, changed(ball=replace(BALL, size=size)))


def counted(text: str, asked: float) -> dict[str, Any]:
    three = tuple(Block(f"ball-{i}", "red", (2.0 * i - 4, 0, 0)) for i in (1, 2, 3))
    steps = [step("count", ("balls",), (), ("ball-3",), amount=asked, unit="count")]
    return pair(text, steps, Shot((*three, CUBE)), Shot((*three[:2], CUBE)))


def swapped(text: str, ball: tuple[float, float, float], cube: tuple[float, float, float]) -> dict[str, Any]:
    steps = [step("swap", ("the ball", "the cube"), ("ball-1", "cube-1"))]
    return pair(text, steps, SCENE, changed(ball=replace(BALL, at=ball), cube=replace(CUBE, at=cube)))


def sequence(text: str, now: str = "black") -> dict[str, Any]:
    steps = [
        step("remove", ("the cone",), ("cone-1",), ("cone-1",)),
        step("recolor", ("the cube",), ("cube-1",), value="black"),
    ]
    return pair(text, steps, SCENE, Shot((BALL, replace(CUBE, color=now))))


def mirrored(flip: bool) -> dict[str, Any]:
    other = Shot(tuple(replace(b, at=(-b.at[0], *b.at[1:])) for b in SCENE.blocks)) if flip else SCENE
    return pair("mirror the picture", [step("mirror")], SCENE, other)


def lit(text: str, value: str, light: float) -> dict[str, Any]:
    return pair(text, [step("lighting", value=value)], SCENE, replace(SCENE, light=light))


def placed(text: str, at: tuple[float, float, float], region: str) -> dict[str, Any]:
    steps = [step("place", ("the ball",), ("ball-1",), region=region)]
    return pair(text, steps, SCENE, changed(ball=replace(BALL, at=at)))


def floored(colour: tuple[int, int, int]) -> dict[str, Any]:
    steps = [step("background", value="floor:sand")]
    return pair("use a sand floor", steps, SCENE, replace(SCENE, floor=colour))


ORBIT = {"direction": "right", "amount": 20.0, "unit": "degree"}
PAN = {"direction": "right", "amount": 1.0, "unit": "degree"}
SLIGHTLY = step(
    "move", ("the red ball",), ("ball-1",), direction="left", unit="percent_width", done_amount=8.0
)

RIGHT = {
    "move": moved_left(),
    "move in figures spelt out": moved_left("let's shift the red ball twenty-five percent to the left"),
    "move in Vietnamese": moved_left("dời quả bóng đỏ sang trái hai mươi lăm phần trăm", language="vi"),
    "move slightly": pair("move the red ball slightly left", [SLIGHTLY], SCENE, changed(ball=BALL.moved(x=-0.64))),
    "place": placed("put the ball in the lower-left corner", (-3, -5, 0), "lower-left"),
    "left of": related("left_of", "put the ball to the left of the cube", (0, 1, 0)),
    "in front of": related("in_front_of", "put the ball in front of the cube", (1.5, -1, 0)),
    "on": related("on", "put the ball on top of the cube", (1.5, 1, 1)),
    "swap": swapped("swap the ball and the cube", CUBE.at, BALL.at),
    "rotate": rotated("rotate the cube 90 degrees clockwise", -90.0),
    "quarter turn": rotated("turn the cube clockwise by a quarter turn", -90.0),
    "orbit": camera("orbit", "orbit the camera 20° right", Lens(turn=20.0), **ORBIT),
    "pan": camera("pan", "pan the camera 1° to the right", Lens(pan=1.0), **PAN),
    "zoom in": camera("zoom", "zoom in by 20%", Lens(focal=1.2), value="in", amount=1.2, unit="factor"),
    "zoom out": camera("zoom", "zoom out 1.25x", Lens(focal=0.8), value="out", amount=1.25, unit="factor"),
    "resize": resized("make the ball 50% larger", 1.5),
    "add": added(2, "add two yellow mugs"),
    "count": counted("there should be two balls", 2.0),
    "recolor": recolored("blue", "blue", "paint the ball blue"),
    "mirror": mirrored(True),
    "brighter": lit("make the light brighter", "brighter", 1.2),
    "background": floored((200, 180, 130)),
    "sequence": sequence("remove the cone, and then paint the cube black"),
}  # fmt: skip

WRONG = {
    "moved the other way": (moved_left(by=-QUARTER), "off the asked amount"),
    "moved too little": (moved_left(by=0.8 * QUARTER), "off the asked amount"),
    "moved across as well": (
        pair("move the red ball 25% to the left", [LEFT], SCENE, changed(ball=BALL.moved(x=-QUARTER, y=-1))),
        "drift across",
    ),
    "wrong number in the sentence": (moved_left("move the red ball 20% to the left"), "amount: heard 20"),
    "wrong direction in the sentence": (moved_left("move the red ball 25% to the right"), "direction: heard"),
    "wrong direction in Vietnamese": (
        moved_left("dời quả bóng đỏ sang phải hai mươi lăm phần trăm", language="vi"), "direction: heard",
    ),
    "wrong language": (moved_left("dời quả bóng đỏ sang trái 25%"), "not in en"),
    "wrong colour in the sentence": (moved_left("move the blue ball 25% to the left"), "heard Phrase"),
    "slightly that is far": (
        pair("move the red ball slightly left",
             [(SLIGHTLY[0], SLIGHTLY[1] | {"amount": 30.0})], SCENE, changed(ball=BALL.moved(x=-2.4))),
        "is not in 2..15",
    ),
    "another object moved too": (
        pair("move the red ball 25% to the left", [LEFT], SCENE,
             changed(ball=BALL.moved(x=-QUARTER), cube=CUBE.moved(x=0.3))),
        "unnamed mask pixels changed",
    ),
    "another object recoloured too": (
        pair("move the red ball 25% to the left", [LEFT], SCENE,
             changed(ball=BALL.moved(x=-QUARTER), cube=replace(CUBE, color="pink"))),
        "colour went from blue to pink",
    ),
    "the wrong object moved": (
        pair("move the red ball 25% to the left", [LEFT], SCENE, changed(cube=CUBE.moved(x=-QUARTER))),
        "off the asked amount",
    ),
    "camera moved too": (
        pair("move the red ball 25% to the left", [LEFT], SCENE,
             replace(changed(ball=BALL.moved(x=-QUARTER)), lens=Lens(turn=5.0))),
        "camera moved",
    ),
    "two objects fit the words": (
        pair("move the red ball 25% to the left", [LEFT],
             Shot((BALL, Block("ball-2", "red", (2, 1, 0)))),
             Shot((BALL.moved(x=-QUARTER), Block("ball-2", "red", (2, 1, 0))))),
        "as well as ball-1",
    ),
    "floats": (related("left_of", "put the ball to the left of the cube", (-1, 1, 0.4)), "floats or sinks"),
    "wrong cell": (placed("put the ball in the lower-left corner", (0, -5, 0), "lower-left"), "outside the lower-left"),
    "cell named otherwise": (placed("put the ball lower-right", (-3, -5, 0), "lower-left"), "region: heard"),
    "right of, not left of": (related("left_of", "put the ball to the left of the cube", (3, 1, 0)), "left_of"),
    "behind, not in front": (related("in_front_of", "put the ball in front of the cube", (1.5, 3, 0)), "in_front_of"),
    "relation named otherwise": (related("behind", "put the ball before the cube", (1.5, 3, 0)), "relation: heard"),
    "beside, not on top": (related("on", "put the ball on top of the cube", (0.4, 1, 0)), "above or below the top"),
    "only one swapped": (swapped("swap the ball and the cube", CUBE.at, (3, 3, 0)), "not taken over"),
    "turned the other way": (rotated("rotate the cube 90 degrees clockwise", 90.0), "off the asked turn"),
    "turn named otherwise": (rotated("rotate the cube 90 degrees anticlockwise", -90.0), "turn: heard"),
    "orbit the other way": (camera("orbit", "orbit the camera 20° right", Lens(turn=-20.0), **ORBIT), "m, not right"),
    "turned in place, not around": (
        camera("orbit", "orbit the camera 1° right", Lens(pan=-1.0), **(ORBIT | {"amount": 1.0})),
        "m, not right",
    ),
    "orbit too far": (camera("orbit", "orbit the camera 20° right", Lens(turn=25.0), **ORBIT), "off the asked turn"),
    "pan the other way": (camera("pan", "pan the camera 1° to the right", Lens(pan=-1.0), **PAN), "while panning"),
    "zoomed the other way": (
        camera("zoom", "zoom in by 20%", Lens(focal=0.8), value="in", amount=1.2, unit="factor"),
        "off the scaled place",
    ),
    "grew too much": (resized("make the ball 50% larger", 1.9), "shown size off the factor"),
    "grows by another figure": (resized("make the ball 50% larger", 1.7, amount=1.7), "amount: heard 1.5"),
    "one too many added": (added(3, "add two yellow mugs", asked=2.0), "3 new objects, 2 asked"),
    "number added named otherwise": (added(3, "add two yellow mugs"), "number: heard 2"),
    "added in another colour": (added(2, "add two yellow mugs", color="pink"), "does not fit"),
    "wrong count": (counted("there should be one ball", 1.0), "2 objects fit"),
    "count named otherwise": (counted("there should be three balls", 2.0), "number: heard 3"),
    "painted another colour": (recolored("blue", "yellow", "paint the ball blue"), "its colour is yellow"),
    "colour named otherwise": (recolored("blue", "blue", "paint the ball green"), "value: heard"),
    "not mirrored": (mirrored(False), "differs from the flipped picture"),
    "dimmer, not brighter": (lit("make the light brighter", "brighter", 0.8), "light is"),
    "light named otherwise": (lit("make the light darker", "brighter", 1.2), "value: heard"),
    "grass, not sand": (floored((60, 140, 60)), "is no floor:sand"),
    "picture mirrored, not the object": (
        pair("mirror the cube", [(step("mirror", ("the cube",))[0], step("mirror")[1])], SCENE, SCENE),
        "subject: said the cube, done None",
    ),
    "second step not done": (sequence("remove the cone, and then paint the cube black", "blue"), "its colour is blue"),
    "second step missing in words": (sequence("remove the cone"), "1 sentences, 2 said, 2 done"),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_pair_agrees(name: str) -> None:
    assert judge(RIGHT[name]).complaints == []


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pair_is_objected_to(name: str) -> None:
    row, why = WRONG[name]
    complaints = judge(row).complaints
    assert any(why in complaint for complaint in complaints), complaints


def test_painted_label_without_painted_pixels_is_objected_to() -> None:
    row = recolored("blue", "blue", "paint the ball blue")
    row["edited_image"] = row["original_image"]
    assert any("towards blue" in complaint for complaint in judge(row).complaints)


@pytest.mark.parametrize("nearer", [False, True])
def test_larger_one_must_look_larger_too(nearer: bool) -> None:
    """A large ball far away may look smaller than a small one nearby: then "the larger ball" misleads."""
    balls = (replace(BALL, size=1.5), Block("ball-2", "red", (2, 1, 0)))
    steps = [step("remove", ("the larger ball",), ("ball-1",), ("ball-1",))]
    row = pair("remove the larger ball", steps, Shot(balls), Shot(balls[1:]))
    if nearer:
        one, two = row["objects_before"]
        one["mask"], two["mask"] = two["mask"], one["mask"]
    assert any("looks it" in complaint for complaint in judge(row).complaints) == nearer
    assert nearer or judge(row).complaints == []


def test_object_that_the_moved_one_uncovers_may_change_its_mask() -> None:
    hiding = BALL.moved(x=2.2, y=-0.5)
    before, after = (
        replace(SCENE, blocks=(hiding, CUBE, CONE)),
        replace(SCENE, blocks=(hiding.moved(x=-QUARTER), CUBE, CONE)),
    )
    assert judge(pair("move the red ball 25% to the left", [LEFT], before, after)).complaints == []


def test_it_shares_nothing_with_the_project() -> None:
    """Only numpy, pycocotools, Pillow and the standard library: what is imported from here could be wrong alike."""
    allowed = {"numpy", "pycocotools", "PIL", *sys.stdlib_module_names}
    for path in (Path(__file__).parent / "independent").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name == "tests.independent" or name.startswith("tests.independent.")
                assert own or name.split(".")[0] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    ("text", "language", "quantities"),
    [
        ("move it one and a half metres left", "en", ((1.5, "metre"),)),
        ("forty centimetres", "en", ((0.4, "metre"),)),
        ("half of the way", "en", ((0.5, "way"),)),
        ("to 170 percent of its size", "en", ((1.7, "size"),)),
        ("một lần rưỡi", "vi", ((1.5, "times"),)),
        ("1,3 m", "vi", ((1.3, "metre"),)),
        ("bốn mươi lăm độ", "vi", ((45.0, "degree"),)),
        ("nửa vòng", "vi", ((180.0, "degree"),)),
    ],
)
def test_figures_are_read(text: str, language: str, quantities: tuple[tuple[float, str], ...]) -> None:
    assert read(text, language).quantities == quantities


def test_sequences_are_split_at_their_joints() -> None:
    assert split("First remove the cone, then put the ball next to the cube.", "en", 2) == [
        "remove the cone", "put the ball next to the cube",
    ]  # fmt: skip
    assert len(split("đầu tiên xoá khối nón, rồi sau đó sơn quả bóng màu đỏ", "vi", 2)) == 2
