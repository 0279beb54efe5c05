"""Hugging Face's description of a schema, so that `datasets.load_dataset("parquet", ...)` decodes pictures.

It lies in the schema's metadata under "huggingface": features by column, pictures marked as such. Lists are
written as one-element JSON lists, the form that every release of `datasets` reads.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A picture: the encoded file, and the name that it might have."""


def with_features(schema: pa.Schema) -> pa.Schema:
    """The schema with the metadata that describes it."""
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> Any:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    # Arrow says "float" and "double" where everybody else counts bits.
    name = {"float": "float32", "double": "float64"}.get(str(kind), str(kind))
    return {"dtype": name, "_type": "Value"}
