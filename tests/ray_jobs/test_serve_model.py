"""An editor in a real browser: a picture and words go in, an edit comes out, and what is wrong is one line."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from ray_jobs import editing
from ray_jobs.__main__ import main
from ray_jobs.config import ConfigError
from ray_jobs.editing import Asked, Refused, asked, beside, fitted, open_editor, picture, understood
from ray_jobs.serve import application, quick_import
from tests.browser import answered, visit
from tests.trainer.test_step import STARTER
from trainer.export import export
from trainer.frozen import Frozen, text_to_image
from trainer.model import SpatialEditor
from trainer.spatial_attention import Parts


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch, tmp_path_factory):
    """The command leaves these in the environment."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `train` leaves, of an editor that has learned nothing."""
    place = tmp_path_factory.mktemp("editor")
    torch.manual_seed(1)
    frozen = Frozen.load(STARTER)
    SpatialEditor(text_to_image(STARTER), Parts(), token_width=32, pasting=frozen.pasting).save(place)
    export(frozen, STARTER, place)
    return place


@pytest.fixture(scope="module")
def editor(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "0")
        return open_editor(str(folder))


@pytest.fixture(scope="module")
def address(browser, editor):
    with quick_import():
        from ray_jobs.editor_page import UPLOAD, build
    with answered(application(build(editor), UPLOAD)) as found:
        yield found


def photo(width: int = 200, height: int = 120) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 2, columns, np.full_like(rows, 90)], axis=2).astype(np.uint8)


def png(rgb: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "PNG")
    return data.getvalue()


def give(page, name: str, data: bytes) -> None:
    page.page.locator("#sp-picture input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": data}
    )


def say(page, text: str) -> None:
    page.page.locator("#sp-words textarea").fill(text)


def press(page) -> None:
    page.page.get_by_role("button", name="Edit", exact=True).click()


# --- the page ---------------------------------------------------------------------------------------------------------


def test_a_picture_is_edited_as_its_words_say(browser, address):
    with visit(browser, address) as page:
        page.reads(".sp-head", "tokens, grounding, read")
        press(page)
        page.reads(".sp-trouble", "there is no picture yet")
        give(page, "no.png", b"nothing")
        page.reads(".sp-trouble", "the file is no picture that can be read")
        page.page.get_by_label("Remove Image").or_(page.page.get_by_label("Clear")).first.click()
        page.until("!document.querySelector('.sp-trouble')")
        give(page, "photo.png", png(photo()))
        page.pictures("#sp-picture")
        press(page)
        page.reads(".sp-trouble", "say what is to be done")

        say(page, "di chuyển cái cốc đỏ sang phải 10%")
        page.reads(".sp-understood li", "the red mug: move right 10 % of the width")
        assert page.texts(".sp-understood .chip") == ["understood as spatial", "Vietnamese"]
        page.reads(".sp-understood q", "red cup")
        page.until("!document.querySelector('.sp-trouble')")
        say(page, "<img src=x onerror='window.hacked = 1'> a dream")
        page.reads(".sp-understood", "they go the plain path")

        page.page.get_by_text("advanced").click()
        page.page.locator("#sp-seed input").fill("7")
        page.page.locator("#sp-steps input[type=number]").fill("2")
        page.page.keyboard.press("Tab")
        press(page)
        page.reads(".sp-made", "2 steps at 128 × 77 pixels, seed 7; shown at the size of the picture given")
        page.until("!document.querySelector('.sp-trouble')")
        page.pictures("#sp-slider", "image.naturalWidth === 200")
        sources = page.page.locator("#sp-slider img").evaluate_all("all => all.map(image => image.src)")
        before, after = (
            np.asarray(Image.open(io.BytesIO(page.page.request.get(source).body())).convert("RGB"))
            for source in sources[:2]
        )
        assert np.array_equal(before, photo()) and after.shape == before.shape and (after != before).any()
        assert [one for one in page.asked if not one.startswith((address, "data:", "blob:"))] == []
        assert page.page.evaluate("window.hacked") is None and page.said == []
        assert not any("/queue/" in one for one in page.asked), (
            "an answer that comes by a stream may never come"
        )


def test_how_far_an_edit_is_and_what_nobody_expected_are_said(browser, address, editor, monkeypatch):
    go_on = threading.Event()

    def halfway(_image, _text, _seed, _sampling, told):
        told(3, 7)
        assert go_on.wait(60)
        raise LookupError("<b>secret</b>")

    monkeypatch.setattr(editor, "pipeline", halfway)
    with visit(browser, address) as page:
        give(page, "photo.png", png(photo()))
        page.pictures("#sp-picture")
        say(page, "move the mug left")
        press(page)
        page.reads(".sp-at", "editing: step 3 of 7")
        go_on.set()
        page.reads(".sp-trouble", "something unexpected happened")
        page.until("!document.querySelector('.sp-at')")
        assert "secret" not in page.page.content()
    assert editor.at is None


def test_examples_fit_a_narrow_dark_window(browser, address):
    with visit(browser, address, width=400, dark=True) as page:
        page.page.get_by_role("button", name="swap the ball and the cube").click()
        page.reads(".sp-understood li", "the ball: swap with the cube")
        ends = (
            "[...document.querySelectorAll('.gradio-container *')].map(e => e.getBoundingClientRect().right)"
        )
        assert page.page.evaluate(f"Math.max(...{ends})") <= 401


def test_an_address_is_not_fetched_for_whoever_sends_one(editor):
    with quick_import():
        import anyio
        import gradio as gr

        from ray_jobs.editor_page import _Picture

    async def moved():
        await _Picture().async_move_resource_to_block_cache("http://203.0.113.9/x.png")

    # In a thread of its own: the browser of other tests has a loop running in this one.
    with ThreadPoolExecutor(1) as pool, pytest.raises(gr.Error, match="not named by an address"):
        pool.submit(anyio.run, moved).result()


# --- words, pictures and settings -------------------------------------------------------------------------------------


def test_words_are_said_back_as_typed_steps():
    found = understood("move the red mug a little to the left, then zoom in 2x")
    assert found.language == "en" and found.text == found.words
    assert found.steps == ("the red mug: move left a little", "zoom in ×2")
    assert understood("thêm hai quả bóng đỏ").steps == ("red balls: add 2",)
    assert understood("make it dreamy").steps == ()


def test_pictures_are_fitted_and_shown_at_one_size(tmp_path):
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Image.fromarray(photo(64, 32)).save(turned, exif=exif)
    assert picture(turned).shape == (64, 32, 3)
    assert fitted(photo(200, 100), 128).shape == (64, 128, 3)
    assert fitted(photo(60, 40), 128).shape == (40, 60, 3)
    before, after = beside(photo(3000, 1500), photo(128, 64))
    assert before.shape == after.shape == (512, 1024, 3)


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("a.png", b"", "no picture that can be read"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture that can be read"),
        ("a.png", png(photo())[:200], "no picture that can be read"),
        ("a.png", png(photo(9, 90)), "9 × 90 pixels: 16 a side at least"),
    ],
    ids=["empty", "a program", "cut off", "a strip"],
)
def test_files_that_are_no_pictures_are_one_line(tmp_path, name, data, line):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Refused, match=re.escape(line)):
        picture(tmp_path / name)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(editing, "_MOST", 20_000)
    (tmp_path / "a.png").write_bytes(png(photo()))
    with pytest.raises(Refused, match="200 × 120 pixels"):
        picture(tmp_path / "a.png")


def test_settings_are_held_to_what_they_may_be():
    assert asked("  a\n b ", 3.0, "4", 7, 1.5) == Asked("a b", 3, 4, 7.0, 1.5)
    for wrong in (
        (" ", 0, 9, 7, 1), (None, 0, 9, 7, 1), ("x" * 501, 0, 9, 7, 1), ("x", -1, 9, 7, 1), ("x", None, 9, 7, 1),
        ("x", 0, 1, 7, 1), ("x", 0, 10**6, 7, 1), ("x", 0, 9, "nan", 1), ("x", 0, 9, 7, [2]),
    ):  # fmt: skip
        with pytest.raises(Refused):
            asked(*wrong)


# --- the editor and the command ---------------------------------------------------------------------------------------


def test_an_edit_tells_its_steps_and_says_when_memory_ran_out(editor, monkeypatch):
    assert editor.side == 128 and editor.parts == ("tokens", "grounding", "read")
    told = []
    what = Asked("move the ball to the left", steps=3)
    monkeypatch.setattr(editor, "_told", lambda *at: told.append(at))
    assert editor.edit(photo(), what).shape == (77, 128, 3)
    assert told == [(1, 3), (2, 3), (3, 3)]

    def full(*_):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(editor, "pipeline", full)
    with pytest.raises(Refused, match="memory ran out"):
        editor.edit(photo(), what)


def copied(folder, tmp_path, **unet):
    place = tmp_path / "copy"
    shutil.copytree(folder, place)
    config = json.loads((place / "unet" / "config.json").read_text())
    (place / "unet" / "config.json").write_text(json.dumps(config | unet))
    return place


def test_folders_that_hold_no_editor_are_one_line_and_exit_with_2(folder, tmp_path, capsys, monkeypatch):
    def said(*arguments):
        assert main(["serve", "--port", "0", "--model", *map(str, arguments)]) == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ") and line.count("\n") == 1, line
        return line

    assert "is no folder of this machine" in said(tmp_path / "no")
    assert "is no folder of this machine" in said("s3://bucket/editor")
    assert "holds no editor: there is no unet in it" in said(tmp_path)
    assert "does not see the source picture" in said(STARTER)
    assert "--side: 9 is not from 64 to 2048" in said(folder, "--side", 9)
    broken = copied(folder, tmp_path)
    (broken / "spatial" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    assert "cannot be loaded" in said(broken)
    (broken / "unet" / "config.json").write_text("{")
    assert "its unet/config.json is not one" in said(broken)
    monkeypatch.setitem(sys.modules, "trainer.pipeline", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "--model needs torch, which is not installed: uv pip install -e '.[train]'" in said(folder)


def test_one_thing_is_served_and_a_side_is_an_editors(tmp_path, capsys):
    for arguments in (["--model", "a", "--run", "b"], ["--run", "b", "--side", "128"]):
        with pytest.raises(SystemExit) as ended:
            main(["serve", *arguments])
        assert ended.value.code == 2
    assert "--side goes with --model" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "side"), [(16, 128), ([32, 48], 384), (None, 512), (4, 64)])
def test_pictures_are_as_large_as_the_editor_was_made_for(size, side):
    assert editing._side({"sample_size": size}) == side


def test_pickles_are_not_loaded(folder, tmp_path):
    place = copied(folder, tmp_path)
    weights = place / "unet" / "diffusion_pytorch_model"
    weights.with_suffix(".safetensors").rename(weights.with_suffix(".bin"))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        open_editor(str(place))
