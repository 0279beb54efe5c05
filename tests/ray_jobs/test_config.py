"""Whatever is wrong with a configuration is one line that names the key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.config import ConfigError, check, load, load_filters, read_yaml
from ray_jobs.config_evaluate import EvaluateConfig
from ray_jobs.config_publish import load_publish
from ray_jobs.config_train import TrainConfig
from ray_jobs.finetune_llm import FinetuneConfig

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = CONFIGS / "tiny.yaml"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_that_ships_is_valid(path):
    if path.stem == "finetune":
        assert check(FinetuneConfig, read_yaml(path), str(path)).model
        return
    if path.stem == "train":
        assert check(TrainConfig, read_yaml(path), str(path)).learn.samples
        return
    if path.stem == "evaluate":
        assert check(EvaluateConfig, read_yaml(path), str(path)).sets
        return
    if path.stem == "publish":
        assert load_publish(str(path)).card.title
        return
    routes = load(path).routes
    assert any((routes.blender, routes.edits, routes.photos))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("limits.failed_share=2", "limits.failed_share: should be less than or equal to 1, not 2"),
        ("routes.blender.unitsize=3", "routes.blender.unitsize: unknown key; did you mean 'unit_size'?"),
        ("pools.pairs.siz=1", "pools.pairs.siz: unknown key; did you mean 'size'?"),
        ("routes.edits={units: 1}", "routes.edits.captions: is missing"),
        ("routes.edits={units: 1, captions: {source: starter}}", "needs a language model: set llm.vllm or"),
        ("routes.edits={units: 1, captions: {source: laion}}", "uri: is missing: a path or s3://"),
        (
            "routes.edits={units: 1, captions: {source: starter, stock: {nouns: [dragon]}}}",
            "nouns: 'dragon' is not",
        ),
        ("llm={}", "llm: needs one of vllm and endpoint"),
        ("llm={vllm: {model: m, adaptor: x}}", "llm.vllm.adaptor: unknown key; did you mean 'adapter'?"),
        ("llm={endpoint: {url: 'host', model: m}}", "llm.endpoint.url"),
        (
            "llm={endpoint: {url: 'https://me:secret@host/v1', model: m}}",
            "llm.endpoint.url: an address must not hold a name or a key",
        ),
        (
            "routes.edits={units: 1, captions: {source: laion, uri: 's3://KEY:SECRET@bucket/c.parquet'}}",
            "routes.edits.captions.uri: an address must not hold",
        ),
        ("out=s3://KEY:SECRET@bucket/run", "out: an address must not hold"),
        (
            "routes.photos={units: 1, source: {kind: coco, annotations: [a.json], images: ['s3://K:S@b/photos']}}",
            "routes.photos.source.images: an address must not hold",
        ),
        ("pools.foo.size=1", "should be 'pairs', 'scores', 'verdicts', 'captions', 'edits' or 'unique'"),
        ("routes.blender.kinds=[move, fly]", "routes.blender.kinds: 'fly' is not one of move, place"),
        (
            "routes.blender.kinds={move: -1}",
            "routes.blender.kinds.move: should be greater than or equal to 0",
        ),
        ("routes.blender.kinds=[]", "at least one key with a weight above 0"),
        ("routes.blender.objects.min=9", "min 9 is above max 3"),
        ("pools.pairs.num_gpus=0.3", "does not divide one GPU"),
        ("pools.pairs={size: 2, max_size: 1}", "max_size 1 is below size 2"),
        ("clip={batch: 4}", "clip.model: is missing"),
        (
            "clip={model: ViT-L-14/openai, precision: int8}",
            "clip.precision: should be 'fp32', 'fp16' or 'bf16'",
        ),
        ("seed=-1", "seed: should be greater than or equal to 0"),
        ("limits.failed_share=.nan", "limits.failed_share: should be a finite number"),
        ("seed.x=1", "--set seed.x=1: seed holds a value, not keys"),
        ("seed", "must look like"),
        ("seed={", "not a YAML value"),
    ],
)
def test_wrong_value_is_one_line_naming_key_and_what_is_allowed(override, expected):
    with pytest.raises(ConfigError) as wrong:
        load(TINY, [override])
    assert expected in str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert "secret@" not in str(wrong.value).lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a: [1", "not valid YAML"), ("just words", "must be keys with values"),
     ("", "must be keys with values"), ("out: x", "routes: is missing"),
     ("\xff".encode("latin-1"), "cannot be read")],
)  # fmt: skip
def test_broken_file_is_one_line_naming_the_file(tmp_path, text, expected):
    path = tmp_path / "broken.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=r"broken\.yaml") as wrong:
        load(path)
    assert expected in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        load(tmp_path / "nowhere.yaml")


def test_overrides_are_yaml_values_and_the_last_one_counts():
    config = load(
        TINY,
        ["seed=1", "seed=2", "routes.blender.kinds={move: 3, add: 1}", "limits.failed_share=0.5"],
        out="elsewhere",
    )
    assert (config.seed, config.out, config.limits.failed_share) == (2, "elsewhere", 0.5)
    assert config.routes.blender.kinds == {"move": 3.0, "add": 1.0}


def test_profile_has_the_keys_of_filters_and_no_others(tmp_path):
    path = tmp_path / "strict.yaml"
    path.write_text("profile: strict")
    assert load_filters(path).profile == "strict"
    path.write_text("profile: strict\nseed: 3")
    with pytest.raises(ConfigError, match="seed: unknown key; allowed here: profile, geometry, clip"):
        load_filters(path)
