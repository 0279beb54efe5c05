"""A folder of portraits, and what editors are asked for of each: people of several groups, the same neutral words.

After Seo et al. 2026, "Toward Trustworthy Portrait Editing" (arXiv 2602.16149): who is in a portrait is no part of an
instruction, so no edit is to depend on it, or to change it. No portraits come with this project: faces have owners. The
folder has a table of what people *perceive* in each, and says under which licence the pictures are.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

NAME = "portraits"  # of the benchmark, and of the files beside the pictures: .csv or .parquet, .yaml
_OWN = Path(__file__).with_suffix(".yaml")
_LICENCES = ("LICENCE", "LICENSE")
_FILE, _LICENCE = "file", "licence"  # columns that are no attributes
_LONGEST = 120  # characters of a file's name: a survey keeps names in columns of 200

Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Said = Annotated[str, Field(min_length=1)]
Values = Annotated[dict[str, Annotated[tuple[Said, ...], Field(min_length=1)]], Field(min_length=2)]


class PortraitsError(Exception):
    """A folder, table or protocol that cannot be used. One line."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Instruction(_Strict):
    """en, vi: what editors are told. kind: occupation, scene, clothes. after: what CLIP looks for in the picture after,
    English. stereotype: the value of an attribute that people expect of it."""

    id: Word
    kind: Word
    en: Said | None = None
    vi: Said | None = None
    after: Said
    stereotype: dict[str, str] = Field(default_factory=dict)

    def text(self, language: str) -> str:
        return str(getattr(self, language))


class Protocol(_Strict):
    """languages: each portrait is asked for in each. before: what CLIP takes every portrait for. attributes: what CLIP
    chooses from, by attribute and value: captions, whose mean embedding stands for the value (Radford et al. 2021)."""

    languages: Annotated[tuple[Annotated[str, Field(pattern="^(en|vi)$")], ...], Field(min_length=1)]
    before: Said
    instructions: Annotated[tuple[Instruction, ...], Field(min_length=1)]
    attributes: Annotated[dict[Word, Values], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> Protocol:
        names = [one.id for one in self.instructions]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"instructions: {twice} is there twice")
        for one in self.instructions:
            if missing := [language for language in self.languages if getattr(one, language) is None]:
                raise ValueError(f"instructions: {one.id} has no words in {missing[0]!r}")
            if one.after == self.before:
                raise ValueError(f"instructions: `after` of {one.id} is what is there before")
            for attribute, value in one.stereotype.items():
                if value not in self.attributes.get(attribute, {}):
                    raise ValueError(
                        f"instructions: {one.id} expects {attribute} {value}, which is no attribute"
                    )
        return self

    def instruction(self, name: str) -> Instruction:
        return next(one for one in self.instructions if one.id == name)


@dataclass(frozen=True, slots=True)
class Portrait:
    """file: in the folder, with "/". attributes: by column of the table, what people perceive, those that are said."""

    file: str
    attributes: Mapping[str, str]


def protocol(folder: Path) -> Protocol:
    """The folder's portraits.yaml, or else the project's. Raises PortraitsError."""
    own = folder / f"{NAME}.yaml"
    file = own if own.is_file() else _OWN
    try:
        return Protocol.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where}: {first['msg']}" if where else str(first["msg"]).removeprefix("Value error, ")
        raise PortraitsError(f"{file}: {said}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PortraitsError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None


def portraits(folder: Path) -> list[Portrait]:
    """Those of portraits.csv or portraits.parquet, in its order: `file`, `licence` where there is no file LICENCE, and
    attributes, one a column. Raises PortraitsError."""
    rows, table = _rows(folder)
    licensed = any(path.stem in _LICENCES for path in folder.iterdir() if path.is_file())
    found: dict[str, Portrait] = {}
    for number, row in enumerate(rows, start=1):
        file = str(row.get(_FILE) or "").strip()
        if not file:
            raise PortraitsError(f"{table}: row {number} names no `{_FILE}`")
        inside = ".." not in PurePosixPath(file).parts and not Path(file).is_absolute()
        if file in found or len(file) > _LONGEST or not inside:
            raise PortraitsError(
                f"{table}: {file[:_LONGEST]} must be a path in the folder, of {_LONGEST} characters at most, there once"
            )
        if not licensed and not str(row.get(_LICENCE) or "").strip():
            raise PortraitsError(
                f"{table}: nothing says under which licence {file} is: add a column `{_LICENCE}`, or a file "
                f"{_LICENCES[0]} to {folder}"
            )
        about = {name: str(value).strip() for name, value in row.items() if name and value is not None}
        found[file] = Portrait(file, {k: v for k, v in about.items() if v and k not in (_FILE, _LICENCE)})
    if not found:
        raise PortraitsError(f"{table}: there are no portraits in it")
    return [*found.values()]


def _rows(folder: Path) -> tuple[list[dict[str, Any]], Path]:
    """And the file that they are from."""
    text, columns = folder / f"{NAME}.csv", folder / f"{NAME}.parquet"
    try:
        if text.is_file():
            with text.open(encoding="utf-8-sig", newline="") as file:
                return list(csv.DictReader(file)), text
        if columns.is_file():
            return pq.read_table(columns).to_pylist(), columns
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise PortraitsError(f"{folder}: its table cannot be read: {str(error).splitlines()[0]}") from None
    raise PortraitsError(f"{folder}: there is no {NAME}.csv or {NAME}.parquet in it")


def edit_name(file: str, instruction: str, language: str) -> str:
    """pair_id of an edit."""
    return f"{file}:{instruction}:{language}"


def named(edit: str) -> tuple[str, str, str]:
    """File, instruction and language of an edit's name."""
    file, instruction, language = edit.rsplit(":", 2)
    return file, instruction, language
