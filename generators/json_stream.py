"""JSON of hundreds of megabytes, item by item: the parsed whole would take ten times the file."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from json.decoder import WHITESPACE  # type: ignore[attr-defined]
from typing import Any

_CHUNK = 1 << 22


class BrokenJson(ValueError):
    """Not JSON, or cut off, or no object at the top."""


def json_items(file: io.BufferedIOBase) -> Iterator[tuple[str, Any]]:
    """(key, item) for each item of the arrays of the object at the top, (key, value) for its other values.

    An array of [{"a": 1}, {"a": 2}] under "images" comes as ("images", {"a": 1}), ("images", {"a": 2}). Memory is that
    of one item and a few megabytes. Raises BrokenJson.
    """
    reader = _Reader(file)
    reader.expect("{")
    if reader.takes("}"):
        return
    while True:
        key = reader.value()
        if not isinstance(key, str):
            raise BrokenJson(f"{key!r} is no key")
        reader.expect(":")
        if reader.takes("["):
            more = not reader.takes("]")
            while more:
                yield key, reader.value()
                more = reader.takes(",")
                if not more:
                    reader.expect("]")
        else:
            yield key, reader.value()
        if reader.takes(","):
            continue
        reader.expect("}")
        return


class _Reader:
    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._scan = json.JSONDecoder().raw_decode
        self._text, self._at, self._ended = "", 0, False

    def value(self) -> Any:
        """The next value whole."""
        chunk = _CHUNK
        self._skip()
        while True:
            try:
                found, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise BrokenJson(f"{error.msg} near {self._text[error.pos : error.pos + 40]!r}") from None
            except RecursionError:
                raise BrokenJson("is nested too deeply") from None
            else:
                # A number may go on behind what was read so far.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return found
            self._fill(chunk)
            chunk *= 2

    def takes(self, sign: str) -> bool:
        """Whether the sign is next; it is taken then."""
        self._skip()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += 1
        return True

    def expect(self, sign: str) -> None:
        if not self.takes(sign):
            found = self._text[self._at : self._at + 40]
            raise BrokenJson(f"{sign!r} is missing before {found!r}" if found else "the file is cut off")

    def _skip(self) -> None:
        self._at = WHITESPACE.match(self._text, self._at).end()
        while self._at == len(self._text) and not self._ended:
            self._fill(_CHUNK)
            self._at = WHITESPACE.match(self._text, self._at).end()

    def _fill(self, size: int) -> None:
        data = self._file.read(size)
        self._ended = not data
        try:
            self._text = self._text[self._at :] + self._decode.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise BrokenJson(f"is no UTF-8: {error.reason}") from None
        self._at = 0
