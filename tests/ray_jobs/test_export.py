"""`export` from the command line: one line for what it did, one for what is wrong."""

from __future__ import annotations

import json

import pytest

from ray_jobs.__main__ import main
from shards.storage import open_storage
from tests.datasets_by_hand import lay


@pytest.fixture
def folder(tmp_path) -> str:
    lay(open_storage(str(tmp_path / "demo")))
    return str(tmp_path / "demo")


def test_it_says_what_it_wrote(folder, tmp_path, capsys):
    out = tmp_path / "tars"
    arguments = ["export", "--dataset", folder, "--to", str(out), "--format", "webdataset"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert said.startswith("demo 1.0.0: 3 tars, ") and "train 12, validation 3, test 2" in said
    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "index.json", "test-00000.tar", "train-00000.tar", "validation-00000.tar",
    ]  # fmt: skip
    assert json.loads((out / "index.json").read_text())["counts"] == {"train": 12, "validation": 3, "test": 2}
    assert main(arguments) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"--dataset": "nowhere"}, "holds no dataset"),
        ({"--shard-mb": "0"}, "--shard-mb is 0"),
        ({"--to": "{folder}"}, "choose another place"),
        ({"--to": "ftp://x/y"}, "cannot store at"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(change, told, folder, tmp_path, capsys):
    values = {"--dataset": folder, "--to": str(tmp_path / "tars")} | change
    arguments = [part.format(folder=folder) for pair in values.items() for part in pair]
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and told in error and error.count("\n") == 1


def test_an_unknown_format_is_refused_by_name(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", "--dataset", folder, "--to", str(tmp_path), "--format", "zip"])
    assert ended.value.code == 2
    assert "webdataset" in capsys.readouterr().err


def test_a_damaged_data_file_is_exit_1(folder, tmp_path, capsys):
    open_storage(folder).write("v1.0.0/data/blender/train-00000-of-00001.parquet", b"PAR1")
    assert main(["export", "--dataset", folder, "--to", str(tmp_path / "tars")]) == 1
    assert "train-00000-of-00001.parquet" in capsys.readouterr().err
