"""Where captions come from: one small interface over the files that people have.

Every source streams, so a billion rows need no memory, and every caption keeps where it is from and on what terms.
Nothing is cleaned here; that is `generators.cleaning`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs

from generators.files import SourceError, filesystem, json_lines, lines, opened

MIN_AESTHETIC = 6.5  # of LAION-Aesthetics V2, as InstructPix2Pix took them
LAION_TERMS = "LAION-5B metadata: CC-BY-4.0; the caption belongs to the page it is from"
COCO_TERMS = "CC-BY-4.0"
OPEN_IMAGES_TERMS = "CC-BY-4.0"

# Names that columns of captions have in the wild, best first.
_FIRST = 99  # a row without the captions' column is passed over; a file whose first hundred have none is not read on
COLUMNS = ("caption", "text", "TEXT", "prompt", "original_prompt", "input")


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption as it was found. text: any length, any characters. license: terms, None where nobody says.
    provenance: plain JSON values: source, and what finds it again (url, image id, file and row)."""

    text: str
    license: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def read_captions(
    kind: str, uri: str, *, column: str | None = None, license: str | None = None
) -> Iterator[Caption]:
    """Streams the captions of a file or folder.

    kind: "laion", Parquet with TEXT, URL, AESTHETIC_SCORE, of which 6.5 and more are kept; "coco", a captions JSON;
    "open_images", localized narratives (JSON lines); "manual", JSON lines, CSV or Parquet of one's own. uri: a path or
    whatever pyarrow opens ("s3://..."); a folder of files for Parquet. column: the captions' column, for "manual".
    license: terms to note, in place of the source's own.

    Raises SourceError for a file that is none of it, FileNotFoundError for none at all.
    """
    readers: dict[str, Callable[..., Iterator[Caption]]] = {
        "laion": _laion, "coco": _coco, "open_images": _open_images, "manual": _manual,
    }  # fmt: skip
    if kind not in readers:
        raise SourceError(f"{kind!r} is not one of {', '.join(readers)}")
    more = {"column": column} if kind == "manual" else {}
    for caption in readers[kind](uri, **more):
        yield Caption(caption.text, license or caption.license, caption.provenance)


def _laion(uri: str) -> Iterator[Caption]:
    data = _parquet(uri)
    names = {name.lower(): name for name in data.schema.names}
    missing = [name for name in ("text", "url", "aesthetic_score") if name not in names]
    if missing:
        raise SourceError(
            f"{uri}: has no column {', '.join(missing).upper()}; LAION-Aesthetics metadata has TEXT, URL and "
            "AESTHETIC_SCORE"
        )
    text, url, score = names["text"], names["url"], names["aesthetic_score"]
    kept = (pc.field(score) >= MIN_AESTHETIC) & pc.field(text).is_valid()
    for row in _rows(data, [text, url, score], kept):
        about = {"source": "laion", "url": row[url], "aesthetic_score": row[score]}
        yield Caption(row[text], LAION_TERMS, about)


def _coco(uri: str) -> Iterator[Caption]:
    with opened(uri) as file:
        try:
            values = json.load(file)
            annotations = values["annotations"]
            licences = {item["id"]: item["name"] for item in values.get("licenses", ())}
            pictures = {item["id"]: licences.get(item.get("license")) for item in values.get("images", ())}
            if not isinstance(annotations, list):
                raise TypeError("annotations")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{uri}: is no COCO captions file (JSON with 'annotations' of image_id and caption): {error}"
            ) from None
    for item in annotations:
        if isinstance(item, dict) and isinstance(item.get("caption"), str):
            image = item.get("image_id")
            about = {"source": "coco", "image_id": image, "image_license": pictures.get(image)}
            yield Caption(item["caption"], COCO_TERMS, about)


def _open_images(uri: str) -> Iterator[Caption]:
    for values in json_lines(uri):
        if isinstance(values.get("caption"), str):
            about = {"source": "open_images", "image_id": values.get("image_id")}
            yield Caption(values["caption"], OPEN_IMAGES_TERMS, about)


def _manual(uri: str, column: str | None) -> Iterator[Caption]:
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    if name.endswith((".jsonl", ".ndjson", ".json")):
        rows: Iterator[Mapping[str, Any]] = json_lines(uri)
    elif name.endswith((".csv", ".tsv")):
        rows = _csv(uri, "\t" if name.endswith(".tsv") else ",")
    else:
        data = _parquet(uri)
        chosen = _column(data.schema.names, column, uri)
        rows = _rows(data, [chosen, *({"license", "url"} & set(data.schema.names))])
    named = False
    for number, row in enumerate(rows):
        found = _found(row, column)
        named = named or found is not None
        text = row.get(found) if found is not None else None
        if isinstance(text, str):
            about = {"source": "manual", "file": name, "row": number}
            if row.get("url"):
                about["url"] = str(row["url"])
            yield Caption(text, row.get("license"), about)
        elif not named and number == _FIRST:
            _column(row, column, uri)
    if not named:
        raise SourceError(f"{uri}: has no row with the column {column or ' or '.join(COLUMNS)}")


def _found(names: Collection[str], wanted: str | None) -> str | None:
    return next((name for name in ((wanted,) if wanted else COLUMNS) if name in names), None)


def _column(names: Collection[str], wanted: str | None, uri: str) -> str:
    found = _found(names, wanted)
    if found is not None:
        return found
    raise SourceError(
        f"{uri}: has no column {wanted or ' or '.join(COLUMNS)}, only {', '.join(names) or 'none'}; name the captions' "
        "column"
    )


# --- files ----------------------------------------------------------------------------------------------------


def _parquet(uri: str) -> ds.Dataset:
    system, path = filesystem(uri)
    if system.get_file_info(path).type == fs.FileType.NotFound:
        raise FileNotFoundError(f"{uri}: there is no such file or folder")
    try:
        return ds.dataset(path, filesystem=system, format="parquet", exclude_invalid_files=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"{uri}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _rows(data: ds.Dataset, columns: list[str], kept: Any = None) -> Iterator[dict[str, Any]]:
    """In the files' order: the same rows come out alike every time."""
    for batch in data.to_batches(columns=columns, filter=kept, batch_size=4096):
        yield from batch.to_pylist()


def _csv(uri: str, delimiter: str) -> Iterator[dict[str, Any]]:
    with opened(uri) as file:
        rows = csv.DictReader(lines(file), delimiter=delimiter)
        while True:
            try:
                yield {str(key): value for key, value in next(rows).items()}
            except StopIteration:
                return
            except csv.Error:  # one broken line
                continue
