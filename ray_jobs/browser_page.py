"""The browser's page, in Gradio: filters, a grid of pairs, one pair in detail, and a run's figures.

Layout and callbacks only. What is shown comes from a catalogue (`ray_jobs.browse`), its words by way of
`ray_jobs.browser_html`. Captions in the grid, choices and JSON are put in by Gradio as text. Import this module through
`ray_jobs.serve`: it loads Gradio.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pyarrow as pa

from ray_jobs import browser_html as html
from ray_jobs.browse import SCORES, Catalogue, Query, score_ranges, search, values
from ray_jobs.browse_run import Progress, RunCatalogue
from ray_jobs.browser_pictures import BOXES, MASKS, Opened, caption, decoded, drawn, thumbnail
from shards.storage import StorageError

log = logging.getLogger(__name__)

SIZES = (12, 24, 48)
_LABELS = {"edit_kind": "kind of edit"}
_TICK_S = 3.0
_UNEXPECTED = "something unexpected happened; the log file of this job has the trace"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a session looks through. numbers: of the table's rows that fit the filters. note: what of the
    filters was not understood."""

    table: pa.Table | None = None
    numbers: pa.Array | None = None
    note: str = ""

    def rows(self, start: int, count: int) -> list[dict[str, Any]]:
        """Some of those that fit, from place `start` on."""
        if self.table is None or self.numbers is None:
            return []
        found: list[dict[str, Any]] = self.table.take(self.numbers[start : start + count]).to_pylist()
        return found

    def __len__(self) -> int:
        return 0 if self.numbers is None else len(self.numbers)


def theme() -> Any:
    # Names of fonts that machines have: a theme's own would be fetched.
    fonts = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
    return gr.themes.Default(primary_hue="indigo", neutral_hue="slate", radius_size="lg", **fonts)


def build(catalogue: Catalogue) -> gr.Blocks:
    """The page of this catalogue."""
    return _Page(catalogue).blocks


class _Page:
    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.run = catalogue if isinstance(catalogue, RunCatalogue) else None
        with gr.Blocks(
            title=f"SpatialPix: {catalogue.title}",
            analytics_enabled=False,
            fill_width=True,
            delete_cache=(600, 3600),
        ) as self.blocks:
            self.listing, self.at = gr.State(Listing()), gr.State(1)
            self.seen, self.opened = gr.State(None), gr.State(None)
            self.head = gr.HTML(js_on_load=None)
            self.unexpected = gr.HTML(js_on_load=None, visible=False, elem_id="sp-unexpected")
            if self.run is None:
                self._pairs()
            else:
                with gr.Tab("Pairs"):
                    self._pairs()
                with gr.Tab("Progress"):
                    self.progress = gr.HTML(js_on_load=None)
            self._wire()

    # --- layout -----------------------------------------------------------------------------------------------------

    def _pairs(self) -> None:
        with gr.Column(visible=True) as self.grid_side:
            with gr.Row():
                self.text = gr.Textbox(
                    label="search in instructions", placeholder="part of an instruction, then Enter", submit_btn=True,
                    scale=3, min_width=240, max_lines=1, elem_id="sp-text",
                )  # fmt: skip
                self.facets = [
                    gr.Dropdown(
                        [],
                        label=_LABELS.get(name, name),
                        multiselect=True,
                        min_width=150,
                        elem_id=f"sp-{name}",
                    )
                    for name in self.catalogue.facets
                ]
            with gr.Accordion("scores and page", open=False), gr.Row():
                self.score = gr.Dropdown(
                    [("any", "")], value="", label="score", min_width=240, scale=2, elem_id="sp-score"
                )
                # Not gr.Number: that shows 0 for nothing, and says so when it is left.
                self.least, self.most = (
                    gr.Textbox(
                        label=label, placeholder="any", min_width=100, max_lines=1, elem_id=f"sp-{name}"
                    )
                    for label, name in (("from", "least"), ("to", "most"))
                )
                self.size = gr.Dropdown(list(SIZES), value=SIZES[0], label="pairs on a page", min_width=130)
                self.clear = gr.Button("clear all filters", min_width=130)
            self.trouble = gr.HTML(js_on_load=None, visible=False)
            self.grid = gr.Gallery(
                show_label=False, format="jpeg", allow_preview=False, interactive=False, buttons=[], columns=4,
                object_fit="contain", height="auto", container=False, elem_id="sp-pairs",
            )  # fmt: skip
            with gr.Row(elem_id="sp-pager", equal_height=True):
                self.previous = gr.Button("‹ previous", min_width=100, scale=0)
                self.range = gr.HTML(js_on_load=None, min_width=160)
                self.page = gr.Number(
                    1,
                    label="page",
                    precision=0,
                    minimum=1,
                    min_width=80,
                    scale=0,
                    container=False,
                    elem_id="sp-page",
                )
                self.next = gr.Button("next ›", min_width=100, scale=0)
        with gr.Column(visible=False) as self.pair_side:
            with gr.Row(elem_id="sp-turn"):
                self.back = gr.Button("all pairs", min_width=100, scale=0)
                self.earlier = gr.Button("‹ previous pair", min_width=130, scale=0)
                self.later = gr.Button("next pair ›", min_width=130, scale=0)
            with gr.Row():
                with gr.Column(scale=3, min_width=320):
                    self.overlay = gr.CheckboxGroup(
                        [MASKS, BOXES], label="draw over the pictures", show_label=False, container=False
                    )
                    self.slider = gr.ImageSlider(
                        label="before and after",
                        format="png",
                        interactive=False,
                        max_height=720,
                        elem_id="sp-slider",
                    )
                with gr.Column(scale=2, min_width=300):
                    self.words = gr.HTML(js_on_load=None)
            self.facts = gr.HTML(js_on_load=None)
            with gr.Accordion("operation as JSON", open=True):
                self.operations = gr.JSON(show_label=False, elem_id="sp-operations")
            with gr.Accordion("everything but the pictures, as JSON", open=False):
                self.everything = gr.JSON(show_label=False, elem_id="sp-everything")

    def _wire(self) -> None:
        # Not preprocessed: Gradio's own checks end in a trace, for a page that was open while the server was new.
        # Not queued: a queue's answers come by a stream that the server ends when nothing is left to answer. A question
        # that comes while it ends waits for ever, and with it all later ticks. A plain request has its own answer.
        hidden: dict[str, Any] = {"api_visibility": "private", "preprocess": False, "queue": False}
        on: Callable[..., None] = functools.partial(self._on, **hidden)
        queries = [self.text, self.score, self.least, self.most, *self.facets, self.size]
        grid = [self.listing, self.at, self.trouble, self.grid, self.range, self.page]
        pair = [self.opened, self.grid_side, self.pair_side, self.slider, self.words, self.facts, self.operations,
                self.everything]  # fmt: skip
        choices = [self.seen, *self.facets, self.score]
        changed = [self.text.submit, self.least.submit, self.most.submit, self.size.change, self.least.blur,
                   self.most.blur, *(facet.change for facet in self.facets)]  # fmt: skip
        on(self.blocks.load, self._head, None, [self.head], by_hand=False)
        on(self.blocks.load, self._choices, None, choices, by_hand=False)
        on(self.blocks.load, self._first, queries, grid, by_hand=False)
        last = {"trigger_mode": "always_last"}
        on(functools.partial(gr.on, changed), self._first, queries, grid, **last)
        on(self.score.change, self._scored, queries, [self.least, self.most, *grid])
        on(self.clear.click, self._cleared, [self.size], [*queries[:-1], *grid])
        on(self.previous.click, self._turned_back, [self.at, *queries], grid, **last)
        on(self.next.click, self._turned, [self.at, *queries], grid, **last)
        on(self.page.submit, self._turned_to, [self.page, *queries], grid, **last)
        on(self.grid.select, self._select, [self.listing, self.at, self.size, self.overlay], pair)
        for event in (self.grid.select, self.earlier.click, self.later.click):
            event(None, None, None, js="() => window.scrollTo({top: 0})", **hidden)
        for button, turned in ((self.earlier, self._earlier), (self.later, self._later)):
            on(button.click, turned, [self.listing, self.opened, self.overlay], pair)
        on(self.overlay.change, self._drawn, [self.opened, self.overlay], [self.slider])
        sides = [self.grid_side, self.pair_side]
        on(self.back.click, self._back, [self.listing, self.opened, self.size], [*sides, *grid])
        if self.run is not None:
            quiet: dict[str, Any] = {"show_progress": "hidden", "by_hand": False}
            on(self.blocks.load, self._figures, None, [self.progress], **quiet)
            ticked = [self.listing, self.at, self.seen, *queries]
            figures = [self.head, self.progress]
            on(gr.Timer(_TICK_S).tick, self._ticked, ticked, [*figures, *choices, *grid], **quiet)

    def _on(
        self, event: Any, method: Any, inputs: Any, outputs: list[Any], by_hand: bool = True, **how: Any
    ) -> None:
        """Wires a callback whose unexpected errors are one line on the page and a trace in the log file.

        by_hand: a person asked for it, so a line about what they did before goes away.
        """

        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> list[Any]:
            try:
                found = method(*arguments, **named)
            except Exception:  # not raised: Gradio's page shows only the errors of queued events
                log.exception("unexpected")
                line = gr.update(value=html.troubles([_UNEXPECTED]), visible=True)
                return [*[gr.skip() for _ in outputs], line]
            told = gr.update(value="", visible=False) if by_hand else gr.skip()
            return [*(found if len(outputs) > 1 else [found]), told]

        event(call, inputs, [*outputs, self.unexpected], **how)

    # --- callbacks --------------------------------------------------------------------------------------------------

    def _state(self) -> tuple[pa.Table, Progress | None]:
        return self.run.state() if self.run is not None else (self.catalogue.table(), None)

    def _head(self) -> str:
        return html.head(self.catalogue, *self._state())

    def _choices(self) -> list[Any]:
        """What there is to choose from, and the table that has it."""
        table = self.catalogue.table()
        facets = [
            gr.update(
                choices=[(f"{value} ({count:,})", value) for value, count in values(table, name).items()]
            )
            for name in self.catalogue.facets
        ]
        ranges = score_ranges(table).items()
        scores = [("any", ""), *((f"{name} ({low:.3g} to {high:.3g})", name) for name, (low, high) in ranges)]
        return [table, *facets, gr.update(choices=scores)]

    def _found(self, *queries: Any) -> Listing:
        """What the filters ask for. queries: the values of the inputs `queries`, as the browser sent them."""
        text, score, least, most, *facets, _ = queries
        chosen = {name: [str(v) for v in picked or ()] for name, picked in zip(self.catalogue.facets, facets)}
        ends = [_number(end) for end in (least, most)]
        wrong = [
            str(end) for end, value in zip((least, most), ends) if value is None and str(end or "").strip()
        ]
        note = f"{' and '.join(wrong)}: no number, so left out" if wrong else ""
        table = self.catalogue.table()
        query = Query(chosen, str(text or ""), score if score in SCORES else None, *ends)
        return Listing(table, search(table, query), note)

    def _first(self, *queries: Any) -> list[Any]:
        return self._page_of(self._found(*queries), 1, queries[-1])

    def _scored(self, *queries: Any) -> list[Any]:
        """Another score has another range, so the limits of the one before it go."""
        text, score, _, _, *rest = queries
        ends = score_ranges(self.catalogue.table()).get(score)
        shown = [f"{end:.4g}" for end in ends] if ends else ["any", "any"]
        limits = [gr.update(value="", placeholder=end) for end in shown]
        return [*limits, *self._first(text, score, "", "", *rest)]

    def _cleared(self, size: int) -> list[Any]:
        nothing: list[Any] = ["", "", "", "", *[[] for _ in self.facets]]
        return [*nothing, *self._first(*nothing, size)]

    def _turned_back(self, at: int, *queries: Any) -> list[Any]:
        return self._page_of(self._found(*queries), at - 1, queries[-1])

    def _turned(self, at: int, *queries: Any) -> list[Any]:
        return self._page_of(self._found(*queries), at + 1, queries[-1])

    def _turned_to(self, page: int | None, *queries: Any) -> list[Any]:
        return self._page_of(self._found(*queries), page or 1, queries[-1])

    def _page_of(self, listing: Listing, page: int, size: int) -> list[Any]:
        """The outputs `grid`. page: from 1; beyond the last it is the last."""
        size = _size(size)
        page = max(1, min(int(page), -(-len(listing) // size)))
        start = (page - 1) * size
        rows = listing.rows(start, size)
        pictures = self.catalogue.pictures(rows)
        noted = [listing.note, *(each.trouble for each in pictures)]
        troubles = [line for line in dict.fromkeys(noted) if line]
        cells = [(thumbnail(each), caption(row)) for row, each in zip(rows, pictures, strict=True)]
        return [
            listing,
            page,
            gr.update(value=html.troubles(troubles), visible=bool(troubles)),
            gr.update(value=cells, selected_index=None),
            html.shown_range(start + 1, start + len(rows), len(listing), self._partial()),
            page,
        ]

    def _partial(self) -> bool:
        """Whether there may be more pairs in a moment."""
        state = self._state()[1]
        return state is not None and not (state.finished and state.read + len(state.troubles) >= state.units)

    def _select(
        self, listing: Listing, at: int, size: int, overlay: list[str], event: gr.SelectData
    ) -> list[Any]:
        return self._open(listing, (at - 1) * _size(size) + int(event.index), overlay)

    def _earlier(self, listing: Listing, opened: Opened | None, overlay: list[str]) -> list[Any]:
        return self._open(listing, opened.place - 1 if opened else 0, overlay)

    def _later(self, listing: Listing, opened: Opened | None, overlay: list[str]) -> list[Any]:
        return self._open(listing, opened.place + 1 if opened else 0, overlay)

    def _open(self, listing: Listing, place: int, overlay: list[str]) -> list[Any]:
        """The outputs `pair`."""
        place = max(0, min(place, len(listing) - 1))
        found = listing.rows(place, 1)
        if not found:
            return [gr.skip()] * 8
        row, troubles, details = found[0], list[str](), dict[str, Any]()
        pictures = self.catalogue.pictures(found)[0]
        try:
            details = self.catalogue.details(row)
        except StorageError as error:
            troubles.append(str(error))
        if pictures.trouble and not troubles:
            troubles.append(pictures.trouble)
        opened = Opened(place, row, details, decoded(pictures.before), decoded(pictures.after))
        for data, pixels, name in (
            (pictures.before, opened.before, "before"),
            (pictures.after, opened.after, "after"),
        ):
            if data is not None and pixels is None:
                troubles.append(f"the picture {name} the edit cannot be read")
        shown = drawn(opened, overlay)
        return [
            opened,
            gr.update(visible=False),
            gr.update(visible=True),
            gr.update(value=shown, visible=shown is not None),
            html.pair(row, details, troubles),
            html.facts(row, details),
            {name: details.get(name) for name in ("instructions", "operations")},
            details,
        ]

    def _drawn(self, opened: Opened | None, overlay: list[str]) -> Any:
        return gr.skip() if opened is None else drawn(opened, overlay)

    def _back(self, listing: Listing, opened: Opened | None, size: int) -> list[Any]:
        """To the page that has the pair that was last looked at."""
        page = opened.place // _size(size) + 1 if opened else 1
        return [gr.update(visible=True), gr.update(visible=False), *self._page_of(listing, page, size)]

    def _figures(self) -> str:
        table, state = self._state()
        return html.progress(state or Progress(), table)

    def _ticked(self, listing: Listing, at: int, seen: pa.Table | None, *queries: Any) -> list[Any]:
        """A run's figures; where there are other pairs than a moment ago, also choices and numbers.

        The grid is left alone while it shows what it should: somebody may be looking at it.
        """
        table, size = self.catalogue.table(), _size(queries[-1])
        choices = [gr.skip()] * (2 + len(self.facets)) if seen is table else self._choices()
        grid = [gr.skip()] * 6
        if listing.table is not None and listing.table is not table:
            found, start = self._found(*queries), (at - 1) * size
            if (rows := found.rows(start, size)) != listing.rows(start, size):
                grid = self._page_of(found, at, size)
            else:
                grid[4] = html.shown_range(start + 1, start + len(rows), len(found), self._partial())
        return [self._head(), self._figures(), *choices, *grid]


def _size(size: Any) -> int:
    """Pairs on a page, whatever was sent."""
    return size if size in SIZES else SIZES[0]


def _number(text: Any) -> float | None:
    """Also with a decimal comma; None for anything else."""
    try:
        value = float(str(text).strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
