"""Templates of pages, beside the modules that fill them: every string is escaped, and a name that is missing is an
error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2


def template(
    name: str, undefined: type[jinja2.Undefined] = jinja2.StrictUndefined, **filters: Callable[..., Any]
) -> jinja2.Template:
    """name: of a file in this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=undefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(name)
