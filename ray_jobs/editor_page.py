"""The editor's page, in Gradio: a picture and words go in, a slider between before and after comes out.

Layout and callbacks only; what is done is in `ray_jobs.editing`. Import this module through `ray_jobs.serve`: it loads
Gradio.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import gradio as gr

from ray_jobs import browser_html as html
from ray_jobs import editing
from ray_jobs.editing import LONGEST, SCALES, STEPS, Asked, Editing, Refused

UPLOAD = "32mb"  # that a picture may weigh
EXAMPLES = (
    "move the red cup 10% to the right",
    "đặt con mèo vào góc dưới bên trái",
    "swap the ball and the cube",
    "make it autumn",
)
_USUAL = Asked("")
_TICK_S = 1.0


log = logging.getLogger(__name__)
_UNEXPECTED = "something unexpected happened; the log file of this job has the trace"


def safe(method: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """A callback whose last output is the line of troubles: an unexpected error is a line there and a trace in the log
    file. Not raised, since Gradio's page shows only the errors of queued events."""

    @functools.wraps(method)
    def call(page: Any, *arguments: Any) -> list[Any]:
        try:
            return method(page, *arguments)
        except Exception:
            log.exception("unexpected")
            return [*[gr.skip() for _ in range(page.outputs[method.__name__] - 1)], _trouble(_UNEXPECTED)]

    return call


class _Picture(gr.Image):  # type: ignore[misc]
    """Takes what was uploaded, and never an address: Gradio would fetch from it."""

    # The browser is to draw it as Gradio's own.
    __module__ = gr.Image.__module__
    is_template = True

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> Any:
        if "://" in str(url_or_file_path):
            raise gr.Error("a picture is uploaded, not named by an address", print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)


def build(editor: Editing) -> gr.Blocks:
    """The page of this editor."""
    return _Page(editor).blocks


class _Page:
    def __init__(self, editor: Editing) -> None:
        self.editor = editor
        with gr.Blocks(
            title="SpatialPix: editor", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)
        ) as self.blocks:
            gr.HTML(html.editor_head(str(editor.folder), editor.parts, editor.side), js_on_load=None)
            with gr.Row():
                with gr.Column(scale=2, min_width=320):
                    self._inputs()
                with gr.Column(scale=3, min_width=320):
                    self._results()
            self._wire()

    # --- layout -----------------------------------------------------------------------------------------------------

    def _inputs(self) -> None:
        self.picture = _Picture(
            label="picture", sources=["upload", "clipboard"], type="filepath", buttons=[], height=300,
            elem_id="sp-picture",
        )  # fmt: skip
        self.words = gr.Textbox(
            label="instruction, in English or Vietnamese", placeholder=EXAMPLES[0], lines=2, max_lines=4,
            max_length=LONGEST, elem_id="sp-words",
        )  # fmt: skip
        with gr.Row(elem_id="sp-examples"):
            self.examples = [gr.Button(text, size="sm", min_width=60) for text in EXAMPLES]
        self.go = gr.Button("Edit", variant="primary", size="lg", elem_id="sp-edit")
        with gr.Accordion("advanced", open=False):
            with gr.Row():
                self.seed = gr.Number(
                    _USUAL.seed, label="seed", precision=0, minimum=0, min_width=120, elem_id="sp-seed",
                    info="another one, another edit",
                )  # fmt: skip
                self.steps = gr.Slider(
                    *STEPS, value=_USUAL.steps, step=1, label="steps", info="more take longer",
                    min_width=160, buttons=[], elem_id="sp-steps",
                )  # fmt: skip
            with gr.Row():
                self.text = gr.Slider(
                    *SCALES, value=_USUAL.text, step=0.1, label="text scale", info="how much the words count",
                    min_width=160, buttons=[], elem_id="sp-text-scale",
                )  # fmt: skip
                self.image = gr.Slider(
                    *SCALES, value=_USUAL.image, step=0.1, label="image scale", info="how much stays as it is",
                    min_width=160, buttons=[], elem_id="sp-image-scale",
                )  # fmt: skip

    def _results(self) -> None:
        self.trouble = gr.HTML(js_on_load=None, visible=False)
        self.at = gr.HTML(js_on_load=None, visible=False)
        self.slider = gr.ImageSlider(
            label="before and after", format="png", interactive=False, max_height=720, elem_id="sp-slider",
        )  # fmt: skip
        self.made = gr.HTML(js_on_load=None)
        self.understood = gr.HTML(js_on_load=None)

    outputs = MappingProxyType(
        {"_understood": 2, "_looked": 2, "_edit": 3}
    )  # of each callback that is `safe`

    def _wire(self) -> None:
        # Not preprocessed: Gradio would open a file that may be no picture, and say so in a trace. Not queued: see
        # `browser_page`; that there is one edit at a time is the editor's own affair.
        hidden: dict[str, Any] = {"api_visibility": "private", "preprocess": False, "queue": False}
        quiet = {"show_progress": "hidden", "trigger_mode": "always_last", **hidden}
        self.words.change(self._understood, self.words, [self.understood, self.trouble], **quiet)
        self.picture.upload(self._looked, self.picture, [self.made, self.trouble], **quiet)
        self.picture.clear(self._calm, None, self.trouble, **quiet)
        for button, text in zip(self.examples, EXAMPLES, strict=True):
            button.click(lambda text=text: text, None, self.words, **quiet)
        asked = [self.picture, self.words, self.seed, self.steps, self.text, self.image]
        self.go.click(
            self._edit, asked, [self.slider, self.made, self.trouble], show_progress_on=self.slider, **hidden
        )
        gr.Timer(_TICK_S).tick(self._at, None, self.at, show_progress="hidden", **hidden)

    # --- callbacks --------------------------------------------------------------------------------------------------

    @safe
    def _understood(self, words: Any) -> list[Any]:
        """Other words are another try: what was wrong with the last goes."""
        said = " ".join(str(words or "").split())[:LONGEST]
        found = html.understood(editing.understood(said), bool(self.editor.parts)) if said else ""
        return [found, self._calm()]

    @safe
    def _looked(self, picture: Any) -> list[Any]:
        """A file that is no picture is said as soon as it is here."""
        try:
            editing.picture(_path(picture))
        except Refused as refused:
            return [gr.skip(), _trouble(str(refused))]
        return [gr.skip(), self._calm()]

    def _at(self) -> Any:
        """How far the edit is that is being made, whoever asked for it."""
        at = self.editor.at
        return gr.update(value=html.at_step(*at) if at else "", visible=at is not None)

    def _calm(self) -> Any:
        return gr.update(value="", visible=False)

    @safe
    def _edit(self, picture: Any, words: Any, seed: Any, steps: Any, text: Any, image: Any) -> list[Any]:
        try:
            before = editing.picture(_path(picture))
            what = editing.asked(words, seed, steps, text, image)
            began = time.monotonic()
            after = self.editor.edit(before, what)
        except Refused as refused:
            return [gr.skip(), gr.skip(), _trouble(str(refused))]
        made = html.made(what, time.monotonic() - began, before.shape, after.shape)
        return [gr.update(value=editing.beside(before, after)), made, self._calm()]


def _path(picture: Any) -> str:
    """Where the uploaded file lies; Gradio has checked that it is its own. Raises Refused."""
    path = picture.get("path") if isinstance(picture, dict) else None
    if not path:
        raise Refused("there is no picture yet: drop one, or choose a file")
    return str(path)


def _trouble(line: str) -> Any:
    return gr.update(value=html.troubles([line]), visible=True)
