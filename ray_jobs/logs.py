"""Lines of log that say which run, unit and stage they are about: JSON for machines, a prefix for people.

Workers write JSON to their standard error, which Ray keeps in its session's folder and whatever collects logs reads;
the job writes text to a file of its own.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

ROOMS = ("ray_jobs", "shards", "renderers", "generators", "filters", "trainer", "spatial", "evaluation")
_ABOUT: ContextVar[dict[str, str]] = ContextVar("about", default={})  # noqa: B039  never changed in place


@contextmanager
def about(**ids: str | None) -> Iterator[None]:
    """Lines of the block carry these: run, unit, stage."""
    token = _ABOUT.set(_ABOUT.get() | {name: value for name, value in ids.items() if value is not None})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class JsonLines(logging.Formatter):
    """One object a line: time (UTC, ISO 8601), level, logger, message, what the block is about, and a trace."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ABOUT.get(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Text(logging.Formatter):
    """Time, level, logger, "[run=... unit=... stage=...]", message; traces below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s:%(about)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name}={value}" for name, value in _ABOUT.get().items())
        record.about = f" [{ids}]" if ids else ""
        return super().format(record)


def json_to_stderr() -> None:
    """The lines of our rooms in this process, once."""
    for room in ROOMS:
        logger = logging.getLogger(room)
        if any(isinstance(handler.formatter, JsonLines) for handler in logger.handlers):
            continue
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
