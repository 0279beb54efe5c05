"""Sets of edits, chosen once and frozen: every editor is asked the same, and a change of one byte shows.

A set is a Parquet file whose rows are a published dataset's, `edit_prompt` being what editors are told, in groups that
a worker takes one at a time. Its digest is `trials.digest`'s: of names, words and pictures.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence

from evaluation.trials import COLUMNS, Case, case_of
from shards.schema import PAIRS
from shards.storage import Storage
from shards.tables import from_rows, opened, table_writer

SET = PAIRS.empty_table().select(COLUMNS).schema


def written(chosen: Sequence[Case], group: int) -> bytes:
    """The set's file. group: edits of a row group."""
    rows = [{**{name: case.row.get(name) for name in COLUMNS}, "edit_prompt": case.text} for case in chosen]
    buffer = io.BytesIO()
    with table_writer(buffer, SET) as writer:
        for start in range(0, len(rows), group):
            writer.write_table(from_rows(rows[start : start + group], SET), row_group_size=group)
    return buffer.getvalue()


def of_group(storage: Storage, key: str, group: int) -> list[Case]:
    """The edits of one row group, those too whose pictures are broken. Raises StorageError."""
    with opened(storage, key) as file:
        return [case_of(row, broken=True) for row in file.read_row_group(group).to_pylist()]


def groups(storage: Storage, key: str) -> int:
    """How many row groups the set has."""
    with opened(storage, key) as file:
        return int(file.num_row_groups)


def every(storage: Storage, key: str) -> list[Case]:
    """The edits of all row groups, as `of_group`."""
    with opened(storage, key) as file:
        return [case_of(row, broken=True) for row in file.read().to_pylist()]


def of_each(chosen: Sequence[Case], most: int | None) -> list[Case]:
    """At most so many of each kind, the first ones."""
    taken: dict[str, int] = defaultdict(int)
    found = []
    for case in chosen:
        taken[case.kind] += 1
        if most is None or taken[case.kind] <= most:
            found.append(case)
    return found
