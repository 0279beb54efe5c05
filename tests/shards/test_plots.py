"""The card's plots: PNG files that are the same each time, with nothing of the machine in them."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import matplotlib
import pytest
from PIL import Image

from shards import plots
from shards.statistics import Cell, Figures, Histogram, count
from shards.storage import open_storage
from tests.datasets_by_hand import HOSTILE, SURVIVAL, lay

NOTHING = Figures((), {}, {}, {}, {}, {}, {}, {}, {}, {}, 0, {}, {}, (), 0)


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> Figures:
    return count(lay(open_storage(str(tmp_path_factory.mktemp("plots") / "demo"))))


@pytest.fixture(scope="module")
def drawn(figures) -> dict[str, bytes]:
    return plots.draw(figures, SURVIVAL)


def chunks(png: bytes) -> list[str]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8].decode())
        at += 12 + length
    return found


def test_plots_are_small_pictures_without_a_word_of_what_drew_them(drawn):
    names = ("kinds", "directions", "regions", "amounts", "scores", "survival")
    assert list(drawn) == [f"assets/{name}.png" for name in names]
    for data in drawn.values():
        assert len(data) < 150_000
        assert set(chunks(data)) == {"IHDR", "pHYs", "IDAT", "IEND"}
        with Image.open(io.BytesIO(data)) as picture:
            assert 300 <= picture.width <= 900 and picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


def test_settings_of_the_machine_change_nothing_and_are_left_as_they_were(figures, drawn):
    with matplotlib.rc_context({"font.size": 30.0, "axes.facecolor": "black", "savefig.dpi": 20}):
        assert plots.draw(figures, SURVIVAL) == drawn
        assert matplotlib.rcParams["font.size"] == 30.0


def test_other_figures_are_other_plots(figures, drawn):
    more = replace(
        figures, cells=(*figures.cells, Cell("train", "blender", "zoom", "vi", 9)), directions={"up": 3}
    )
    other = plots.draw(more, SURVIVAL[:2])
    changed = {name for name in drawn if other[name] != drawn[name]}
    assert changed == {"assets/kinds.png", "assets/directions.png", "assets/survival.png"}


def test_of_nothing_there_is_no_plot():
    assert plots.draw(NOTHING) == {}
    assert list(plots.draw(NOTHING, [{"step": "asked", "rows": 0}])) == ["assets/survival.png"]


def test_names_are_letters_and_not_formulas():
    cells = tuple(Cell("train", "blender", text, "en", 1) for text in (*HOSTILE, "$\\frac{1}{", "x" * 500))
    data = plots.draw(replace(NOTHING, cells=cells))["assets/kinds.png"]
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width < 900


def test_bars_are_as_long_as_their_counts():
    cells = (Cell("train", "blender", "move", "en", 100), Cell("train", "blender", "zoom", "en", 50))
    data = plots.draw(replace(NOTHING, cells=cells))["assets/kinds.png"]
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    blue = tuple(int(plots.LANGUAGES["en"][i : i + 2], 16) for i in (1, 3, 5))
    rows = [
        sum(picture.getpixel((x, y)) == blue for x in range(picture.width)) for y in range(picture.height)
    ]
    long, short = max(rows), min(n for n in rows if n > 40)
    assert long == pytest.approx(2 * short, abs=2)


def test_values_outside_the_bins_are_told():
    inside = Histogram(0.0, 1.0, (5, 5))
    plain, told = (
        plots.draw(replace(NOTHING, scores={"clip_image": found}))["assets/scores.png"]
        for found in (inside, replace(inside, above=3))
    )
    assert plain != told
