"""The picture of edits shows what came, the first right and the first wrong of each kind."""

from __future__ import annotations

import io
import sys

import pytest
from PIL import Image

from scripts.edits_picture import chosen, main
from tests.evaluations_by_hand import hand_made_evaluation


def row(name: str, kind: str, outcome: str) -> dict:
    return {"pair_id": name, "edit_kind": kind, "outcome": outcome, "edited": {"bytes": b"", "path": ""}}


def test_of_each_kind_the_first_right_and_the_first_wrong_are_chosen():
    rows = [row("b", "move", "right"), row("a", "move", "right"), row("c", "move", "wrong"), row("d", "add", "failed"),
            row("e", "add", "wrong")]  # fmt: skip
    assert [one["pair_id"] for one in chosen(rows)] == ["e", "a", "c"]


def test_the_picture_is_made_of_an_evaluation(tmp_path, monkeypatch, capsys):
    hand_made_evaluation(tmp_path)
    out = tmp_path / "edits.png"
    arguments = ["edits_picture", "--evaluation", str(tmp_path / "run"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--editor", "first"])
    main()
    assert "1 edits" in capsys.readouterr().out
    assert Image.open(io.BytesIO(out.read_bytes())).width > 300
    monkeypatch.setattr(sys, "argv", [*arguments, "--editor", "third"])
    with pytest.raises(SystemExit, match="has no results of third, but of first, second"):
        main()
