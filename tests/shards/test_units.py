from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.units import Unit, UnitReport, seed_for


@given(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.integers(0, 10**8), st.integers(1, 100))
def test_an_id_says_which_unit(route: str, index: int, size: int) -> None:
    unit = Unit(route, index, size)
    assert Unit.parse(unit.id, size) == unit


def test_ids_and_rows() -> None:
    assert Unit("p2p", 7, 32).id == "p2p-0000007"
    assert Unit("p2p", 7, 32).rows == range(224, 256)
    assert Unit("p2p", 6, 32).rows.stop == Unit("p2p", 7, 32).rows.start


@pytest.mark.parametrize("id", ["blender", "blender-7", "Blender-0000007", "blender-00000007", "a/b-0000007"])
def test_other_words_are_no_unit(id: str) -> None:
    with pytest.raises(ValueError):
        Unit.parse(id, 1)


@pytest.mark.parametrize("values", [("blender", -1, 1), ("blender", 0, 0), ("a/b", 0, 1), ("a-b", 0, 1)])
def test_impossible_units_are_refused(values: tuple[str, int, int]) -> None:
    with pytest.raises(ValueError):
        Unit(*values)


@given(st.integers(), st.text(), st.integers(0), st.text())
def test_seeds_fit_into_63_bits(run_seed: int, unit_id: str, row: int, purpose: str) -> None:
    assert 0 <= seed_for(run_seed, unit_id, row, purpose) < 2**63


def test_seeds_differ_in_every_part_and_not_between_processes() -> None:
    parts = [(1, "a-0000001", 0, "x"), (2, "a-0000001", 0, "x"), (1, "a-0000002", 0, "x")]
    parts += [(1, "a-0000001", 1, "x"), (1, "a-0000001", 0, "y")]
    assert len({seed_for(*part) for part in parts}) == len(parts)
    code = "from shards.units import seed_for; print(seed_for(1, 'a-0000001', 0, 'x'))"
    root = Path(__file__).parents[2]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(other.stdout) == seed_for(*parts[0]) == 5155060083789184163


def test_a_report_survives_json() -> None:
    report = UnitReport("a-0000001", "pairs", 3, {"accepted": 2, "failed:x": 1}, 1.5, details={"cycles": 1.0})
    assert UnitReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
