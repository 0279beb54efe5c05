"""What the documents say is so: snippets run, sentences mean what they stand for, commands and links exist."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml

from filters import geometry
from ray_jobs.__main__ import JOBS
from ray_jobs.config import RENDERED_KINDS, Config, Filters, check, load
from ray_jobs.config_evaluate import EvaluateConfig
from renderers.catalog import parse_catalog
from shards.images import encode, mask_to_rle
from shards.run import Run
from shards.schema import PAIRS, VERDICTS
from shards.storage import open_storage
from shards.tables import from_rows
from shards.units import Unit
from spatial.instruction import KINDS, LANGUAGES
from spatial.language import parse
from tests.pages import FORMAT, OPERATIONS, PAGES, README, ROOT, blocks, names, prose, section, slug, table

# --- a tiny run -------------------------------------------------------------------------------------------------

RUN_ELSEWHERE = ("README.md", "docs/consume.md")  # above all here, and in tests/test_consume.py
# (kind, language, made, verdict, reason), one unit a line.
UNITS = (
    (("move", "en", "accepted", None), ("move", "vi", "rejected", "wrong_place")),
    (("place", "vi", "accepted", None), ("add", "en", "unmade", "no_room")),
)
ACCEPTED = ["blender-0000000-0000000", "blender-0000001-0000002"]


def tiny_picture(shade: int) -> np.ndarray:
    return np.full((16, 16, 3), shade, np.uint8)


def tiny_row(
    unit: Unit, number: int, kind: str, language: str, made: bool, reason: str | None
) -> dict[str, Any]:
    about = {
        "pair_id": f"{unit.id}-{number:07d}",
        "unit_id": unit.id,
        "edit_kind": kind,
        "language": language,
    }
    if not made:
        return about | {"verdict": "rejected", "reason": reason}
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:10] = True
    thing = {"id": "ball-1", "name": "ball", "mask": mask_to_rle(mask), "licence": "Apache-2.0"}
    return about | {
        "original_image": encode(tiny_picture(10), name="before"),
        "edited_image": encode(tiny_picture(200), name="after"),
        "edit_prompt": f"{kind} it",
        "objects_before": [thing],
        "objects_after": [thing],
        "license": "CC0-1.0",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/demo in it: two units, one pair accepted in each, and an older folder of verdicts."""
    base = tmp_path_factory.mktemp("docs")
    run = Run.create_or_open(open_storage(str(base / "runs" / "demo")), {"seed": 7})
    for index, entries in enumerate(UNITS):
        unit = Unit("blender", index, len(entries))
        rows, verdicts = [], []
        for number, (kind, language, verdict, reason) in zip(unit.rows, entries):
            row = tiny_row(unit, number, kind, language, verdict != "unmade", reason)
            rows.append(row)
            said = "rejected" if verdict == "unmade" else verdict
            verdicts.append(
                {"pair_id": row["pair_id"], "verdict": said, "reason": reason, "profile": "default"}
            )
        run.commit("pairs-blender-aaaaaaaa", unit, from_rows(rows, PAIRS), {"made": len(rows)})
        run.commit("verdicts-blender-bbbbbbbb", unit, from_rows(verdicts, VERDICTS), {})
        older = [row | {"verdict": "accepted", "reason": None} for row in verdicts]
        run.commit("verdicts-blender-00000000", unit, from_rows(older, VERDICTS), {})
    run.set_current({"blender": {"pairs": "pairs-blender-aaaaaaaa", "verdicts": "verdicts-blender-bbbbbbbb"}})
    return base


def python(program: str, folder: Path) -> str:
    """What the program prints, run beside `runs/demo` by a fresh interpreter; fails the test if it does."""
    environment = {
        **os.environ, "HF_HOME": str(folder / "huggingface"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def reader(library: str) -> str:
    """The README's way to read with this library: its first block, and the one that imports the library."""
    first, *others = blocks(section(README, "Reading a run as it is"), "python")
    (block,) = [block for block in others if re.search(rf"^(import|from) {library}\b", block, re.MULTILINE)]
    assert len([line for line in block.splitlines() if line.strip()]) <= 7
    return first + block


# --- snippets ---------------------------------------------------------------------------------------------------


def test_reading_with_datasets_gives_the_accepted_pairs_with_pictures(folder):
    show = (
        "\nprint(json.dumps([[row['pair_id'], row['original_image'].size, row['edited_image'].getpixel((3, 3)),"
        " row['objects_after'][0]['name']] for row in accepted]))"
    )
    found = json.loads(python(reader("datasets") + show, folder).splitlines()[-1])
    assert found == [[pair, [16, 16], [200, 200, 200], "ball"] for pair in ACCEPTED]


def test_reading_with_duckdb_gives_the_accepted_pairs_in_vietnamese(folder):
    show = "\nprint(json.dumps([accepted.columns, accepted.select('pair_id').fetchall()]))"
    output = python(reader("duckdb") + show, folder).splitlines()
    columns, rows = json.loads(output[-1])
    assert rows == [[ACCEPTED[1]]]
    assert columns == [name for name in PAIRS.names if name not in ("verdict", "reason")]
    assert output[0] == "[('place', 'place it')]"


@pytest.mark.usefixtures("cluster")
def test_reading_with_ray_data_gives_the_accepted_pairs_with_pictures(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found: dict[str, Any] = {}
    exec(reader("ray"), found)
    size = len(encode(tiny_picture(200))["bytes"])
    rows = sorted(found["accepted"].take_all(), key=lambda row: row["pair_id"])
    assert [(row["pair_id"], len(row["edited_image"]["bytes"])) for row in rows] == [
        (pair, size) for pair in ACCEPTED
    ]


@pytest.mark.parametrize(
    "page", [p for p, text in PAGES.items() if blocks(text, "python") and p not in RUN_ELSEWHERE]
)
def test_python_of_the_other_pages_runs(page, folder):
    python("\n".join(blocks(PAGES[page], "python")), folder)


def test_the_format_page_decodes_a_mask(folder):
    (block,) = blocks(FORMAT, "python")
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    show = f"\nmask = decode({mask_to_rle(mask)!r})\nprint(mask.shape, mask.sum(), mask[1:3, 2:6].all())"
    assert python(block + show, folder).split() == ["(5,", "7)", "8", "True"]


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "sql")])
def test_sql_runs_in_a_run_folder(page, folder, monkeypatch):
    monkeypatch.chdir(folder / "runs" / "demo")
    for query in blocks(PAGES[page], "sql"):
        assert duckdb.sql(query).fetchall()


@pytest.mark.parametrize("page", PAGES)
def test_yaml_is_what_the_code_takes(page, tmp_path):
    for block in blocks(PAGES[page], "yaml"):
        values = yaml.safe_load(block)
        if "assets" in values:
            assert parse_catalog(block)
        elif "profile" in values:
            check(Filters, values, page)
        elif "sets" in values:
            check(EvaluateConfig, {"out": "x", "editors": {"one": {"kind": "identity"}}} | values, page)
        else:
            check(Config, values, page)


# --- words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "title"), [("README.md", "What it says"), ("docs/language.md", "The language of space")]
)
def test_sentences_in_tables_mean_the_kind_that_they_stand_for(page, title):
    rows = table(section(PAGES[page], title))
    assert len(rows) >= 10
    for kind, *sentences in rows:
        for language, sentence in zip(LANGUAGES, sentences, strict=True):
            assert parse(sentence, language).kind == kind, sentence


def test_readme_names_every_kind_that_scenes_can_show():
    text = section(README, "What it says")
    assert {kind for kind in KINDS if re.search(rf"\b{kind}\b", text)} >= set(RENDERED_KINDS)


# --- commands and links -----------------------------------------------------------------------------------------


def help_of(job: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"ray_jobs.{job.replace('-', '_')}").main(["--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_every_job_that_a_page_names_is_one_and_the_operations_page_names_all(capsys):
    named = {
        (page, job)
        for page, text in PAGES.items()
        for job in re.findall(r"python -m ray_jobs ([a-z][a-z-]*)", text)
    }
    assert {job for _, job in named} <= JOBS.keys()
    assert {job for page, job in named if page == "docs/operations.md"} == JOBS.keys()
    for job in JOBS:
        assert "usage: python -m ray_jobs" in help_of(job, capsys)


@pytest.mark.parametrize("job", JOBS)
def test_options_are_those_of_the_job(job, capsys):
    known = set(re.findall(r"(--[a-z-]+)", help_of(job, capsys))) - {"--help"}
    text = section(OPERATIONS, job)
    documented = {row[0].strip("`").split()[0] for row in table(text)} if "|" in text else set()
    assert documented == known


def test_options_in_command_lines_exist(capsys):
    for page, text in PAGES.items():
        for job, rest in re.findall(r"-m ray_jobs ([a-z][a-z-]*)([^`\n]*)", text):
            known = help_of(job, capsys)
            assert [o for o in re.findall(r" (--[a-z-]+)", rest) if o not in known] == [], f"{page}: {rest}"


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, text in PAGES.items():
        assert set(re.findall(r"`make ([a-z-]+)[ `]", text)) <= targets, page


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[page])):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        if not found.exists():
            broken.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.+)$", prose(found.read_text(encoding="utf-8")), re.MULTILINE)
            broken += [] if anchor in map(slug, headings) else [target]
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_files_that_pages_name_are_there(page):
    pattern = (
        r"`((?:spatial|shards|filters|renderers|ray_jobs|configs|docs|scripts|tests|requirements)/[\w./-]+)`"
    )
    missing = [name for name in re.findall(pattern, PAGES[page]) if not (ROOT / name).exists()]
    later = {"filters/clip.py"}  # named by the rules of the rooms, before they are built
    assert set(missing) - later == set()


def test_readme_names_every_room_that_holds_code():
    rooms = {
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if path.parent.name != "tests" and len(list(path.parent.rglob("*.py"))) > 1
    }
    linked = {names(row[0])[0].strip("/") for row in table(section(README, "The rooms"))}
    assert linked == rooms


def test_thresholds_in_the_readme_are_the_defaults():
    text = section(README, "How a pair is judged")
    limits = geometry.GeometryThresholds()
    stated = (
        f"at least {limits.visible_subject:.0%} of it; a new one {limits.visible_new:.0%}",
        f"at least {limits.visible_others:.0%} of it",
        f"within {limits.centre_error:.0%} of the width",
        f"within {limits.percent_error:g} point, {limits.metre_error * 100:g} cm, {limits.degree_error:g} degree, "
        f"or {limits.factor_error:.0%} of a factor",
        f"{limits.holds:.0%} of their points",
        f"at least {limits.change_inside:.1%} of the range",
        f"at most {limits.change_outside:.0%} of the range",
    )
    assert [line for line in stated if f"| {line} |" not in text] == []


def test_number_of_pairs_that_the_readme_promises_is_that_of_the_demo():
    blender = load(ROOT / "configs" / "demo.yaml").routes.blender
    assert blender is not None
    size, pairs = blender.image_size, blender.units * blender.unit_size
    assert f"judges {pairs} pairs at {size} px" in README
