"""Rows of one version never change; those of the renderer are compared in `tests/renderers/test_stage.py`."""

from __future__ import annotations

import copy

import pytest

from filters.decide import Decide
from tests.golden import golden, stages


def test_verdicts_are_those_of_their_version(tmp_path):
    assert (problem := golden.difference("verdicts", Decide.version, stages.verdicts(tmp_path))) is None, (
        problem
    )


def test_changed_rows_say_where_they_changed_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(golden, "HERE", tmp_path)
    rows = [{"pair_id": "a", "place": [1.0, 2.0]}, {"pair_id": "b", "place": None}]
    assert "has no rows in the repository: run `python -m tests.golden.make`" in str(
        golden.difference("pairs", 1, rows)
    )
    golden.path("pairs", 1).write_text('[{"pair_id": "a", "place": [1.0, 2.0001]}, {"pair_id": "b"}]')
    assert golden.difference("pairs", 1, rows) is None
    for change, place in (
        (lambda rows: rows[0]["place"].reverse(), r"rows[0].place[0]: 1.0 then, 2.0 now"),
        (lambda rows: rows[1].update(pair_id="c"), "rows[1].pair_id: 'b' then, 'c' now"),
        (lambda rows: rows.pop(), "rows: ["),
    ):
        changed = copy.deepcopy(rows)
        change(changed)
        problem = golden.difference("pairs", 1, changed)
        assert problem and place in problem and "raise `version` of the stage to 2" in problem


def test_a_version_that_stands_is_never_written_over(tmp_path, monkeypatch):
    from tests.golden import make

    monkeypatch.setattr(golden, "HERE", tmp_path)
    (tmp_path / "pairs-v1.json").write_text('[{"pair_id": "a"}]')
    with pytest.raises(SystemExit, match="raise `version` of the stage to 2"):
        make._write("pairs", 1, [{"pair_id": "b"}])
    assert "a" in (tmp_path / "pairs-v1.json").read_text()
    make._write("pairs", 2, [{"pair_id": "b"}])
    assert [file.name for file in tmp_path.iterdir()] == ["pairs-v2.json"]
