"""croissant.json: the dataset as MLCommons' Croissant 1.1 describes one, for whatever reads such descriptions.

The distribution has every Parquet file with its sha256, and the data files as a set; the record set "default" has
their columns as fields, nested ones as fields within fields, and the split that each pair is in.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

from shards.card import CardText
from shards.columns import MEANINGS
from shards.dataset import SPLITS, Manifest
from shards.features import IMAGE
from shards.markup import one_line
from shards.schema import PUBLISHED

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*-[0-9][A-Za-z0-9.+-]*|MIT")
_FILES = "data-files"
_PARQUET = "application/x-parquet"
_TYPES = {
    "string": "sc:Text", "bool": "sc:Boolean", "int32": "cr:Int32", "int64": "cr:Int64", "float": "cr:Float32",
    "double": "cr:Float64",
}  # fmt: skip
# As the reference implementation writes it.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def describe(manifest: Manifest, about: CardText) -> bytes:
    """croissant.json. manifest: of its files those under "data" and "index" count."""
    data = [file for file in manifest.files if file.path.startswith("data/")]
    files = [file for file in manifest.files if file.path.startswith(("data/", "index/"))]
    splits = [split for split in SPLITS if any(file.split == split for file in data)]
    values = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": _name(manifest.name),
        "alternateName": one_line(about.title),
        "description": one_line(about.summary),
        "version": manifest.version,
        "license": _licences(about.licence),
        "keywords": ["image editing", "spatial", "synthetic"],
        "inLanguage": ["en", "vi"],
        "citeAs": about.citation or f"{one_line(about.title)}, version {manifest.version}",
        **({"url": about.homepage} if about.homepage else {}),
        **({"datePublished": about.date} if about.date else {}),
        **({"creator": [{"@type": "Person", "name": one_line(name)} for name in about.authors]}
           if about.authors else {}),
        "distribution": [
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": file.path,
                    "name": file.path,
                    "contentUrl": file.path,
                    "contentSize": f"{file.bytes} B",
                    "encodingFormat": _PARQUET,
                    "sha256": file.sha256,
                }
                for file in files
            ),
            {
                "@type": "cr:FileSet",
                "@id": _FILES,
                "name": _FILES,
                "description": "the data files of all sources and splits",
                "encodingFormat": _PARQUET,
                "includes": "data/*/*.parquet",
            },
        ],
        "recordSet": [_splits(splits), _pairs()],
    }  # fmt: skip
    return json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n"


def _splits(splits: list[str]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"splits/name": split} for split in splits],
    }


def _pairs() -> dict[str, Any]:
    split = {
        "@type": "cr:Field",
        "@id": "default/split",
        "name": "split",
        "description": "the split that the pair is in",
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": _FILES},
            "extract": {"fileProperty": "fullpath"},
            # Readers apply it twice where they join: it has to take its own result.
            "transform": {"regex": rf"^(?:.*/)?({'|'.join(SPLITS)})(?:-[^/]*)?$"},
        },
        "references": {"field": {"@id": "splits/name"}},
    }
    columns = [
        _field(f"default/{field.name}", field.type, field.name, ())
        | {"description": MEANINGS[field.name].replace("`", "")}
        for field in PUBLISHED
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "default",
        "name": "default",
        "description": "one record for each pair",
        "key": {"@id": "default/pair_id"},
        "field": [split, *columns],
    }


def _field(place: str, kind: pa.DataType, column: str, path: tuple[str, ...]) -> dict[str, Any]:
    """A column, or a part of one. path: the names that lead to it within the column."""
    found: dict[str, Any] = {"@type": "cr:Field", "@id": place, "name": place.rpartition("/")[2]}
    if pa.types.is_list(kind):
        depth = 0
        while pa.types.is_list(kind):
            kind, depth = kind.value_type, depth + 1
        found |= {"isArray": True, "arrayShape": ",".join(["-1"] * depth)}
    if pa.types.is_struct(kind) and kind != IMAGE:
        parts = [_field(f"{place}/{part.name}", part.type, column, (*path, part.name)) for part in kind]
        return found | {"subField": parts}
    if kind == IMAGE:
        path = (*path, "bytes")
    steps = [{"jsonPath": step} for step in path]
    source = {"fileSet": {"@id": _FILES}, "extract": {"column": column}}
    return found | {
        "dataType": "sc:ImageObject" if kind == IMAGE else _TYPES[str(kind)],
        "source": source | ({"transform": steps if len(steps) > 1 else steps[0]} if steps else {}),
    }


def _name(name: str) -> str:
    """Letters that a file's name may have, which is what validators take."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "dataset"


def _licences(expression: str) -> list[str]:
    """Addresses of the licences that SPDX knows; others by their names."""
    parts = [one_line(part) for part in expression.split(" AND ")]
    return [
        f"https://spdx.org/licenses/{part}.html" if _SPDX.fullmatch(part) else part for part in parts if part
    ]
