"""The tables of columns, reasons and configuration keys say what the code says."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from filters import geometry
from ray_jobs import report_page
from ray_jobs.config import Config, Pool, load
from ray_jobs.recipes import routes
from shards.features import IMAGE
from shards.schema import PAIRS, VERDICTS
from tests.pages import FORMAT, OPERATIONS, ROOT, names, section, table


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
