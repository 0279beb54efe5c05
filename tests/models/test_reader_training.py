"""The reader's training: labels go along with pictures, runs resume exactly, and a few pictures are learned."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from filters.reader import Reader, Sighting
from filters.reader_net import ReaderConfig
from models.starter.reader import Recipe, batches, heat_target, save, train_reader
from models.starter.reader_data import Labelled, Things, flipped, reframed, round_trips, varied
from models.starter.reader_eval import below_bar, evaluate, matched, table
from models.starter.training import averaged

TINY = ReaderConfig(
    kinds=("ball", "cube", "car"),
    colors=("red", "blue"),
    materials=("matte", "checkered"),
    turnable=("car",),
    lopsided=(),
    size=64,
    widths=(16, 16, 32, 32),
    neck=24,
    crop=(8, 16, 16),
    hidden=64,
)
RGB = ((220, 30, 30), (30, 60, 220))


def drawn(number: int) -> Labelled:
    """Discs, squares and arrows on grey, two to a picture."""
    rng = np.random.default_rng(7)
    images = np.full((number, 64, 64, 3), 120, np.uint8)
    rows = []
    for picture in range(number):
        for middle in (16, 47):
            kind, color, material = (int(rng.integers(n)) for n in (3, 2, 2))
            x, y = middle, int(rng.integers(16, 48))
            yaw = float(rng.uniform(-180, 180))
            steps = np.radians(yaw) + np.array([0, 2.5, -2.5])
            corners = np.rint([x, y] + 11 * np.stack([-np.sin(steps), -np.cos(steps)], axis=1)).astype(
                np.int32
            )
            shape = np.zeros((64, 64), np.uint8)
            if kind == 0:
                cv2.circle(shape, (x, y), 9, 1, -1)
            elif kind == 1:
                cv2.rectangle(shape, (x - 9, y - 9), (x + 9, y + 9), 1, -1)
            else:
                cv2.fillConvexPoly(shape, corners, 1)
            white = (np.indices((64, 64)).sum(axis=0) // 3 % 2 == 1) & (material == 1)
            images[picture][shape > 0] = RGB[color]
            images[picture][(shape > 0) & white] = 255
            inside = np.argwhere(shape)[:, ::-1]
            rows.append((*inside.min(axis=0), *(inside.max(axis=0) + 1), x, y, kind, color, material, yaw))
    values = np.array(rows)
    kinds = values[:, 6].astype(np.int64)
    things = Things(
        boxes=values[:, :4].astype(np.float32),
        centres=values[:, 4:6].astype(np.float32) + 0.5,
        kinds=kinds,
        colors=values[:, 7].astype(np.int64),
        materials=values[:, 8].astype(np.int64),
        yaws=np.where(kinds == 2, values[:, 9], np.nan).astype(np.float32),
        lopsided=np.zeros(len(values), bool),
    )
    names = tuple(f"p{n}" for n in range(number))
    return Labelled(names, images, things, np.arange(0, 2 * number + 1, 2))


def coloured_boxes(image: np.ndarray) -> np.ndarray:
    """(m, 4): extents of what differs from the grey ground, left to right."""
    apart = (np.abs(image.astype(int) - 120).max(axis=2) > 30).astype(np.uint8)
    number, _, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(apart, np.ones((3, 3))))
    boxes = stats[1:number, :4].astype(float)
    boxes = np.stack(
        [boxes[:, 0] + 1, boxes[:, 1] + 1, boxes[:, 0] + boxes[:, 2] - 1, boxes[:, 1] + boxes[:, 3] - 1], 1
    )
    return boxes[np.argsort(boxes[:, 0])]


# --- labels go along ----------------------------------------------------------------------------------------


def test_labels_are_flipped_with_the_picture():
    data = drawn(4)
    for number in range(4):
        image, things = flipped(data.images[number], data.of(number))
        assert np.array_equal(coloured_boxes(image), things.boxes[np.argsort(things.boxes[:, 0])])
        again, back = flipped(image, things)
        assert np.array_equal(again, data.images[number])
        assert np.array_equal(back.boxes, data.of(number).boxes)
        assert np.array_equal(back.yaws, data.of(number).yaws, equal_nan=True)


def test_the_flipped_pictures_target_is_the_flipped_target():
    data = drawn(6)
    for number in range(6):
        things = data.of(number)
        # A middle just between two cells belongs to one of them; a little off there is no such tie.
        things = things.moved(things.boxes + np.float32(0.3), things.centres, things.yaws)
        _, mirrored = flipped(data.images[number], things)
        owner = torch.zeros(len(things), dtype=torch.int64)
        targets = [heat_target(torch.from_numpy(t.boxes), owner, 1, 16) for t in (things, mirrored)]
        assert (targets[0] == 1).sum() == len(things)
        assert torch.equal(targets[0].flip(2), targets[1])


def test_a_things_heat_stays_in_its_own_picture():
    boxes = torch.tensor([[4.0, 4, 20, 20], [30.0, 30, 50, 60]])
    target = heat_target(boxes, torch.tensor([2, 0]), 3, 16)
    assert target[1].max() == 0
    assert target[2, 3, 3] == 1 and target[0, 11, 10] == 1


def test_labels_are_reframed_with_the_picture():
    data, moved = drawn(4), 0
    for seed in range(24):
        number = seed % 4
        image, things = reframed(data.images[number], data.of(number), np.random.default_rng(seed))
        boxes = things.boxes[np.argsort(things.boxes[:, 0])]
        assert np.abs(coloured_boxes(image) - boxes).max() < 1.6
        assert boxes.min() >= 0 and boxes.max() <= 64
        moved += not np.array_equal(boxes, data.of(number).boxes)
    assert moved > 12


def test_variation_leaves_colours_what_they_are():
    data = drawn(4)
    for seed in range(40):
        image, things = varied(data.images[seed % 4], data.of(seed % 4), np.random.default_rng(seed))
        for box, color, material in zip(things.boxes, things.colors, things.materials, strict=True):
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            if material == 0:
                red, _, blue = image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0)
                assert (red > blue) == (color == 0)


# --- the run ------------------------------------------------------------------------------------------------


def test_a_run_stopped_after_every_step_ends_in_the_same_weights(tmp_path):
    torch.set_num_threads(1)
    data, recipe = drawn(6), Recipe(steps=4, batch=4, warmup=2)
    train_reader(data, recipe, tmp_path / "whole", TINY)
    for _ in range(4):
        train_reader(data, recipe, tmp_path / "pieces", TINY, until_s=0.0)
    (whole, steps, _), (pieces, others, _) = (
        averaged("reader", tmp_path / name) for name in ("whole", "pieces")
    )
    assert steps == others == 4
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


def test_every_picture_comes_once_an_epoch_and_each_epoch_has_its_own_order():
    data = drawn(6)
    marked = replace(data, images=data.images.copy())
    draw = batches(marked, Recipe(batch=6))
    assert torch.equal(draw(3)[0], draw(3)[0])  # whatever was drawn before
    orders = []
    for step in range(2):
        things = draw(step)[1]
        orders.append(things.kinds.tolist())
        assert sorted(things.kinds.tolist()) == sorted(data.things.kinds.tolist())
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("data", "recipe"),
    [(drawn(6), Recipe(steps=3, batch=4)), (drawn(5), Recipe(steps=2, batch=4))],
    ids=["recipe", "pictures"],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, data, recipe):
    train_reader(drawn(6), Recipe(steps=2, batch=4), tmp_path, TINY)
    with pytest.raises(ValueError, match="other settings or pictures"):
        train_reader(data, recipe, tmp_path, TINY)


def test_another_leg_begins_from_the_weights_of_the_one_before_and_from_no_others(tmp_path):
    still = Recipe(steps=1, batch=4, rate=0.0, warmup=0)
    for number in (1, 2):
        train_reader(drawn(6), Recipe(steps=number, batch=4), tmp_path / f"{number}", TINY)
        save(tmp_path / f"{number}", tmp_path / f"weights-{number}", TINY)
    train_reader(drawn(6), still, tmp_path / "on", TINY, start=tmp_path / "weights-1")
    first, on = (averaged("reader", tmp_path / name)[0] for name in ("1", "on"))
    assert torch.equal(on["say.weight"], first["say.weight"].half().float())
    with pytest.raises(ValueError, match="other settings"):
        train_reader(drawn(6), still, tmp_path / "on", TINY, start=tmp_path / "weights-2")


def test_eight_pictures_are_learned_and_their_weights_read_back(tmp_path):
    torch.set_num_threads(1)
    data = drawn(8)
    recipe = Recipe(steps=220, batch=8, rate=4e-3, warmup=10, average=0.95)
    train_reader(data, recipe, tmp_path, TINY)
    save(tmp_path, tmp_path / "weights", TINY)
    figures = evaluate(Reader.load(tmp_path / "weights"), data)
    assert figures.found == 1 and figures.false_sightings == 0
    assert min(figures.kind, figures.color, figures.material) > 0.9
    assert figures.edge_mean < 0.03
    assert figures.yaw_within_20 > 0.7


# --- figures ------------------------------------------------------------------------------------------------


class Told:
    """A reader that says what it is told to."""

    config = TINY

    def __init__(self, rows: list[tuple[Sighting, ...]]) -> None:
        self.rows = rows

    def read(self, images: np.ndarray) -> list[tuple[Sighting, ...]]:
        return self.rows


def truth(data: Labelled, number: int) -> tuple[Sighting, ...]:
    things = data.of(number)
    return tuple(
        Sighting(
            TINY.kinds[things.kinds[i]], TINY.colors[things.colors[i]], TINY.materials[things.materials[i]],
            tuple(map(float, things.boxes[i])), tuple(map(float, things.centres[i])),
            float(things.yaws[i]) if np.isfinite(things.yaws[i]) else None, 0.9, 0.9, 0.9, 0.9, None,
        )
        for i in range(len(things))
    )  # fmt: skip


def test_a_perfect_reader_meets_every_bar():
    data = drawn(6)
    figures = evaluate(Told([truth(data, n) for n in range(6)]), data)
    assert (figures.found, figures.whole, figures.edge_mean, figures.yaw_median) == (1, 1, 0, 0)
    assert below_bar({"renders": figures}) == []
    assert "| kind right | 100.0% |" in table({"renders": figures})


def test_what_is_missed_counts_as_wrong_and_what_is_not_there_as_false():
    data = drawn(6)
    rows = [truth(data, n) for n in range(6)]
    off = replace(rows[1][0], box=(0.0, 0.0, 5.0, 5.0))
    rows[0], rows[1] = rows[0][:1], (*rows[1], off)
    figures = evaluate(Told(rows), data)
    assert figures.found == figures.kind == figures.color == figures.material == pytest.approx(11 / 12)
    assert figures.kind_of_found == 1
    assert figures.false_sightings == pytest.approx(1 / 6)
    assert len(below_bar({"renders": figures})) == 3


def test_wrong_names_and_angles_are_counted_and_named():
    data = drawn(6)
    rows = [truth(data, n) for n in range(6)]
    first = rows[0][0]
    said = "blue" if first.color == "red" else "red"
    rows[0] = (replace(first, color=said), rows[0][1])
    cars = [(n, i) for n in range(6) for i in range(2) if rows[n][i].kind == "car"]
    n, i = cars[0]
    wrong = (float(data.of(n).yaws[i]) + 330) % 360  # 30 degrees off, across the turn
    rows[n] = tuple(replace(s, yaw=wrong) if j == i else s for j, s in enumerate(rows[n]))
    figures = evaluate(Told(rows), data)
    assert figures.color == pytest.approx(11 / 12) and figures.kind == 1
    assert figures.confused["color"] == [(first.color, said, 1)]
    assert figures.yaw_within_20 == pytest.approx(1 - 1 / len(cars))


def test_one_sighting_serves_one_thing():
    data = drawn(1)
    one = truth(data, 0)[0]
    assert list(matched(data.of(0), [one, one])) == [0]


def test_round_trips_go_through_the_vae_picture_by_picture(tmp_path):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    model = AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1, **blocks)
    model.save_pretrained(tmp_path)
    images = drawn(5).images
    back = round_trips(images, tmp_path, batch=2)
    assert back.shape == images.shape and back.dtype == np.uint8
    assert np.abs(back[4].astype(int) - round_trips(images[4:], tmp_path)[0]).max() <= 1
