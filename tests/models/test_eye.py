"""The reader's agreement with labels by eye counts what both name, and nothing twice."""

from __future__ import annotations

import json

import pytest

from models.starter.eye import Labels, add_to_card, agreement
from tests.models.test_prompts import sighting


def labels(tmp_path) -> Labels:
    rows = [
        {"prompt": "a red mug", "seed": 1, "asked": ["red mug"], "seen": ["red mug"]},
        {"prompt": "a blue cat", "seed": 2, "asked": ["blue cat"], "seen": ["blue cube"]},
        {"prompt": "two red balls", "seed": 3, "asked": ["red ball", "red ball"], "seen": ["red ball"]},
        {"prompt": "a pink car", "seed": 4, "asked": ["pink car"], "seen": [], "unclear": True},
    ]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"weights": "0", "guidance": 2.5, "pictures": rows}))
    return Labels.read(path)


def test_agreement_counts_verdicts_and_things(tmp_path):
    found = agreement(
        [
            [sighting("mug", "red", 5)],
            [sighting("cat", "blue", 5)],  # the reader takes the cube for the cat that was asked for
            [sighting("ball", "red", 5), sighting("ball", "red", 50)],
            [sighting("car", "pink", 5)],
        ],
        labels(tmp_path),
    )
    assert found["verdicts"] == pytest.approx(1 / 4)
    assert (found["right_by_eye"], found["right_by_reader"]) == (0.25, 1.0)
    assert found["things_found"] == pytest.approx(2 / 3)  # mug and ball, of mug, cube and ball
    assert found["things_confirmed"] == pytest.approx(2 / 4)  # the unclear picture's car is not counted
    assert found["unclear"] == 1


def test_card_has_the_newest_figures_once(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# The reader\n\nText.\n")
    figures = agreement([[]] * 4, labels(tmp_path))
    add_to_card(card, figures | {"verdicts": 0.5})
    add_to_card(card, figures | {"verdicts": 0.75})
    text = card.read_text()
    assert text.startswith("# The reader\n\nText.\n\n## By eye\n") and text.count("## By eye") == 1
    assert "75%" in text and "50%" not in text
