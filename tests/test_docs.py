"""What the documents say is so: their snippets run, their tables agree with the code, their links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from filters import geometry
from ray_jobs import report_page
from ray_jobs.__main__ import JOBS
from ray_jobs.config import RENDERED_KINDS, Config, Filters, Pool, check, load
from ray_jobs.recipes import routes
from renderers.catalog import parse_catalog
from shards.features import IMAGE
from shards.images import encode, mask_to_rle
from shards.run import Run
from shards.schema import PAIRS, VERDICTS
from shards.storage import open_storage
from shards.tables import from_rows
from shards.units import Unit
from spatial.instruction import KINDS, LANGUAGES
from spatial.language import parse

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
README, FORMAT, OPERATIONS = (PAGES[name] for name in ("README.md", "docs/format.md", "docs/operations.md"))


# --- reading Markdown -------------------------------------------------------------------------------------------


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def section(text: str, title: str) -> str:
    """What stands under the heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text + "\n", re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[1]


def table(text: str) -> list[list[str]]:
    """The cells of the first table below its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    end = next((i for i, line in enumerate(lines) if i > 1 and set(line) <= set("|-: ")), len(lines) + 1)
    return rows[2 : end - 1]


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def prose(text: str) -> str:
    """The text without fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


# --- a tiny run -------------------------------------------------------------------------------------------------

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
        "RAY_ADDRESS": "local", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def reader(library: str) -> str:
    """The README's way to read with this library: its first block, and the one that imports the library."""
    first, *others = blocks(section(README, "Reading it"), "python")
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


def test_reading_with_ray_data_gives_the_accepted_pairs_with_pictures(folder):
    show = (
        "\nprint(json.dumps(sorted([row['pair_id'], len(row['edited_image']['bytes'])]"
        " for row in accepted.iter_rows())))"
    )
    size = len(encode(tiny_picture(200))["bytes"])
    assert json.loads(python(reader("ray") + show, folder).splitlines()[-1]) == [
        [pair, size] for pair in ACCEPTED
    ]


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "python")])
def test_python_of_the_other_pages_runs(page, folder):
    if page == "README.md":
        pytest.skip("its readers have tests of their own")
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


# --- tables against the code ------------------------------------------------------------------------------------


def type_name(kind: pa.DataType) -> str:
    if kind == IMAGE:
        return "image"
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    return "struct" if pa.types.is_struct(kind) else str(kind)


@pytest.mark.parametrize(("title", "schema"), [("Pairs", PAIRS), ("Verdicts", VERDICTS)])
def test_columns_are_those_of_the_schema(title, schema):
    documented = [(names(row[0])[0], row[1]) for row in table(section(FORMAT, title))]
    assert documented == [(field.name, type_name(field.type)) for field in schema]
    assert all(row[2] for row in table(section(FORMAT, title)))


@pytest.mark.parametrize(
    "columns",
    [
        ("instructions",), ("operations",), ("objects_before", "objects_after"),
        ("camera_before", "camera_after"), ("scores",), ("hashes",), ("sampler",), ("provenance",),
    ],
    ids=lambda columns: columns[0],
)  # fmt: skip
def test_fields_of_nested_columns_are_those_of_the_schema(columns):
    documented = [
        names(row[0])[0] for row in table(section(FORMAT, " and ".join(f"`{name}`" for name in columns)))
    ]
    for column in columns:
        kind = PAIRS.field(column).type
        struct = kind.value_type if pa.types.is_list(kind) else kind
        assert documented == [field.name for field in struct]


def rules_of_the_judge() -> list[tuple[str, str]]:
    """(reason, score) of each rule in `decide`, in order."""
    tree = ast.parse(inspect.getsource(geometry.decide))
    rules = next(node for node in ast.walk(tree) if isinstance(node, ast.Assign) and _target(node) == "rules")
    assert isinstance(rules.value, ast.Tuple)
    found = []
    for rule in rules.value.elts:
        reason, broken = rule.elts
        scores = [n.attr for n in ast.walk(broken) if isinstance(n, ast.Attribute) and _owner(n) == "scores"]
        found.append((ast.literal_eval(reason), scores[0]))
    return found


def _target(node: ast.Assign) -> str:
    return getattr(node.targets[0], "id", "")


def _owner(node: ast.Attribute) -> str:
    return getattr(node.value, "id", "")


def test_broken_rules_are_those_of_the_judge_in_its_order():
    rows = table(section(FORMAT, "Broken rules"))
    documented = [(names(row[0])[0], score) for row in rows for score in names(row[2])]
    assert documented == rules_of_the_judge()


def test_reasons_that_the_report_explains_are_documented():
    text = section(FORMAT, "Broken rules") + section(FORMAT, "Rows without pictures")
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))
    assert documented == set(report_page.REASONS)


def test_reasons_of_rows_without_pictures_are_raised_somewhere():
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("spatial", "renderers", "shards")
        for path in (ROOT / room).rglob("*.py")
    )
    documented = re.findall(r"^\| `([a-z_]+)` \|", section(FORMAT, "Rows without pictures"), re.MULTILINE)
    assert documented
    assert [reason for reason in documented if f'"{reason}"' not in source] == []


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of the configuration with its default, as the page writes it."""
    for name, field in model.model_fields.items():
        inner = _model(field.annotation)
        if inner is Pool:
            yield from keys(Pool, f"{prefix}{name}.<stage>.")
        elif inner is not None:
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _default(field.get_default(call_default_factory=True))


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_model(inner) for inner in getattr(annotation, "__args__", ())]
    return next((model for model in found if model is not None), None)


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return ""
    if value is None:
        return "none"
    if isinstance(value, dict) and value and set(value.values()) == {1.0}:
        return "all"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def test_configuration_keys_and_defaults_are_those_of_the_code():
    documented = [(names(row[0])[0], row[1]) for row in table(section(OPERATIONS, "Configuration"))]
    assert documented == list(keys(Config))


# Another valid value than the demo's, as YAML; "3" for all other keys.
OTHER_VALUES = {
    "out": "elsewhere", "routes.blender.kinds": "[move]", "routes.blender.languages": "[vi]",
    "routes.blender.image_size": "64", "routes.blender.objects.min": "1",
    "routes.blender.render.engine": "eevee", "routes.blender.render.device": "cpu",
    "routes.blender.render.denoise": "false", "routes.blender.recycle.memory_mb": "300",
    "filters.profile": "other", "pools.pairs.labels": "{disk: fast}", "limits.failed_share": "0.5",
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "shapes"), [(names(row[0])[0], row[2]) for row in table(section(OPERATIONS, "Configuration"))]
)
def test_configuration_keys_shape_rows_as_documented(key, shapes, tmp_path):
    key = key.replace("<stage>", "pairs")
    value = OTHER_VALUES.get(key, "0.5" if key.startswith("filters.geometry.") else "3")
    if key == "routes.blender.assets":
        value = str(tmp_path / "catalogue.yaml")
        Path(value).write_text("assets: []\n")
    demo = ROOT / "configs" / "demo.yaml"
    plain, changed = (
        routes(load(demo, ["pools.pairs.size=2", *more]))[0].folders for more in ([], [f"{key}={value}"])
    )
    assert (changed != plain) == (shapes == "yes")
    if key.startswith("filters."):
        assert changed["pairs"] == plain["pairs"]


# --- commands and links -----------------------------------------------------------------------------------------


def help_of(job: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"ray_jobs.{job}").main(["--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_every_job_that_a_page_names_is_one_and_the_operations_page_names_all(capsys):
    named = {
        (page, job)
        for page, text in PAGES.items()
        for job in re.findall(r"python -m ray_jobs ([a-z_]+)", text)
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
        for job, rest in re.findall(r"-m ray_jobs ([a-z_]+)([^`\n]*)", text):
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
    later = {"generators/llm.py", "filters/clip.py"}  # named by the rules of the rooms, before they are built
    assert set(missing) - later == set()


def test_readme_names_every_room_that_holds_code():
    rooms = {
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if path.parent.name != "tests" and len(list(path.parent.glob("*.py"))) > 1
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
