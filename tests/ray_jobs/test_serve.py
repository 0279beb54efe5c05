"""Pairs in a real browser: found, looked at in detail, and unable to speak as the page, whatever their words say."""

from __future__ import annotations

import io
import re
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from ray_jobs.browse import DatasetCatalogue
from ray_jobs.browse_run import RunCatalogue
from shards.dataset import open_dataset
from shards.run import Run
from shards.storage import open_storage
from tests.browser import served, visit
from tests.datasets import FOLDERS, commit, pair, publish
from tests.ray_jobs.test_browse import unmade

HOSTILE = (
    "<script>window.hacked = 1</script><img src='http://203.0.113.9/x.png' onerror='window.hacked = 2'>"
    "![x](http://203.0.113.9/y.png) [link](javascript:window.hacked=3) ${window.hacked = 4} {{constructor}} "
    "</script><svg onload='window.hacked = 5'> `${window.hacked = 6}` move it"
)
GRID = "#sp-pairs .caption-label"


@pytest.fixture(scope="module")
def dataset(browser, tmp_path_factory):
    """The address of a dataset of 32 pairs: 30 to train with, every fifth said in Vietnamese, one hostile."""
    folder = tmp_path_factory.mktemp("dataset")
    train = [
        pair(number, edit_prompt=f"di chuyển quả bóng {number}", language="vi")
        if number % 5 == 0
        else pair(number)
        for number in range(30)
    ]
    train[1] |= {"scores": {"clip_image": 0.75}, "edit_kind": "swap"}
    publish(open_storage(str(folder)), {"train": train, "test": [pair(40), hostile(41)]})
    with served(DatasetCatalogue(open_dataset(str(folder)))) as address:
        yield address


def hostile(number, **changes):
    """A pair all of whose words want to be something else."""
    words = dict.fromkeys(
        (
            "edit_prompt",
            "original_prompt",
            "edited_prompt",
            "edit_kind",
            "language",
            "source",
            "license",
            "scene_id",
        ),
        HOSTILE,
    )
    step = {"kind": HOSTILE, "subject": HOSTILE, "objects": [HOSTILE], "direction": HOSTILE, "value": HOSTILE}
    thing = {
        "id": HOSTILE,
        "name": HOSTILE,
        "box": [1.0, 1.0, 9.0, 9.0],
        "mask": pair(0)["objects_before"][0]["mask"],
    }
    source = {} if "verdict" in changes else {"source": "blender"}
    return {
        **pair(number), **words, **source, "instructions": [{"kind": HOSTILE, "subject": HOSTILE}],
        "operations": [step], "objects_before": [thing], "objects_after": [thing], **changes,
    }  # fmt: skip


def grid_is(page, count):
    page.until(f"document.querySelectorAll({GRID!r}).length === {count}")


def choose(page, name, start):
    """A choice of a filter that begins so."""
    page.page.locator(f"#sp-{name} input").click()
    page.page.locator("ul[role=listbox] li", has_text=re.compile(rf"^\W*{re.escape(start)}")).click()
    if name != "score":  # of these one may choose several: the list stays open
        page.page.keyboard.press("Escape")


def search(page, text):
    page.page.locator("#sp-text textarea, #sp-text input").fill(text)
    page.page.keyboard.press("Enter")


def limit(page, name, text):
    page.page.locator(f"#sp-{name} textarea, #sp-{name} input").fill(text)
    page.page.keyboard.press("Enter")


def open_pair(page, number=0):
    page.page.locator("#sp-pairs .thumbnail-item").nth(number).click()
    page.page.locator(".sp-pair .said").wait_for()
    page.pictures("#sp-slider")


def slider_pictures(page):
    """The two pictures of the slider, as the browser got them."""
    addresses = page.page.locator("#sp-slider img").evaluate_all("images => images.map(image => image.src)")
    found = [page.page.request.get(address).body() for address in addresses[:2]]
    return [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in found]


def is_calm(page, address):
    """Nobody else was asked for anything, no foreign script ran, nothing went wrong or may wait for ever."""
    assert [asked for asked in page.asked if not asked.startswith((address, "data:", "blob:"))] == []
    # Gradio's queue loses answers: what is asked while its stream ends is answered to nobody.
    assert [asked for asked in page.asked if "/queue/" in asked] == []
    assert page.page.evaluate("window.hacked") is None
    assert page.said == []


# --- the page ---------------------------------------------------------------------------------------------------------


def test_pairs_are_found_by_page_words_and_filters(browser, dataset):
    with visit(browser, dataset) as page:
        grid_is(page, 12)
        assert ground(page) > 600
        page.reads(".sp-head h1", "spatial-demo 1.0.0")
        assert page.texts(".sp-head .figures span") == ["32 pairs", "30 train", "2 test"]
        first = page.texts(GRID)
        assert page.texts(".sp-range") == ["1–12 of 32"]
        page.page.get_by_role("button", name="next ›", exact=True).click()
        page.reads(".sp-range", "13–24")
        assert not set(first) & set(page.texts(GRID))
        page.page.locator("#sp-page input").fill("9")  # beyond the last
        page.page.keyboard.press("Enter")
        page.reads(".sp-range", "25–32 of 32")

        search(page, "QUẢ BÓNG")
        grid_is(page, 6)
        assert page.texts(".sp-range") == ["1–6 of 6"]
        search(page, "no such words")
        grid_is(page, 0)
        assert page.texts(".sp-range") == ["no pair fits"]
        search(page, "")
        grid_is(page, 12)

        choose(page, "edit_kind", "swap (1)")
        grid_is(page, 1)
        assert page.texts(GRID) == ["move mug 1 to the right"]
        page.page.get_by_text("scores and page").click()
        page.page.get_by_role("button", name="clear all filters").click()
        grid_is(page, 12)
        choose(page, "split", "test (2)")
        grid_is(page, 2)
        page.page.get_by_role("button", name="clear all filters").click()
        grid_is(page, 12)
        choose(page, "score", "centre_error")
        page.reads(".sp-range", "1–12 of 31")
        limit(page, "least", "0.0275")
        grid_is(page, 4)
        limit(page, "most", "0,03")
        grid_is(page, 2)
        assert page.texts(GRID) == ["move mug 28 to the right", "move mug 29 to the right"]
        limit(page, "most", "much")
        grid_is(page, 4)
        assert page.texts(".sp-trouble") == ["much: no number, so left out"]
        page.page.locator("#sp-least textarea, #sp-least input").focus()  # to be there is not to say anything
        page.page.get_by_role("button", name="clear all filters").click()
        page.reads(".sp-range", "1–12 of 32")
        is_calm(page, dataset)


def test_pair_in_detail_has_pictures_words_operation_scores_and_ids(browser, dataset):
    with visit(browser, dataset) as page:
        grid_is(page, 12)
        open_pair(page, 2)
        assert page.texts(".sp-pair .said") == ["move mug 2 to the right"]
        assert page.texts(".sp-pair dd") == [
            "a mug and a cube", "a mug and a cube, nearer", "mug-1: move right 25 % of the width",
        ]  # fmt: skip
        assert "measured 24.9 % of the width" in page.texts(".sp-pair .chip")
        facts = page.texts(".sp-facts")[0]
        for text in ("centre_error\t0.002", "amount_measured\t24.9", "CC0-1.0", "blender-0000000-0000002"):
            assert text in facts
        assert '"percent_width"' in page.texts("#sp-operations")[0]
        plain = slider_pictures(page)
        assert plain[0].shape == (64, 64, 3)
        for wanted, shown in zip(("original_image", "edited_image"), plain):
            stored = np.asarray(Image.open(io.BytesIO(pair(2)[wanted]["bytes"])))
            assert np.array_equal(shown, stored)

        page.page.get_by_label("masks").check()
        page.pictures("#sp-slider", "image.naturalWidth === 768")
        masks = slider_pictures(page)
        amber = (255, 184, 28)
        assert (masks[0] == amber).all(axis=2).sum() > 500
        page.page.get_by_label("masks").uncheck()
        page.pictures("#sp-slider", "image.naturalWidth === 64")
        page.page.get_by_label("boxes").check()
        page.pictures("#sp-slider", "image.naturalWidth === 768")
        box = pair(2)["objects_before"][0]["box"]
        x0, y0, x1, _ = (round(at * 12) for at in box)
        edge = slider_pictures(page)[0][y0, x0 + 100 : x1]
        assert (edge == amber).all(axis=1).mean() > 0.9

        page.page.get_by_role("button", name="next pair").click()
        page.reads(".sp-pair .said", "move mug 3 to the right")
        page.page.get_by_role("button", name="all pairs").click()
        grid_is(page, 12)
        open_pair(page, 2)
        assert page.texts(".sp-pair .said") == ["move mug 2 to the right"]
        is_calm(page, dataset)


def test_words_cannot_be_markup_or_script(browser, dataset):
    with visit(browser, dataset) as page:
        grid_is(page, 12)
        search(page, "<script>")
        grid_is(page, 1)
        assert page.texts(GRID)[0].startswith("<script>window.hacked = 1</script><img src=")
        assert page.page.locator(f"{GRID} *").count() == 0
        choose(page, "edit_kind", "<script>")
        grid_is(page, 1)
        open_pair(page)
        page.page.get_by_label("masks").check()
        page.page.get_by_label("boxes").check()
        page.page.get_by_text("everything but the pictures").click()
        page.reads("#sp-everything", "scene_id")
        assert page.texts(".sp-pair .said") == [HOSTILE]
        assert HOSTILE in page.texts(".sp-facts")[0]
        shown = page.page.locator(".gradio-container")
        assert shown.locator("img[src*='203.0.113']").count() == 0
        assert shown.locator("svg[onload], script, a[href*=javascript], img[onerror]").count() == 0
        page.page.wait_for_timeout(500)  # what was to run would have run by then
        is_calm(page, dataset)


def ground(page):
    """How bright the page's ground is, 0 to 765."""
    colour = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def test_page_fits_a_narrow_dark_window(browser, dataset):
    with visit(browser, dataset, width=400, dark=True) as page:
        grid_is(page, 12)
        all_ends = (
            "[...document.querySelectorAll('.gradio-container *')].map(e => e.getBoundingClientRect().right)"
        )
        wide = f"Math.max(...{all_ends})"
        assert page.page.evaluate(wide) <= 401
        open_pair(page)
        assert page.page.evaluate(wide) <= 401
        assert ground(page) < 150


def test_run_shows_rejected_pairs_with_reasons_and_grows_while_one_looks(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("ray_jobs.browse_run._PAUSE_S", 0.2)
    monkeypatch.setattr("ray_jobs.browser_page._TICK_S", 1.0)
    run = Run.create_or_open(open_storage(str(tmp_path)), {"seed": 7, "routes": {"blender": {"units": 3}}})
    with (
        closing(RunCatalogue(run)) as catalogue,
        served(catalogue) as address,
        visit(browser, address) as page,
    ):
        page.reads(".sp-head .note", "this run has no pairs yet")
        page.reads(".sp-range", "no pair fits so far")
        failed = unmade(3, "failed", "error_ValueError", HOSTILE)
        commit(run, [pair(0), hostile(1), unmade(2, "rejected", "no_room"), failed], {1: "wrong_amount"})
        grid_is(page, 4)
        # The verdicts may come a moment after the pairs.
        page.until(
            f"[...document.querySelectorAll({GRID!r})][1]?.innerText.startsWith('rejected: wrong amount')"
        )
        assert page.texts(GRID)[1].startswith("rejected: wrong amount — <script>")
        choose(page, "verdict", "rejected (2)")
        grid_is(page, 2)
        open_pair(page)
        assert page.texts(".sp-pair .reason") == [
            "wrong amount: the measured amount is not the one asked for"
        ]
        page.page.get_by_role("button", name="next pair").click()
        page.until(
            "document.querySelector('.sp-pair .reason').innerText.startsWith('no room: there is no room')"
        )
        assert (
            page.page.locator("#sp-slider").count() == 0 or not page.page.locator("#sp-slider").is_visible()
        )
        page.page.get_by_role("button", name="all pairs").click()
        grid_is(page, 2)

        page.page.get_by_role("tab", name="Progress").click()
        page.page.locator(".sp-progress").wait_for()
        lines = page.texts(".sp-progress tr")
        assert any(line.startswith("wrong amount") and "25 %" in line for line in lines)
        assert any(line.startswith(FOLDERS["pairs"]) and "1 / 3" in line for line in lines)
        commit(run, [pair(8)], unit="blender-0000001")
        page.reads(".sp-progress", "2 / 3")
        run.storage.write(run.shard_key(FOLDERS["pairs"], "blender-0000002"), b"PAR1 not really PAR1")
        page.reads(".sp-trouble", "cannot be read as Parquet")
        page.reads(".sp-head", "5 pairs")
        is_calm(page, address)


def test_damaged_pictures_are_a_line_on_the_page_and_the_others_are_shown(browser, tmp_path):
    rows = [pair(0), pair(1) | {"edited_image": {"bytes": b"no picture", "path": None}}]
    publish(open_storage(str(tmp_path)), {"train": rows, "test": [pair(2)]})
    (tmp_path / "v1.0.0" / "data" / "blender" / "test-00000-of-00001.parquet").write_bytes(b"gone")
    catalogue = DatasetCatalogue(open_dataset(str(tmp_path)))
    with served(catalogue) as address, visit(browser, address) as page:
        grid_is(page, 3)
        assert "cannot be read as Parquet" in page.texts(".sp-trouble")[0]
        page.page.locator("#sp-pairs .thumbnail-item").nth(2).click()
        page.page.locator(".sp-pair .said").wait_for()
        assert "cannot be read as Parquet" in page.texts(".sp-pair .sp-trouble")[0]
        page.page.get_by_role("button", name="previous pair").click()
        page.reads(".sp-pair .said", "move mug 1 to the right")
        assert page.texts(".sp-pair .sp-trouble") == ["the picture after the edit cannot be read"]
        is_calm(page, address)


def test_unexpected_error_is_one_line_on_the_page(browser, tmp_path, capfd, monkeypatch):
    publish(open_storage(str(tmp_path)), {"train": [pair(0)]})
    catalogue = DatasetCatalogue(open_dataset(str(tmp_path)))

    def broken(row):
        raise LookupError(HOSTILE)

    with served(catalogue) as address, visit(browser, address) as page:
        grid_is(page, 1)
        monkeypatch.setattr(catalogue, "details", broken)
        page.page.locator("#sp-pairs .thumbnail-item").first.click()
        page.page.get_by_text(
            "something unexpected happened; the log file of this job has the trace"
        ).wait_for()
        assert page.page.evaluate("window.hacked") is None
    output = capfd.readouterr()
    assert "Traceback" not in output.err + output.out
