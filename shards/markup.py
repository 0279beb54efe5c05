"""Words from data made harmless: in Markdown, in the HTML that it becomes, and in fenced blocks.

A caption, a name or a licence may hold anything that somebody typed. In a card it has to be read as those letters
and do nothing: no link, no picture, no tag, no line or cell of a table.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import jinja2

# Whatever has a meaning to Markdown, to its common extensions (tables, mathematics, bare links) or to HTML.
_SPECIAL = {ord(sign): f"&#{ord(sign)};" for sign in "&<>`*_{}[]#|~@\\$"}
_BARE = re.compile(r"(?i)(?<=\bwww)\.|:(?=\S)")  # of links without brackets, and of names of little pictures
_BEGINS = re.compile(r"^(?:[-+=]|\d(?=\d{0,8}[.)](?:\s|$)))")
_NOT_SHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, among them those that turn the line around


class Raw(str):
    """Text that is Markdown already."""

    __slots__ = ()


def escaped(text: str) -> Raw:
    """The text as one line of letters, also where it begins a line: no list, no rule."""

    def entity(found: re.Match[str]) -> str:
        return f"&#{ord(found[0])};"

    return Raw(_BEGINS.sub(entity, _BARE.sub(entity, one_line(text).translate(_SPECIAL))))


def one_line(text: str) -> str:
    """Controls become spaces; runs of white space one."""
    plain = "".join(" " if unicodedata.category(sign) in _NOT_SHOWN else sign for sign in text)
    return " ".join(plain.split())


def fenced(text: str, language: str = "") -> Raw:
    """A block that shows the text as it is; nothing in it can end the block."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Raw(f"{fence}{language}\n{text.rstrip()}\n{fence}")


def environment(loader: jinja2.BaseLoader) -> jinja2.Environment:
    """Templates of Markdown in which every string is escaped that is not `Raw`."""

    def finalize(value: Any) -> Any:
        return escaped(value) if isinstance(value, str) and not isinstance(value, Raw) else value

    return jinja2.Environment(
        loader=loader,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
