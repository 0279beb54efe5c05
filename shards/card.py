"""The dataset card, README.md: what the Hub shows of a dataset, and what a person reads first.

Made from the manifest, the figures and a few words of whoever publishes, and from nothing else: the same give the
same bytes, and neither a time nor a place is in them. Every string is escaped (`shards.markup`), the front matter is
written by a YAML library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import yaml

from shards.columns import columns, index_columns
from shards.dataset import SPLITS, Manifest
from shards.markup import Raw, environment, escaped, fenced, one_line
from shards.statistics import Figures

TAGS = ("image-editing", "instruction-following", "spatial-reasoning", "synthetic")
LANGUAGES = {"en": "English", "vi": "Vietnamese"}
SOURCES = {
    "blender": "scenes rendered by Blender; geometry judged each edit on masks, depth and pixels",
    "p2p": "pictures made from words by Stable Diffusion with Prompt-to-Prompt; CLIP judged them",
    "coco": "photos annotated as COCO is, composed anew; geometry judged each edit on masks",
    "open_images": "photos annotated as Open Images is, composed anew; geometry judged each edit on masks",
    "manual": "photos with notes of their own, composed anew; geometry judged each edit on masks",
}
# Licences that the Hub has a word of its own for, most of them SPDX's in small letters.
_HUB_LICENCES = {
    "apache-2.0": "apache-2.0", "mit": "mit", "cc0-1.0": "cc0-1.0", "cc-by-2.0": "cc-by-2.0",
    "cc-by-3.0": "cc-by-3.0", "cc-by-4.0": "cc-by-4.0", "cc-by-sa-3.0": "cc-by-sa-3.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0", "cc-by-nc-2.0": "cc-by-nc-2.0", "cc-by-nc-3.0": "cc-by-nc-3.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0", "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0", "cc-by-nd-4.0": "cc-by-nd-4.0",
    "cc-by-nc-nd-4.0": "cc-by-nc-nd-4.0", "odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl",
}  # fmt: skip
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))  # fmt: skip
_RENDERED, _WRITTEN = {"blender"}, {"p2p"}
_ADDRESS = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://)\S+")
_PATH = re.compile(r"((?:^|(?<=[\s:=,\"']))(?:~|[A-Za-z]:)?[/\\])[^\s…/][^\s…]*")
_NAMED = 30  # names in a sentence
_SHOWN = 60  # lines of a table whose length the data decide; the rest is summed up


@dataclass(frozen=True, slots=True)
class CardText:
    """What only the publisher knows. All of it plain text, shown as it is.

    licence: of the whole, an SPDX expression; by default all that pairs carry, joined by AND. date: of publication,
    ISO ("2026-11-26"). held_out: what `test` alone shows ("blue mug"). limits: known ones, beside those that follow
    from how pairs are made. citation: BibTeX; by default made from the rest.
    """

    title: str
    summary: str = (
        "Pairs of pictures, before and after an edit, with the instruction in English or Vietnamese: where things are, "
        "how far they move, how many there are, and from where they are seen."
    )
    licence: str = ""
    homepage: str | None = None
    authors: tuple[str, ...] = ()
    date: str | None = None
    held_out: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    citation: str | None = None

    def __post_init__(self) -> None:
        if self.homepage is not None and not re.fullmatch(r"https?://[^\s<>()\[\]\"'`\\|]+", self.homepage):
            raise ValueError(f"homepage {self.homepage!r} is not an http or https address")
        if self.date is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", self.date):
            raise ValueError(f"date {self.date!r} is not of the form 2026-11-26")


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence that the card shows."""

    kind: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What the card shows beside the figures. assets: paths of pictures that lie beside it. examples: sentences, any
    number. balance: {"kinds": 0.97, ...}, normalised entropies. meanings: of the reasons in the survival table."""

    assets: Sequence[str] = ()
    examples: Sequence[Example] = ()
    balance: Mapping[str, float] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)


def render_card(manifest: Manifest, figures: Figures, about: CardText, extras: Extras | None = None) -> str:
    """README.md. manifest: as far as it is known; of its files those under "data" count."""
    extras = extras or Extras()
    licence = about.licence or whole_licence(figures)
    env = environment(jinja2.FileSystemLoader(Path(__file__).parent))
    env.filters.update(
        n=lambda number: Raw(f"{number:,}"),
        size=lambda count: Raw(file_size(count)),
        share=lambda share: Raw(f"{share:.1%}"),
        short=lambda number: Raw(f"{number:.2f}"),
        code=_code,
        tallied=_tallied,
        url=lambda url: Raw(f"<{url}>"),  # held to be harmless by CardText
        meaning=lambda words: Raw(words),  # ours, with code in it
    )
    body = env.get_template("card.md.jinja").render(
        about=about,
        manifest=manifest,
        figures=figures,
        licence=licence,
        picture=_pictures(extras.assets),
        examples=_examples(extras.examples),
        balance=extras.balance,
        bytes=sum(file.bytes for file in _data(manifest)),
        splits=_splits(manifest),
        sources=sorted({source for counts in manifest.counts.values() for source in counts}),
        explained=SOURCES,
        kinds=_kinds(figures),
        languages=sorted({cell.language for cell in figures.cells}),
        named=LANGUAGES,
        scores=_scores(figures),
        columns=list(columns()),
        index_columns=list(index_columns()),
        survival=list(_survival(manifest, extras.meanings)),
        tables=(
            _Table(("licence of the pair", "pairs"), _limited(figures.licences)),
            _Table(("licence of an object", "pairs that show one"), _limited(figures.object_licences)),
        ),
        origins=[replace(origin, name=_without_place(origin.name)) for origin in figures.origins[:_SHOWN]],
        more_origins=len(figures.origins[_SHOWN:]),
        limits=[*_limits(figures, about), *about.limits],
        models={name: _without_place(identity) for name, identity in manifest.models.items()},
        config=fenced(_yaml(_without_places(manifest.config)), "yaml") if manifest.config else "",
        citation=fenced(about.citation or _bibtex(manifest, about), "bibtex"),
    )  # fmt: skip
    body = re.sub(r"\n{3,}", "\n\n", body)
    return f"---\n{_yaml(front_matter(manifest, figures, about))}---\n\n{body}"


def front_matter(manifest: Manifest, figures: Figures, about: CardText) -> dict[str, Any]:
    """What the Hub and `datasets` read: terms, languages, and which files are which split of which configuration."""
    languages = sorted(
        {cell.language for cell in figures.cells if re.fullmatch(r"[a-z]{2,3}", cell.language)}
    )
    sources = sorted({file.source for file in _data(manifest) if file.source})
    return {
        **_hub_licence(about.licence or whole_licence(figures)),
        "pretty_name": one_line(about.title),
        "language": languages,
        "task_categories": ["image-to-image"],
        "size_categories": [next((word for most, word in _SIZES if figures.rows < most), "n>1B")],
        "annotations_creators": ["machine-generated"],
        "tags": list(TAGS),
        "configs": [
            {"config_name": "default", "default": True, "data_files": _patterns(manifest, None)},
            *({"config_name": source, "data_files": _patterns(manifest, source)} for source in sources),
        ],
    }


def whole_licence(figures: Figures) -> str:
    """All licences that pairs carry, joined by AND; "" where none carries any."""
    parts = {part.strip() for licence in figures.licences for part in licence.split(" AND ")}
    return " AND ".join(sorted(one_line(part) for part in parts if part))


def file_size(count: int) -> str:
    """For example "5.1 MB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _data(manifest: Manifest) -> list[Any]:
    return [file for file in manifest.files if file.path.startswith("data/")]


def _patterns(manifest: Manifest, source: str | None) -> list[dict[str, str]]:
    """Globs, of all sources or one, for the splits that have files."""
    there = {file.split for file in _data(manifest) if source in (None, file.source)}
    return [
        {"split": split, "path": f"data/{source or '*'}/{split}-*.parquet"}
        for split in SPLITS
        if split in there
    ]


def _hub_licence(expression: str) -> dict[str, Any]:
    parts = [_HUB_LICENCES.get(part.strip().lower()) for part in expression.split(" AND ")]
    if not expression or None in parts:
        name = re.sub(r"[^a-z0-9.]+", "-", expression.lower()).strip("-.")[:96]
        return {"license": "other", **({"license_name": name} if name else {})}
    return {"license": parts[0] if len(parts) == 1 else parts}


@dataclass(frozen=True, slots=True)
class _Table:
    head: tuple[str, str]
    lines: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class _Split:
    name: str
    counts: Mapping[str, int]
    rows: int


def _splits(manifest: Manifest) -> list[_Split]:
    known = [split for split in SPLITS if split in manifest.counts]
    return [
        _Split(name, manifest.counts[name], sum(manifest.counts[name].values()))
        for name in [*known, *sorted(manifest.counts.keys() - set(SPLITS))]
    ]


def _kinds(figures: Figures) -> list[tuple[str, int, dict[str, int]]]:
    """(kind, pairs, pairs by language), most frequent first."""
    counts = figures.by("kind", "language")
    totals = {kind: rows for (kind,), rows in figures.by("kind").items()}
    return [
        (kind, totals[kind], {language: rows for (of, language), rows in counts.items() if of == kind})
        for kind in sorted(totals, key=lambda kind: (-totals[kind], kind))
    ]


def _scores(figures: Figures) -> list[tuple[str, int, list[str]]]:
    """(score, pairs that have it, [5%, median, 95%])."""
    return [
        (name, found.total, [f"{found.quantile(share) or 0:.3g}" for share in (0.05, 0.5, 0.95)])
        for name, found in figures.scores.items()
    ]


def _examples(examples: Sequence[Example]) -> list[tuple[str, dict[str, str]]]:
    """(kind, {language: sentence}), in the order in which kinds come."""
    found: dict[str, dict[str, str]] = {}
    for example in examples:
        found.setdefault(example.kind, {}).setdefault(example.language, example.text)
    return list(found.items())


def _survival(manifest: Manifest, meanings: Mapping[str, str]) -> Iterator[tuple[str, int, float, str, bool]]:
    """(step or reason, rows, share of the first step, meaning, whether it is a reason). A step's reasons say what was
    lost on the way to it."""
    first = next((line["rows"] for line in manifest.survival), 0) or 1
    for line in manifest.survival:
        reasons = sorted(dict(line.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
        for reason, rows in reasons:
            yield str(reason).replace("_", " "), rows, rows / first, meanings.get(reason, ""), True
        yield str(line["step"]), line["rows"], line["rows"] / first, "", False


def _limited(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    lines = list(counts.items())
    if len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], (f"{len(lines) - _SHOWN} more", sum(rows for _, rows in lines[_SHOWN:]))]


def _limits(figures: Figures, about: CardText) -> Iterator[str]:
    """What follows from how the pairs were made."""
    sources = {cell.source for cell in figures.cells}
    yield (
        "Left and right are the viewer's. Whoever mirrors pictures while training has to say the words anew, or else "
        "“left” comes to mean both sides."
    )
    yield "The captions before and after are English in every row; only the instruction is in the row's language."
    if sources & _RENDERED:
        yield (
            "Rendered scenes are simple: few objects, plain surroundings, one look. They show places, not the variety "
            "of the world."
        )
        yield "Instructions of rendered pairs are worded by a grammar: they are exact, and less varied than people's."
    if sources & _WRITTEN:
        yield (
            "Of pairs made from words no geometry is known: objects, operations and cameras are null, and CLIP, which "
            "hardly tells left from right, is the only judge."
        )
    if "vi" in {cell.language for cell in figures.cells}:
        yield "Vietnamese is written by rules or by a model, and was not read line by line by people."
    if not figures.rows:
        yield "It holds no pairs."


def _bibtex(manifest: Manifest, about: CardText) -> str:
    key = re.sub(r"[^a-z0-9]+", "-", manifest.name.lower()).strip("-") or "dataset"
    lines = {
        "title": about.title,
        "author": " and ".join(about.authors),
        "version": manifest.version,
        "year": (about.date or "")[:4],
        "url": about.homepage or "",
        "note": f"made by runs {', '.join(manifest.parents)}" if manifest.parents else "",
    }
    told = [f"  {name} = {{{_braced(text)}}}," for name, text in lines.items() if text]
    return "\n".join([f"@misc{{{key}-{manifest.version},", *told, "}"])


def _braced(text: str) -> str:
    """Without what BibTeX takes for its own."""
    return re.sub(r"[{}\\]", "", one_line(text))


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True, width=1000)


def _plain(value: Any) -> Any:
    """Only what YAML's safe form has, every string on one line."""
    if isinstance(value, Mapping):
        return {one_line(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return one_line(value) if isinstance(value, str) else value


def _pictures(assets: Sequence[str]) -> Callable[[str, str], Raw]:
    """What the template shows a picture by, in a paragraph of its own; nothing for one that is not there."""

    def picture(name: str, alt: str) -> Raw:
        return Raw(f"\n![{alt}](assets/{name})\n" if f"assets/{name}" in assets else "")

    return picture


def _tallied(counts: Mapping[str, int]) -> Raw:
    """For example "left 30, right 28, and 3 more"."""
    shown = ", ".join(f"{escaped(name)} {rows:,}" for name, rows in list(counts.items())[:_NAMED])
    return Raw(shown + (f", and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""))


def _without_places(value: Any) -> Any:
    """Where somebody's files and machines are is nobody else's business, should a publisher forget it."""
    if isinstance(value, Mapping):
        return {key: _without_places(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_places(inner) for inner in value]
    return _without_place(value) if isinstance(value, str) else value


def _without_place(text: str) -> str:
    return _PATH.sub(r"\1…", _ADDRESS.sub(r"\1…", text))


def _code(text: str) -> Raw:
    """The text as code, in a table too."""
    return Raw(f"<code>{escaped(text)}</code>")
