"""Did the picture change as the operation says? Measured from masks; from poses and cameras where masks cannot tell.

Every judge takes the two states and the operation, writes figures and complaints to a `Report`. Lengths in the
image are per cent of the width (x) or the height (y) unless a name says metres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.independent.pictures import Array, State, Thing, lab, overlap, turned

Row = Mapping[str, Any]

COLORS = {
    "red": (200, 30, 30), "orange": (235, 130, 30), "yellow": (235, 210, 50), "green": (50, 150, 50),
    "blue": (40, 80, 200), "purple": (120, 50, 160), "pink": (240, 140, 180), "brown": (110, 70, 40),
    "white": (240, 240, 240), "black": (20, 20, 20), "gray": (128, 128, 128),
}  # fmt: skip

# What a floor looks like in any light of the scenes, from the median L*a*b* of its pixels and the spread of L*.
FLOORS: dict[str, Callable[[Array, float], bool]] = {
    "grass": lambda lab, spread: lab[1] < -10,
    "sand": lambda lab, spread: -8 < lab[1] < 18 and lab[2] > 12,
    "wood": lambda lab, spread: lab[1] > 3 and lab[2] > 8,
    "carpet": lambda lab, spread: lab[1] > 12,
    "concrete": lambda lab, spread: np.hypot(lab[1], lab[2]) < 25,
    "tiles": lambda lab, spread: np.hypot(lab[1], lab[2]) < 30,
    "checkered": lambda lab, spread: spread > 12,
}


@dataclass
class Report:
    """figures: the worst of each name, larger is worse. complaints: empty where the pair agrees."""

    figures: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def hold(self, truth: bool, complaint: str) -> None:
        if not truth:
            self.complaints.append(complaint)

    def within(self, name: str, error: float | np.floating[Any], limit: float) -> None:
        """Record an error that must not exceed the limit."""
        error = abs(float(error))
        self.figures[name] = max(error, self.figures.get(name, 0.0))
        self.hold(error <= limit, f"{name} {error:.4g} is over {limit:.4g}")

    def note(self, name: str, value: float) -> None:
        self.figures[name] = max(float(value), self.figures.get(name, -np.inf))


def percent(before: State, vector: Array) -> Array:
    return 100 * vector / [before.eye.width, before.eye.height]


def _shift(before: State, after: State, key: str) -> tuple[Array, Array]:
    """How the centre of a mask moved, and the slack that hidden parts ask for; per cent."""
    a, b = before.things[key], after.things[key]
    return percent(before, b.centre - a.centre), percent(before, a.slack + b.slack)


def move(before: State, after: State, done: Row, report: Report) -> None:
    key, direction, amount = done["subject"], done["direction"], done["amount"]
    a, b = before.things[key], after.things[key]
    shift, slack = _shift(before, after, key)
    travel = b.position - a.position
    if done["unit"].startswith("percent"):
        axis, sign = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}[direction]
        report.within("off the asked amount %", sign * shift[axis] - amount, 1.0 + slack[axis])
        report.within("drift across %", shift[1 - axis], 2.0 + slack[1 - axis])
    elif direction is not None:
        eye = before.eye
        wanted = {"left": -eye.right, "right": eye.right, "forward": -eye.ground_forward,
                  "backward": eye.ground_forward}[direction]  # fmt: skip
        report.within("off the asked metres", np.linalg.norm(travel) - amount, 0.02)
        report.within("off the asked bearing °", _angle(travel, wanted), 3.0)
        axis, sign = {"left": (0, -1), "right": (0, 1), "forward": (1, 1), "backward": (1, -1)}[direction]
        report.hold(sign * shift[axis] > 0, f"the mask moved {shift.round(1)} %, not {direction}")
    else:
        _towards(before, after, done, report)
    report.within("left its height metres", travel[2], 0.005)


def _towards(before: State, after: State, done: Row, report: Report) -> None:
    a, b = before.things[done["subject"]], after.things[done["subject"]]
    goal = before.things[done["reference"]].position
    way, travel = (goal - a.position)[:2], (b.position - a.position)[:2]
    wanted = way if done["value"] == "toward" else -way
    length = done["amount"] * np.linalg.norm(way) if done["unit"] == "factor" else done["amount"]
    report.within("off the asked metres", np.linalg.norm(travel) - length, 0.02 + 0.02 * length)
    report.within("off the asked bearing °", _angle(travel, wanted), 3.0)
    if done["value"] == "toward":
        report.hold(bool(travel @ way < way @ way), "went past the reference")
        gap = [float(np.linalg.norm(s.things[done["reference"]].centre - s.things[done["subject"]].centre))
               for s in (before, after)]  # fmt: skip
        report.hold(gap[1] < gap[0], f"not nearer in the picture: {gap[0]:.1f} to {gap[1]:.1f} px")


def _angle(a: Array, b: Array) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def _in_region(after: State, key: str, region: str, report: Report) -> None:
    thing = after.things[key]
    x, y = thing.centre / [after.eye.width, after.eye.height]
    sx, sy = thing.slack / [after.eye.width, after.eye.height]
    column = 0 if "left" in region else 2 if "right" in region else 1
    row = 0 if "upper" in region else 2 if "lower" in region else 1
    for name, value, cell, slack in (("x", x, column, sx), ("y", y, row, sy)):
        report.within(f"outside the {region} cell in {name} %",
                      100 * max(cell / 3 - value, value - (cell + 1) / 3, 0), 100 * slack)  # fmt: skip


def place(before: State, after: State, done: Row, report: Report) -> None:
    _in_region(after, done["subject"], done["region"], report)


def _related(before: State, after: State, key: str, done: Row, report: Report) -> None:
    relation, eye = done["relation"], after.eye
    thing, other = after.things[key], after.things[done["reference"]]
    apart = thing.position - other.position
    aside, away = float(apart @ eye.right), float(apart @ eye.ground_forward)
    if relation in ("left_of", "right_of"):
        sign = -1 if relation == "left_of" else 1
        gap = sign * (thing.centre - other.centre)[0]
        report.hold(gap > 0.5 * min(np.ptp(thing.box[::2]), np.ptp(other.box[::2])),
                    f"centres only {gap:.1f} px apart to the {relation}")  # fmt: skip
        report.hold(sign * aside > abs(away), f"more in depth ({away:.2f} m) than aside ({aside:.2f} m)")
    elif relation in ("in_front_of", "behind"):
        sign = 1 if relation == "in_front_of" else -1
        drop = sign * (thing.box[3] - other.box[3])
        report.hold(drop > 0, f"lowest row {drop:.0f} px on the wrong side for {relation}")
        nearer = sign * (eye.depth(other.position) - eye.depth(thing.position))
        report.hold(nearer > 0, f"depth {nearer:.2f} m on the wrong side for {relation}")
        report.hold(-sign * away > abs(aside), f"more aside ({aside:.2f} m) than in depth ({away:.2f} m)")
    elif relation == "on":
        _on(thing, other, report)
    elif relation == "next_to":
        gap = float(np.hypot(*apart[:2])) - thing.reach - other.reach
        report.within("gap beside metres", max(gap, 0.0), 0.6)
        beside = max(thing.box[0] - other.box[2], other.box[0] - thing.box[2], 0) / eye.width * 100
        report.within("gap beside %", beside, 12.0)
        report.within("not on one floor metres", apart[2], 0.005)
    elif relation == "between":
        _between(thing, other, after.things[done["reference2"]], report)
    if done["amount"] is not None and done["unit"] == "metre":
        report.within("off the asked distance metres", np.hypot(*apart[:2]) - done["amount"], 0.03)


def _on(thing: Thing, other: Thing, report: Report) -> None:
    report.within(
        "above or below the top metres", thing.position[2] - other.position[2] - other.size[2], 0.01
    )
    local = other.rotation.T @ (thing.position - other.position)
    report.within("off the middle of the support, share", max(abs(local[:2]) / other.size[:2]), 0.5)
    grown = np.zeros_like(thing.mask)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            grown |= np.roll(thing.mask, (dy, dx), (0, 1))
    report.hold(bool((grown & other.mask).any()), "the masks do not touch")
    report.hold(bool(thing.centre[1] < other.centre[1]), "stands lower in the picture than its support")


def _between(thing: Thing, one: Thing, two: Thing, report: Report) -> None:
    line = (two.position - one.position)[:2]
    apart = (thing.position - one.position)[:2]
    share = float(apart @ line / (line @ line))
    report.within("off the middle, share of the way", share - 0.5, 0.25)
    off = apart - share * line
    report.within("off the line, share of its length", np.linalg.norm(off) / np.linalg.norm(line), 0.25)
    seen = two.centre - one.centre
    along = float((thing.centre - one.centre) @ seen / (seen @ seen))
    report.hold(0 < along < 1, f"in the picture at {along:.2f} of the way, not between")


def relate(before: State, after: State, done: Row, report: Report) -> None:
    _related(before, after, done["subject"], done, report)


def swap(before: State, after: State, done: Row, report: Report) -> None:
    for key, other in ((done["subject"], done["reference"]), (done["reference"], done["subject"])):
        a, b = before.things[other], after.things[key]
        slack = percent(before, a.slack + b.slack)
        off = percent(before, b.centre - a.centre)
        report.within("column not taken over %", off[0], 2.5 + slack[0])
        foot = percent(before, after.eye.project(b.position)[0] - before.eye.project(a.position)[0])
        report.within("foot not taken over %", np.abs(foot).max(), 4.0)


def align(before: State, after: State, done: Row, report: Report) -> None:
    thing, other = after.things[done["subject"]], after.things[done["reference"]]
    slack = percent(after, thing.slack + other.slack)
    if done["value"] == "column":
        report.within("columns apart %", percent(after, thing.centre - other.centre)[0], 1.0 + slack[0])
        report.hold(abs(thing.box[3] - other.box[3]) > 2, "not one behind the other")
    else:
        feet = 100 * (thing.box[3] - other.box[3]) / after.eye.height
        report.within("feet apart %", feet, 1.0 + slack[1])


def rotate(before: State, after: State, done: Row, report: Report) -> None:
    a, b = before.things[done["subject"]], after.things[done["subject"]]
    asked = done["amount"] * (-1 if done["direction"] == "clockwise" else 1)
    off = turned(b.yaw - a.yaw - asked)
    report.within("off the asked turn °", 180 - abs(turned(off - 180)) if done["amount"] == 180 else off, 0.5)
    report.within("tilted", np.abs(a.rotation[2] - b.rotation[2]).max(), 1e-3)
    _changed(before, after, done["subject"], 2.0, report)


def _changed(before: State, after: State, key: str, least: float, report: Report) -> None:
    """The pixels of an object must differ by some levels on average."""
    area = before.things[key].mask | after.things[key].mask
    change = float(np.abs(after.image - before.image)[area].mean())
    report.note("least change, levels (negative)", -change)
    report.hold(change >= least, f"{key} looks the same: {change:.2f} levels")


def orbit(before: State, after: State, done: Row, report: Report) -> None:
    a, b = before.eye, after.eye
    turn = a.rotation.T @ b.rotation  # how the camera's axes turned, in the world
    angle = float(np.degrees(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])))
    travel = b.position - a.position
    report.within("off the asked turn °", abs(angle) - done["amount"], 0.5)
    report.within("not about the vertical", np.abs(turn[2] - [0, 0, 1]).max(), 1e-3)
    report.hold(done["direction"] in ("left", "right"), "no direction done")
    aside = float(travel @ a.right) * (-1 if done["direction"] == "left" else 1)
    report.hold(aside > 0.01, f"the camera went {aside:.2f} m, not {done['direction']}")
    # It keeps looking at one point among the objects: the optical axes before and after meet there.
    across = np.cross(a.forward, b.forward)
    report.within("optical axes miss metres", travel @ across / np.linalg.norm(across), 0.02)
    pivot = float(np.cross(travel, b.forward) @ across / (across @ across))
    depths = [a.depth(thing.position) for thing in before.things.values()]
    report.hold(0.6 * min(depths) < pivot < 1.5 * max(depths), f"turns about a point {pivot:.2f} m ahead")
    report.within("height changed metres", travel[2], 0.01)
    _seen_as_posed(before, after, report)


def pan(before: State, after: State, done: Row, report: Report) -> None:
    a, b = before.eye, after.eye
    report.within("camera left its place metres", np.linalg.norm(b.position - a.position), 1e-3)
    turn = b.rotation @ a.rotation.T
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    report.within("off the asked turn °", angle - done["amount"], 0.3)
    axis, sign = {"left": (0, 1), "right": (0, -1), "up": (1, 1), "down": (1, -1)}[done["direction"]]
    moved = [_shift(before, after, key)[0] for key in before.things if key in after.things]
    for shift in moved:  # what the camera turns away from moves the other way
        report.hold(
            sign * shift[axis] > 0, f"objects moved {shift.round(1)} % while panning {done['direction']}"
        )
    _seen_as_posed(before, after, report)


def zoom(before: State, after: State, done: Row, report: Report) -> None:
    factor = done["amount"]  # of the focal length: below one when zooming out
    report.hold((factor > 1) == (done["value"] == "in"), f"factor {factor:.3g} for zooming {done['value']}")
    report.within(
        "camera left its place metres", np.linalg.norm(after.eye.position - before.eye.position), 1e-3
    )
    middle = np.array([before.eye.cx, before.eye.cy])
    for key, a in before.things.items():
        b = after.things[key]
        wanted = middle + factor * (a.centre - middle)
        report.within("off the scaled place %", np.abs(percent(before, b.centre - wanted)).max(),
                      1.0 + percent(before, a.slack + b.slack).max())  # fmt: skip
        grown = np.sqrt(b.mask.sum() / a.mask.sum()) / factor
        report.within("off the asked size, share", grown - 1, 0.06)


def _seen_as_posed(before: State, after: State, report: Report) -> None:
    """Masks moved as the middles of the posed boxes do."""
    for key, a in before.things.items():
        b = after.things[key]
        middle = [s.eye.project(t.corners.mean(axis=0))[0] for s, t in ((before, a), (after, b))]
        off = percent(before, (b.centre - a.centre) - (middle[1] - middle[0]))
        slack = percent(before, a.slack + b.slack)
        report.within("mask strays from pose %", np.maximum(np.abs(off) - slack, 0).max(), 3.5)


def resize(before: State, after: State, done: Row, report: Report) -> None:
    a, b = before.things[done["subject"]], after.things[done["subject"]]
    report.within("size off the factor, share", np.abs(b.size / a.size / done["amount"] - 1).max(), 0.01)
    shown = np.sqrt((b.mask.sum() / max(b.visible, 0.01)) / (a.mask.sum() / max(a.visible, 0.01)))
    report.within("shown size off the factor, share", shown / done["amount"] - 1, 0.15)
    report.hold((done["amount"] > 1) == (done["value"] == "larger"), "factor against its word")


def _new(before: State, after: State, done: Row, report: Report) -> list[Thing]:
    new = [after.things[key] for key in done["objects"] if key in after.things and key not in before.things]
    report.hold(len(new) == len(done["objects"]) == done["amount"],
                f"{len(new)} new objects, {done['amount']:g} asked")  # fmt: skip
    for thing in new:
        report.within("hidden share of new ones", 1 - thing.visible, 0.2)
        report.hold(thing.mask.sum() >= 30, f"{thing.id} has {thing.mask.sum()} pixels")
        _appears(before, after, thing, report)
    return new


def _appears(before: State, after: State, thing: Thing, report: Report) -> None:
    change = float(np.abs(after.image - before.image)[thing.mask].mean())
    report.note("least change, levels (negative)", -change)
    report.hold(change >= 3.0, f"nothing to be seen of {thing.id}: {change:.2f} levels")


def add(before: State, after: State, done: Row, report: Report) -> None:
    for thing in _new(before, after, done, report):
        if done["region"]:
            _in_region(after, thing.id, done["region"], report)
        if done["relation"]:
            _related(before, after, thing.id, done, report)


def duplicate(before: State, after: State, done: Row, report: Report) -> None:
    model = before.things[done["subject"]]
    for copy in _new(before, after, done, report):
        report.hold((copy.name, copy.color, copy.material) == (model.name, model.color, model.material),
                    f"{copy.id} is no copy of {model.id}")  # fmt: skip
        report.within("size of the copy, share", np.abs(copy.size / model.size - 1).max(), 1e-3)


def remove(before: State, after: State, done: Row, report: Report) -> None:
    report.hold(done["objects"] == [done["subject"]], f"removes {done['objects']}, not the subject")
    report.hold(done["subject"] not in after.things, f"{done['subject']} is still there")
    _appears(after, before, before.things[done["subject"]], report)


def count(before: State, after: State, done: Row, report: Report) -> None:
    changed = set(before.things) ^ set(after.things)
    report.hold(changed == set(done["objects"]), f"{changed} changed, not {done['objects']}")
    for key in changed & set(after.things):
        report.within("hidden share of new ones", 1 - after.things[key].visible, 0.2)


def recolor(before: State, after: State, done: Row, report: Report) -> None:
    a, b = before.things[done["subject"]], after.things[done["subject"]]
    report.hold(b.color == done["value"], f"its colour is {b.color}")
    both = a.mask & b.mask
    was, now = (np.median(lab(s.image[both]), axis=0) for s in (before, after))
    old, new = lab(np.array(COLORS[a.color or "gray"])), lab(np.array(COLORS[done["value"]]))
    # Along the way between the two named colours, in all or in hue and chroma alone: patterns and metals shift the
    # lightness of a colour that is plainly the asked one.
    ways = [(now - was, new - old), ((now - was)[1:], (new - old)[1:])]
    course = max(float(went @ way / np.linalg.norm(way)) for went, way in ways)
    report.note("least way to the new colour (negative)", -course)
    report.hold(course > 2.0, f"went {course:.1f} from {a.color} towards {done['value']}")


def material(before: State, after: State, done: Row, report: Report) -> None:
    report.hold(after.things[done["subject"]].material == done["value"], "its material is another")
    _changed(before, after, done["subject"], 2.0, report)


def lighting(before: State, after: State, done: Row, report: Report) -> None:
    value = done["value"]
    light = after.image.mean() / before.image.mean()
    warmth = [s.image[..., 0].mean() / s.image[..., 2].mean() for s in (before, after)]
    if value in ("brighter", "dimmer"):
        report.note("least change of light (negative)", -abs(light - 1))
        report.hold(light > 1.04 if value == "brighter" else light < 0.96, f"light is {light:.3f} of before")
    elif value in ("warmer", "cooler"):
        gain = warmth[1] / warmth[0]
        report.note("least change of warmth (negative)", -abs(gain - 1))
        report.hold(
            gain > 1.03 if value == "warmer" else gain < 0.97, f"red over blue is {gain:.3f} of before"
        )
    elif value == "side":
        lean = _lean(after)
        sign = 1 if done["direction"] == "left" else -1
        report.note("least lean to the lit side (negative)", -sign * lean)
        report.hold(sign * lean > 0, f"objects are lit from the other side ({lean:.3f})")
    change = float(np.abs(after.image - before.image).mean())
    report.hold(change > 2.0, f"the picture changed by {change:.2f} levels")


def _lean(shown: State) -> float:
    """Mean over objects of (left half - right half) / all, in brightness: above zero when lit from the left."""
    leans = []
    grey = shown.image.mean(axis=2)
    for thing in shown.things.values():
        x = np.arange(shown.eye.width)[None] + 0.5 < thing.centre[0]
        values = grey[thing.mask & x].mean(), grey[thing.mask & ~x].mean()
        leans.append((values[0] - values[1]) / max(1.0, grey[thing.mask].mean()))
    return float(np.mean(leans))


def background(before: State, after: State, done: Row, report: Report) -> None:
    empty = ~before.covered(set(before.things)) & ~after.covered(set(after.things))
    change = float(np.abs(after.image - before.image)[empty].mean())
    report.note("least change, levels (negative)", -change)
    report.hold(change > 3.0, f"the background changed by {change:.2f} levels")

    if done["value"].startswith("floor:"):
        lower = empty & (np.arange(after.eye.height)[:, None] >= after.eye.height // 2)
        values = lab(after.image[lower])
        look = FLOORS[done["value"].removeprefix("floor:")]
        report.hold(look(np.median(values, axis=0), values[:, 0].std()),
                    f"median L*a*b* {np.median(values, axis=0).round()} is no {done['value']}")  # fmt: skip


def mirror(before: State, after: State, done: Row, report: Report) -> None:
    if done["subject"] is None:
        difference = float(np.abs(after.image - before.image[:, ::-1]).mean())
        report.within("differs from the flipped picture, levels", difference, 4.0)
        for key, thing in before.things.items():
            match = overlap(after.things[key].mask, thing.mask[:, ::-1])
            report.within("flipped masks differ, share", 1 - match, 0.02 if thing.mask.sum() > 400 else 0.08)
        return
    a, b = before.things[done["subject"]], after.things[done["subject"]]
    report.within(
        "moved %", np.abs(percent(before, b.centre - a.centre)).max(), 3.0 + percent(before, a.slack).max()
    )
    _changed(before, after, done["subject"], 1.0, report)


JUDGES: dict[str, Callable[[State, State, Row, Report], None]] = {
    "move": move, "place": place, "relate": relate, "swap": swap, "align": align, "rotate": rotate,
    "orbit": orbit, "pan": pan, "zoom": zoom, "resize": resize, "add": add, "duplicate": duplicate,
    "remove": remove, "count": count, "recolor": recolor, "material": material, "lighting": lighting,
    "background": background, "mirror": mirror,
}  # fmt: skip
