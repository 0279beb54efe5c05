"""The card's plots, as PNG files: the same figures give the same bytes, wherever they are drawn.

Drawn on figures of their own, never by pyplot: nothing global is made, and what a machine's matplotlibrc says
does not count. White grounds: the pages that show a card are light or dark.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shards.statistics import Figures, Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE, GROUND = "#1b2230", "#5d6778", "#e1e5eb", "#ffffff"
LANGUAGES = {"en": "#3456d1", "vi": "#e08a1e"}
OTHER, BAR, LOST = "#8d99ae", "#3456d1", "#c8cfda"
REGIONS = (
    ("upper-left", "upper", "upper-right"),
    ("left", "centre", "right"),
    ("lower-left", "lower", "lower-right"),
)
UNITS = {
    "percent_width": "% of the width", "percent_height": "% of the height", "metre": "metres",
    "degree": "degrees", "count": "objects", "factor": "times the size",
}  # fmt: skip
_DPI = 110
_SETTINGS = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.parse_math": False,  # "$" in a name is a letter
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "path.simplify": False,
}


def draw(figures: Figures, survival: Sequence[Mapping[str, Any]] = ()) -> dict[str, bytes]:
    """{"assets/kinds.png": PNG, ...}: kinds, directions, regions, amounts, scores, survival; those with anything in
    them.

    survival: as in `shards.dataset.Manifest`.
    """
    made: dict[str, Callable[[], Figure | None]] = {
        "kinds": lambda: _kinds(figures),
        "directions": lambda: _bars(figures.directions, "steps"),
        "regions": lambda: _regions(figures.regions),
        "amounts": lambda: _histograms({UNITS[unit]: found for unit, found in figures.amounts.items()}),
        "scores": lambda: _histograms(figures.scores),
        "survival": lambda: _survival(survival),
    }
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        return {f"assets/{name}.png": _png(figure) for name, make in made.items() if (figure := make())}


def _kinds(figures: Figures) -> Figure | None:
    counts = figures.by("kind", "language")
    if not counts:
        return None
    totals = {kind[0]: rows for kind, rows in figures.by("kind").items()}
    kinds = sorted(totals, key=lambda kind: (totals[kind], kind))  # the most frequent on top
    languages = sorted({language for _, language in counts})
    figure, axes = _figure(6.4, 0.8 + 0.26 * len(kinds))
    left = [0] * len(kinds)
    for language in languages:
        rows = [counts.get((kind, language), 0) for kind in kinds]
        colour = LANGUAGES.get(language, OTHER)
        axes.barh(_short(kinds), rows, left=left, height=0.72, color=colour, label=language)
        left = [a + b for a, b in zip(left, rows)]
    _numbered(axes, left, left)
    axes.legend(loc="lower right", frameon=False, handlelength=1.0)
    axes.set_xlabel("pairs")
    return figure


def _bars(counts: Mapping[str, int], label: str) -> Figure | None:
    if not counts:
        return None
    names = list(counts)[::-1]
    figure, axes = _figure(6.4, 0.8 + 0.26 * len(names))
    rows = [counts[name] for name in names]
    axes.barh(_short(names), rows, height=0.72, color=BAR)
    _numbered(axes, rows, rows)
    axes.set_xlabel(label)
    return figure


def _regions(counts: Mapping[str, int]) -> Figure | None:
    if not any(counts.get(name) for line in REGIONS for name in line):
        return None
    figure, axes = _figure(3.6, 3.0)
    shares = [[counts.get(name, 0) for name in line] for line in REGIONS]
    most = max(map(max, shares))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=most * 1.25, aspect="auto")
    for y, line in enumerate(REGIONS):
        for x, name in enumerate(line):
            rows = counts.get(name, 0)
            colour = GROUND if rows > most * 0.7 else INK
            axes.text(x, y, f"{name}\n{rows:,}", ha="center", va="center", color=colour)
    axes.set_axis_off()
    return figure


def _histograms(found: Mapping[str, Histogram]) -> Figure | None:
    """One small plot each, three in a row; values outside the bins are counted in a corner."""
    if not found:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = -(-len(found) // 3)
    figure = Figure(figsize=(7.6, 1.65 * rows), dpi=_DPI, facecolor=GROUND, layout="constrained")
    for number, (name, histogram) in enumerate(found.items()):
        axes = figure.add_subplot(rows, 3, number + 1)
        _bare(axes)
        axes.stairs(histogram.counts, histogram.edges, fill=True, color=BAR)
        axes.set_xlim(histogram.low, histogram.high)
        axes.set_title(name.replace("_", " "), fontsize=9, color=INK, loc="left")
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(4))
        if outside := histogram.below + histogram.above:
            axes.set_title(f"{outside:,} outside", fontsize=8, color=SOFT, loc="right")
    return figure


def _survival(survival: Sequence[Mapping[str, Any]]) -> Figure | None:
    if not survival:
        return None
    steps = [str(line["step"]) for line in survival]
    rows = [int(line["rows"]) for line in survival]
    figure, axes = _figure(6.4, 0.6 + 0.34 * len(steps))
    places = list(range(len(steps)))[::-1]
    axes.barh(places, rows, height=0.72, color=[*[LOST] * (len(rows) - 1), BAR])
    axes.set_yticks(places, _short(steps))
    first = rows[0] or 1
    _numbered(axes, dict(zip(places, rows)), [f"{n:,}  ({n / first:.0%})" for n in rows])
    axes.set_xlabel("pairs")
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=GROUND, layout="constrained")
    axes = figure.add_subplot()
    _bare(axes)
    return figure, axes


def _bare(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def _numbered(axes: Axes, rows: Sequence[int] | Mapping[int, int], words: Sequence[Any]) -> None:
    """The numbers behind the bars, and room for them."""
    from matplotlib.ticker import MaxNLocator

    places = rows.items() if isinstance(rows, Mapping) else enumerate(rows)
    most = 0
    for (place, length), word in zip(places, words):
        text = word if isinstance(word, str) else f"{word:,}"
        axes.text(length, place, f" {text}", va="center", color=SOFT, fontsize=8)
        most = max(most, length)
    axes.set_xlim(0, (most or 1) * 1.18)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _short(names: Sequence[str]) -> list[str]:
    """Names as labels: one line, not endless."""
    plain = (" ".join(name.split()) for name in names)
    return [name if len(name) <= 40 else f"{name[:39]}…" for name in plain]


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    # Neither version nor date goes in.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
