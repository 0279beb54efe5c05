"""All that lies beside the Parquet files: the same bytes from any process, and not a word of the machine."""

from __future__ import annotations

import getpass
import hashlib
import io
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ray_jobs.card import around, balance
from ray_jobs.samples import for_sheet, pick, plain_font, sheet
from shards import tables
from shards.card import CardText
from shards.dataset import Dataset
from shards.statistics import Cell, Figures, count
from shards.storage import open_storage
from tests.datasets_by_hand import HOSTILE, lay, manifest, picture
from tests.pages import ROOT

ABOUT = CardText("Demo", licence="CC0-1.0", held_out=("blue mug",))
PROGRAM = """
import hashlib, sys
from ray_jobs.card import around
from shards.card import CardText
from shards.dataset import open_dataset
made = around(open_dataset(sys.argv[1]), CardText("Demo", licence="CC0-1.0", held_out=("blue mug",)))
print(*(f"{name}:{hashlib.sha256(data).hexdigest()}" for name, data in sorted(made.items())))
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return lay(open_storage(str(tmp_path_factory.mktemp("around") / "demo")))


@pytest.fixture(scope="module")
def made(dataset) -> dict[str, bytes]:
    return around(dataset, ABOUT)


@pytest.fixture(scope="module")
def figures(dataset) -> Figures:
    return count(dataset)


def test_another_process_at_another_place_makes_the_same_bytes(made, tmp_path):
    moved = lay(open_storage(str(tmp_path / "elsewhere" / "demo")))
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": str(ROOT),
        "LANG": "C",
        "TZ": "Asia/Tokyo",
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, moved.storage.uri], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        f"{name}:{hashlib.sha256(data).hexdigest()}" for name, data in sorted(made.items())
    ]


def test_no_place_host_or_user_is_told(tmp_path):
    root = open_storage(str(tmp_path / "demo"))
    told = {
        "out": "/data/runs/x",
        "in": ["s3://secret-bucket/y", "~/z"],
        "llm": {"url": "https://inner.host/v1"},
    }
    laid = lay(root)
    private = replace(laid.manifest, config=told, models={"clip": "local-dir:/data/clip", "sd": "org/name"})
    found = around(Dataset(laid.storage, private), ABOUT)
    places = [laid.storage.uri, str(tmp_path), str(ROOT), "/data", "secret-bucket", "~/z", "inner.host"]
    for name, data in found.items():
        assert [word for word in places if word.encode() in data] == [], name
    names = rf"\b({re.escape(socket.gethostname())}|{re.escape(getpass.getuser())})\b"
    text = found["README.md"].decode() + found["croissant.json"].decode()
    assert re.search(names, text) is None
    assert "org/name" in text and "s3://…" in text


def test_everything_that_the_card_shows_is_there(made):
    text = made["README.md"].decode()
    shown = {f"assets/{part.partition(')')[0]}" for part in text.split("](assets/")[1:]}
    assert shown == {name for name in made if name.startswith("assets/")}
    assert len(shown) == 7
    assert sum(map(len, made.values())) < 700_000


def test_first_pair_of_each_kind_and_language_is_picked(dataset, figures):
    found = pick(dataset, figures)
    assert [(sample.kind, sample.language) for sample in found] == [
        ("move", "en"), ("move", "vi"), ("add", "en"), ("add", "vi"), ("place", "en"), ("place", "vi"),
        ("recolor", "en"), ("recolor", "vi"),
    ]  # fmt: skip
    assert [sample.row for sample in found] == [0, 4, 2, 6, 1, 5, 3, 7]
    assert {sample.file for sample in found} == {"data/blender/train-00000-of-00001.parquet"}
    shown = for_sheet(found)
    assert [(sample.kind, sample.language) for sample in shown] == [
        ("move", "en"), ("add", "vi"), ("place", "en"), ("recolor", "vi"),
    ]  # fmt: skip
    assert for_sheet(found, most=2) == shown[:2]


def test_no_more_of_the_indices_is_read_than_needed(dataset, figures, tmp_path):
    copy = lay(open_storage(str(tmp_path / "demo")))
    copy.storage.write("index/test.parquet", b"damaged")
    assert pick(copy, figures) == pick(dataset, figures)


def test_the_sheet_shows_those_pictures_and_reads_those_row_groups(dataset, figures, monkeypatch):
    read = []
    whole = tables.read_row_group
    monkeypatch.setattr(
        "ray_jobs.samples.read_row_group", lambda *where: read.append(where[1:]) or whole(*where)
    )
    chosen = for_sheet(pick(dataset, figures))
    drawn = Image.open(io.BytesIO(sheet(dataset, chosen, side=96)))
    assert [(file, group, rows) for file, group, rows, _ in read] == [
        (sample.file, sample.row_group, [sample.row]) for sample in chosen
    ]
    assert drawn.format == "JPEG"
    first = np.asarray(drawn.convert("RGB"))[24 : 24 + 64, 24 : 24 + 96]
    expected = np.asarray(Image.fromarray(picture(0)).resize((96, 64), Image.Resampling.LANCZOS))
    assert np.abs(first.astype(int) - expected).mean() < 4
    with pytest.raises(ValueError, match="at least one pair"):
        sheet(dataset, [])


def test_words_of_any_length_stay_on_the_sheet(dataset, figures):
    (first, *_) = pick(dataset, figures)
    odd = [replace(first, sentence=text) for text in (*HOSTILE, "x" * 5000, "", "quả bóng " * 100)]
    assert Image.open(io.BytesIO(sheet(dataset, odd, side=96))).width == 2 * (2 * 96 + 2) + 3 * 24


def test_the_font_has_every_vietnamese_letter():
    font = plain_font(20)
    missing = bytes(font.getmask("\uffff"))
    letters = "ăâđêôơưáàảãạắằẳẵặấầẩẫậéèẻẽẹếềểễệíìỉĩịóòỏõọốồổỗộớờởỡợúùủũụứừửữựýỳỷỹỵ"
    assert [letter for letter in letters + letters.upper() if bytes(font.getmask(letter)) == missing] == []


def test_balance_is_1_where_all_of_the_vocabulary_is_equally_frequent(figures):
    assert balance(figures)["languages"] == pytest.approx(0.998, abs=0.002)
    assert 0 < balance(figures)["kinds"] < 0.6  # four of more than twenty
    one = replace(
        figures, cells=(Cell("train", "blender", "move", "en", 9),), directions={}, nouns={"new thing": 3}
    )
    assert balance(one)["languages"] == 0 and balance(one)["objects"] == 0
    assert "directions" not in balance(one)


def test_a_dataset_without_pairs_has_a_card_too(tmp_path):
    storage = open_storage(str(tmp_path))
    made = around(Dataset(storage, manifest([])), ABOUT)
    assert set(made) == {"README.md", "croissant.json", "assets/survival.png"}
