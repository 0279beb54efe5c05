"""The tables of columns, reasons and configuration keys say what the code says."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from filters import geometry, profiles
from filters.weights import ClipWeights
from ray_jobs import report_page
from ray_jobs.config import Config, Pool, load
from ray_jobs.config_publish import Publish
from ray_jobs.finetune_llm import FinetuneConfig
from ray_jobs.recipes import routes
from shards.columns import columns, index_columns, type_name
from shards.dataset import DatasetFile, Manifest
from shards.schema import CAPTIONS, EDIT_VERDICTS, EDITS, INDEX, PAIRS, PUBLISHED, SCORES, VERDICTS
from shards.webdataset import Export, Tar
from spatial.instruction import KINDS
from tests.pages import FORMAT, OPERATIONS, PAGES, ROOT, names, section, table


@pytest.mark.parametrize(
    ("title", "schema"),
    [
        ("Pairs", PAIRS), ("Scores", SCORES), ("Verdicts", VERDICTS),
        ("Captions", CAPTIONS), ("Edits", EDITS), ("Verdicts on edits", EDIT_VERDICTS),
    ],
)  # fmt: skip
def test_columns_are_those_of_the_schema(title, schema):
    documented = [(names(row[0])[0], row[1]) for row in table(section(FORMAT, title))]
    assert documented == [(field.name, type_name(field.type)) for field in schema]
    assert all(row[2] for row in table(section(FORMAT, title)))


def test_columns_of_published_datasets_are_those_of_the_schema():
    extra = [(column.name, column.type) for column in columns(PUBLISHED) if column.name not in PAIRS.names]
    text = section(FORMAT, "Data files")
    assert [(names(line[0])[0], line[1]) for line in table(text)] == extra
    left_out = re.findall(r"`(\w+)`", text.split("without")[1].split("for all")[0])
    assert left_out == [name for name in PAIRS.names if name not in PUBLISHED.names]
    text = section(FORMAT, "Indices")
    listed = [tuple(names(line[0])) + tuple(line[1:]) for line in table(text)]
    assert listed == [(column.name, column.type, column.meaning) for column in index_columns()]
    left_out = re.findall(r"`(\w+)`", text.split("without")[1].split("of objects")[0])
    assert left_out == [name for name in PUBLISHED.names if name not in INDEX.names] + ["mask"]
    seen = {field.name for field in INDEX.field("objects_before").type.value_type}
    assert {field.name for field in PUBLISHED.field("objects_before").type.value_type} - seen == {"mask"}


def test_keys_of_the_manifest_are_those_that_are_written():
    lines = {names(line[0])[0]: line[1] for line in table(section(FORMAT, "MANIFEST.json"))}
    assert list(lines) == list(json.loads(Manifest("demo", "1.0.0", (), {}).to_bytes()))
    assert set(names(lines["files"])) == {field.name for field in fields(DatasetFile)}
    text = section(FORMAT, "Tar files")
    assert {field.name for field in fields(Tar)} <= set(names(text))
    assert "manifest_sha256" in {field.name for field in fields(Export)} & set(names(text))


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


def rules_of_the_judge(judge: Callable[..., Any]) -> list[tuple[str, str]]:
    """(reason, score) of each rule in the judge's `rules`, in order."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(judge)))
    rules = next(node for node in ast.walk(tree) if isinstance(node, ast.Assign) and _target(node) == "rules")
    assert isinstance(rules.value, ast.Tuple)
    found = []
    for rule in rules.value.elts:
        reason = rule.elts[0]
        scores = [n.attr for n in ast.walk(rule) if isinstance(n, ast.Attribute) and _owner(n) == "scores"]
        found.append((ast.literal_eval(reason), scores[0]))
    return found


def _target(node: ast.Assign) -> str:
    return getattr(node.targets[0], "id", "")


def _owner(node: ast.Attribute) -> str:
    return getattr(node.value, "id", "")


@pytest.mark.parametrize(
    ("title", "judge"),
    [("Broken rules", geometry.decide), ("Broken rules of CLIP", profiles.ClipThresholds.first_below)],
)
def test_broken_rules_are_those_of_the_judge_in_its_order(title, judge):
    rows = table(section(FORMAT, title))
    documented = [(names(row[0])[0], score) for row in rows for score in names(row[2])]
    assert documented == rules_of_the_judge(judge)


def test_kinds_that_geometry_decides_and_limits_of_clip_are_those_of_the_code():
    text = section(FORMAT, "Broken rules of CLIP")
    kinds = names(text.split("decides alone:")[1].split(". A null")[0])
    assert kinds == [kind for kind in KINDS if kind in profiles.GEOMETRIC_KINDS]
    limits = [names(row[3])[0] for row in table(text)]
    assert limits == list(profiles.ClipThresholds.model_fields)
    stated = section(OPERATIONS, "rejudge")
    for name, profile in profiles.BUILT_IN.items():
        assert f"`{name}`" in stated and f"{profile.default.image:.2f}" in stated


def test_reasons_that_the_report_explains_are_documented():
    text = section(FORMAT, "Broken rules") + section(FORMAT, "Rows without pictures")
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))
    clip = section(FORMAT, "Broken rules of CLIP")
    documented |= set(re.findall(r"^\| `([a-z_]+)` \|", clip, re.MULTILINE))
    documented |= set(re.findall(r"`([a-z_]+)` \(", clip))
    assert documented == set(report_page.REASONS)


def test_reasons_of_rows_without_pictures_are_raised_somewhere():
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("spatial", "renderers", "generators", "shards")
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
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def test_configuration_keys_and_defaults_are_those_of_the_code():
    documented = [(names(row[0])[0], row[1]) for row in table(section(OPERATIONS, "Configuration"))]
    assert documented == list(keys(Config))


def test_keys_of_publishing_and_defaults_are_those_of_the_code():
    documented = [
        (names(row[0])[0], row[1]) for row in table(section(PAGES["docs/publish.md"], "Configuration"))
    ]
    assert documented == list(keys(Publish))


def test_keys_of_the_language_models_training_and_defaults_are_those_of_the_code():
    options, found, rows = section(OPERATIONS, "finetune-llm").partition("| key |")
    assert "| option |" in options and found
    documented = [(names(row[0])[0], row[1]) for row in table(found + rows)]
    assert documented == list(keys(FinetuneConfig))


def clip_model(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder that is a CLIP model as far as the driver looks, with thresholds for these very weights."""
    folder.mkdir()
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"vision_cfg": {}, "text_cfg": {}}}')
    (folder / "model.safetensors").write_bytes(weights)
    identity = ClipWeights(f"local-dir:{folder}").identity()
    limits = profiles.ClipThresholds(image=0.5, text_before=0.1, text_after=0.1, direction=0.1)
    for name, file in (("own", "thresholds"), ("mild", "thresholds-mild")):
        profile = profiles.ClipProfile(name=name, models=(identity,), default=limits)
        profiles.write(folder / f"{file}.json", profile)
        limits = limits.model_copy(update={"image": 0.2})
    return folder


# Another valid value than the demo's, as YAML; "3" for all other keys.
OTHER_VALUES = {
    "out": "elsewhere", "routes.blender.kinds": "[move]", "routes.blender.languages": "[vi]",
    "routes.blender.image_size": "64", "routes.blender.objects.min": "1",
    "routes.blender.render.engine": "eevee", "routes.blender.render.device": "cpu",
    "routes.blender.render.denoise": "false", "routes.blender.recycle.memory_mb": "300",
    "routes.blender.stock.nouns": "[ball, cube]", "routes.blender.stock.colors": "[red]",
    "routes.blender.stock.materials": "[matte]", "routes.blender.stock.floors": "[grass]",
    "routes.blender.stock.never": "[mug red]", "routes.blender.view.pitch": "[20, 30]",
    "routes.blender.view.distance": "[3, 5]",
    **dict.fromkeys((f"routes.blender.view.{name}" for name in ("inner", "wall", "least_area")), "0.5"),
    "clip.batch": "3", "clip.preprocessing": "open_clip", "clip.device": "cpu", "clip.precision": "bf16",
    "filters.profile": "other", "filters.clip": "own",
    "pools.pairs.labels": "{disk: fast}", "limits.failed_share": "0.5",
    "routes.edits.captions.source": "manual", "routes.edits.captions.share": "0.5",
    "routes.edits.captions.stock.nouns": "[ball]", "routes.edits.captions.stock.colors": "[red]",
    "routes.edits.captions.stock.materials": "[matte]", "routes.edits.captions.stock.floors": "[grass]",
    "routes.edits.captions.stock.never": "[mug red]", "routes.edits.kinds": "[add]",
    "routes.edits.languages": "[vi]", "routes.edits.mend": "false",
    "llm.vllm.dtype": "float16", "llm.vllm.max_length": "512", "llm.vllm.memory_share": "0.5",
    "llm.endpoint.url": "https://other/v1", "llm.endpoint.key_env": "KEY",
    **dict.fromkeys(
        ("routes.edits.captions.column", "routes.edits.captions.license", "llm.vllm.model", "llm.vllm.revision",
         "llm.endpoint.model"), "other",
    ),
    "routes.p2p.model.device": "cpu", "routes.p2p.model.precision": "bf16", "routes.p2p.model.compiled": "true",
    "routes.p2p.model.revision": "other", "routes.p2p.pairs.sampler": "euler_ancestral",
    **dict.fromkeys((f"routes.p2p.pairs.{name}" for name in ("share", "cross")), "[0.4, 0.5]"),
    "routes.p2p.pairs.guidance": "[3, 4]", "routes.p2p.pairs.mode": "replace", "routes.p2p.pairs.blend": "0.5",
    "routes.p2p.budget.least_odds": "0.5", "routes.p2p.preview_at": "0.5", "routes.p2p.preview_slack": "0.5",
    **dict.fromkeys(
        (f"routes.p2p.floor.{name}" for name in ("image", "text_before", "text_after", "direction")), "0.5"
    ),
    "filters.p2p": "mild", "prices.currency": "EUR", "prices.nodes": "{llm: 3}",
    "llm.sampling.temperature": "0.5", "llm.sampling.top_p": "0.5", "llm.sampling.max_tokens": "99",
}  # fmt: skip
PHOTO_VALUES = {
    "kinds": "[move]", "languages": "[vi]", "image_size": "64", "mirror_share": "0.5", "inpainting.method": "ns",
    "inpainting.model": "other", "inpainting.revision": "other", "inpainting.device": "cuda",
    "inpainting.file": "other.onnx", "inpainting.sha256": "1" * 64, "source.licences": "[CC0-1.0]",
}  # fmt: skip


NO_PHOTOS = {
    "images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": [{"id": 1, "name": "cup"}],
}  # fmt: skip


def photos_route(folder: Path, key: str) -> str:
    """A route over no photos, with what this key needs beside it."""
    (folder / "instances.json").write_text(json.dumps(NO_PHOTOS))
    (folder / "images").mkdir()
    fill = "{}"
    if key.endswith(("inpainting.model", "inpainting.revision")):
        fill = "{method: diffusers, model: one}"
    elif key.endswith(("inpainting.file", "inpainting.sha256")):
        fill = "{method: lama, file: one.onnx, sha256: '" + "0" * 64 + "'}"
    source = f"{{kind: coco, annotations: [{folder}/instances.json], images: [{folder}/images]}}"
    return f"routes.photos={{units: 1, inpainting: {fill}, source: {source}}}"


def other_photos(folder: Path, key: str, value: str) -> list[str]:
    """Overrides that change this key."""
    name = key.removeprefix("routes.photos.")
    if name in ("source.images", "source.masks"):
        (folder / "elsewhere").mkdir()
        return [f"{key}=[{folder}/elsewhere]"]
    if name in ("source.annotations", "source.kind"):
        (folder / "photos.jsonl").write_text('{"file": "a.png", "objects": []}\n')
        (folder / "more.json").write_text(json.dumps(NO_PHOTOS | {"info": {}}))
        if name == "source.annotations":
            return [f"{key}=[{folder}/more.json]"]
        return [f"{key}=manual", f"routes.photos.source.annotations=[{folder}/photos.jsonl]"]
    return [
        f"{key}='{PHOTO_VALUES[name]}'"
        if name == "inpainting.sha256"
        else f"{key}={PHOTO_VALUES.get(name, value)}"
    ]


FILES = ("source", "uri", "column", "license", "share")  # keys of captions that are for captions from files


@pytest.mark.parametrize(
    ("key", "shapes"), [(names(row[0])[0], row[2]) for row in table(section(OPERATIONS, "Configuration"))]
)
def test_configuration_keys_shape_rows_as_documented(key, shapes, tmp_path):
    key = key.replace("<stage>", "pairs")
    value = OTHER_VALUES.get(key, "0.5" if key.startswith("filters.geometry.") else "3")
    if key == "routes.blender.assets":
        value = str(tmp_path / "catalogue.yaml")
        Path(value).write_text("assets: []\n")
    base = ["pools.pairs.size=2", f"clip.model=local-dir:{clip_model(tmp_path / 'clip')}"]
    base += ["routes.edits=null", "routes.p2p=null", "llm=null", "filters.p2p=paper"]
    place, changes = 0, [f"{key}={value}"]
    if key.startswith("routes.photos."):
        place = 1
        base, changes = [*base, photos_route(tmp_path, key)], other_photos(tmp_path, key, value)
    if key.startswith(("routes.p2p.", "filters.p2p")):
        place = 4
        model = tmp_path / "diffusion"
        model.mkdir()
        (model / "model_index.json").write_text("{}")
        revised = key.endswith(".revision")
        model_of = "org/name" if revised else str(model)
        floor = (
            ", floor: {image: 0.1, text_before: 0.1, text_after: 0.1, direction: 0.1}"
            if ".floor." in key
            else ""
        )
        looks = ", preview_at: 0.3" if key.endswith("preview_slack") else ""
        base += [
            "routes.edits={units: 1, captions: {source: starter}}", "filters.p2p=own",
            "llm={endpoint: {url: 'https://host/v1', model: m}}",
            f"routes.p2p={{model: {{model: {model_of}}}{floor}{looks}}}",
        ]  # fmt: skip
        if key == "routes.p2p.model.model":
            value = str(tmp_path / "other-model")
            (Path(value) / "unet").mkdir(parents=True)
            (Path(value) / "model_index.json").write_text("{}")
            (Path(value) / "unet" / "config.json").write_text("{}")
    if key.startswith(("routes.edits.", "llm.")):
        # After captions come the edits, whose folder hangs on theirs; they are mended last.
        place = 3 if key == "routes.edits.mend" else 2
        captions = tmp_path / "captions.jsonl"
        captions.write_text('{"text": "a red mug on grass"}\n')
        files = key.rsplit(".", 1)[-1] in FILES and key.startswith("routes.edits.captions.")
        source = f"{{source: open_images, uri: {captions}}}" if files else "{source: starter}"
        model = (
            "{endpoint: {url: 'https://host/v1', model: m}}" if "endpoint" in key else "{vllm: {model: m}}"
        )
        base += [f"routes.edits={{units: 1, captions: {source}}}", f"llm={model}"]
        if key in ("routes.edits.captions.uri", "llm.vllm.adapter"):
            value = str(tmp_path / "other-captions.jsonl") if "uri" in key else str(tmp_path / "adapter")
            Path(value).mkdir() if "adapter" in key else Path(value).write_text('{"text": "a tree"}\n')
            (tmp_path / "adapter").mkdir(exist_ok=True)
            (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    if ".view." in key:
        base.append("routes.blender.view={pitch: [10, 20], distance: [3, 4]}")
    if key == "clip.model":
        value = f"local-dir:{clip_model(tmp_path / 'other', b'other weights')}"
    if key == "clip.weights":
        base[1] = "clip.model=ViT-L-14/openai"
        value = str(tmp_path / "clip" / "model.safetensors")
    demo = ROOT / "configs" / "demo.yaml"
    if place != 1:
        changes = [f"{key}={value}"]
    plain, changed = (routes(load(demo, [*base, *more]))[place].folders for more in ([], changes))
    assert (changed != plain) == (shapes == "yes")
    if key.startswith(("filters.", "clip.")) and place == 0:
        assert changed["pairs"] == plain["pairs"]
    if key.startswith("filters.") and place == 0:
        assert changed["scores"] == plain["scores"]
