"""Where votes are kept: SQLite in a file, or PostgreSQL by its URL.

Of a rater nothing is kept but a language, a number, a time and the hash of the secret in their link. A vote is put
once: the database itself refuses a second one of the same rater on the same question of the same task.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from evaluation.survey import TRUE, Entry, Task

_WAIT_S = 30.0  # for another writer

_tables = sa.MetaData()
RATERS = sa.Table(
    "raters", _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("secret", sa.String(64), nullable=False, unique=True),  # sha256
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("began", sa.DateTime, nullable=False),
)  # fmt: skip
VOTES = sa.Table(
    "votes", _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("rater", sa.ForeignKey("raters.id"), nullable=False),
    sa.Column("task", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),  # pair, rate, check
    sa.Column("question", sa.String(16), nullable=False),
    sa.Column("edit", sa.String(200), nullable=False),
    sa.Column("scene", sa.String(200), nullable=False),
    sa.Column("left", sa.String(64), nullable=False),  # the one that is rated, or the one on the left
    sa.Column("right", sa.String(64), nullable=True),
    sa.Column("value", sa.String(8), nullable=False),  # a, equal, b, or 1 to 5
    sa.Column("at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("rater", "task", "question"),
)  # fmt: skip


class VotesError(Exception):
    """The database cannot be used. One line, without its password."""


@dataclass(frozen=True, slots=True)
class Rater:
    id: int
    language: str
    seed: int


class Votes:
    """The tables of a survey, made where they are not there."""

    def __init__(self, url: str) -> None:
        """url: "sqlite:///votes.sqlite", "postgresql+psycopg://user@host/name". Raises VotesError."""
        try:
            self._engine = _engine(url)
            _tables.create_all(self._engine)
        except (SQLAlchemyError, ImportError) as error:
            raise VotesError(
                f"{_shown(url)} cannot be opened: {str(error).strip().splitlines()[0]}"
            ) from None

    def begin(self, language: str) -> str:
        """A new rater's secret, to be kept by them alone."""
        secret = secrets.token_urlsafe(18)
        row = {"secret": _hash(secret), "language": language, "seed": secrets.randbits(31), "began": _now()}
        with self._engine.begin() as connection:
            connection.execute(RATERS.insert().values(row))
        return secret

    def rater(self, secret: str) -> Rater | None:
        asked = sa.select(RATERS.c.id, RATERS.c.language, RATERS.c.seed).where(
            RATERS.c.secret == _hash(secret)
        )
        with self._engine.connect() as connection:
            row = connection.execute(asked).first()
        return Rater(row.id, row.language, row.seed) if row is not None else None

    def answered(self, rater: Rater) -> set[int]:
        """Numbers of tasks that are done."""
        asked = sa.select(VOTES.c.task).where(VOTES.c.rater == rater.id).distinct()
        with self._engine.connect() as connection:
            return set(connection.execute(asked).scalars())

    def put(self, rater: Rater, task: Task, entry: Entry, values: Mapping[str, str]) -> bool:
        """The answers to a task, all or none. values: by question. False where it was answered before: then that stays.
        Raises ValueError for an answer that the task does not have."""
        if any(value not in task.answers for value in values.values()):
            raise ValueError(f"the answers to task {task.number} are {', '.join(task.answers)}")
        right = task.shown[1] if len(task.shown) > 1 else None
        rows = [
            {"rater": rater.id, "task": task.number, "kind": task.kind, "question": question, "edit": entry.name,
             "scene": entry.scene, "left": task.shown[0], "right": right, "value": value, "at": _now()}
            for question, value in values.items()
        ]  # fmt: skip
        try:
            with self._engine.begin() as connection:
                connection.execute(VOTES.insert(), rows)
        except IntegrityError:
            return False
        return True

    def all(self) -> list[dict[str, Any]]:
        """Every vote, with its rater's language, in the order in which they came."""
        columns = [column for column in VOTES.columns if column.name != "id"]
        asked = (
            sa.select(*columns, RATERS.c.language)
            .join(RATERS, RATERS.c.id == VOTES.c.rater)
            .order_by(VOTES.c.rater, VOTES.c.at, VOTES.c.id)
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(asked).mappings()]

    def close(self) -> None:
        self._engine.dispose()


def right_of_check(vote: Mapping[str, Any]) -> bool:
    """Whether a vote of a check is the known answer."""
    return bool(vote["value"] == ("a" if vote["left"] == TRUE else "b"))


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(url, connect_args={"timeout": _WAIT_S})

    def prepared(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
        cursor.execute("PRAGMA synchronous=FULL")  # a vote that was taken is on the disk
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    sa.event.listen(engine, "connect", prepared)
    return engine


def _shown(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "the database"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
