"""What every configuration shares: strict models, YAML, overrides, and errors of one line that name the key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

Share = Annotated[float, Field(ge=0, le=1)]
M = TypeVar("M", bound=BaseModel)


class ConfigError(ValueError):
    """The configuration cannot be used; the message is one line that names the key and what is allowed."""


_WITH_SECRET = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#\s]*@")


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _no_secrets(cls, value: Any) -> Any:
        """What is here is written into run folders, and shown by reports."""
        for text in _texts(value):
            if _WITH_SECRET.match(text):
                raise ValueError(
                    "an address must not hold a name or a key before its host: give them by the environment, a role, "
                    "or the tool's own files"
                )
        return value


def _texts(value: Any) -> Iterable[str]:
    """Strings in a field's value; other models look after their own."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for inner in value.values() for text in _texts(inner))
    elif isinstance(value, (list, tuple)):
        yield from (text for inner in value for text in _texts(inner))


def _weights(value: Any) -> Any:
    """A list of keys stands for equal weights."""
    return dict.fromkeys(value, 1.0) if isinstance(value, list) else value


def _some_weight(weights: dict[str, float]) -> dict[str, float]:
    if sum(weights.values()) <= 0:
        raise ValueError("needs at least one key with a weight above 0")
    return weights


def known(allowed: tuple[str, ...]) -> AfterValidator:
    def check(weights: dict[str, float]) -> dict[str, float]:
        for key in weights:
            if key not in allowed:
                raise ValueError(f"{key!r} is not one of {', '.join(allowed)}")
        return weights

    return AfterValidator(check)


Weights = Annotated[
    dict[str, Annotated[float, Field(ge=0)]], BeforeValidator(_weights), AfterValidator(_some_weight)
]


def overridden(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The values with "a.b=c" applied, in place. Raises ConfigError."""
    for override in overrides:
        _override(values, override)
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {one_line(error)}") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{where}: not valid YAML: {' '.join(problem.split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be keys with values, for example 'seed: 7'")
    return values


def check(model: type[M], values: Mapping[str, Any], source: str) -> M:
    """The validated model. Raises ConfigError; source: the file that the message names."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ConfigError(f"{source}: {_describe(model, found[0])}{more}") from None


def one_line(error: BaseException) -> str:
    """The message without line breaks; the type's name where there is no message."""
    return " ".join(str(error).split()) or type(error).__name__


def _override(values: dict[str, Any], override: str) -> None:
    """Sets one key in place. Raises ConfigError."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: must look like limits.failed_share=0.1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value") from None
    inner = values
    for depth, key in enumerate(keys[:-1], start=1):
        if inner.get(key) is None:
            inner[key] = {}
        if not isinstance(inner[key], dict):
            raise ConfigError(f"--set {override}: {'.'.join(keys[:depth])} holds a value, not keys")
        inner = inner[key]
    inner[keys[-1]] = value


def _describe(model: type[BaseModel], problem: ErrorDetails) -> str:
    """One line: the key, what is wrong, what was given."""
    location = [str(part) for part in problem["loc"] if not str(part).startswith("[")]
    key = ".".join(location) or "the file"
    match problem["type"]:
        case "extra_forbidden":
            allowed = _keys_at(model, location[:-1])
            close = difflib.get_close_matches(location[-1], allowed, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            return f"{key}: unknown key; {hint}allowed here: {', '.join(allowed)}"
        case "missing":
            return f"{key}: is missing"
        case "value_error":
            return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    text = problem["msg"].removeprefix("Input ")
    return f"{key}: {text}, not {problem['input']!r}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """The keys that the model under this location allows."""
    for part in location:
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field is not None else None
        model = inner or model  # a key of a mapping has no field: the mapping's model stays
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside "Model", "Model | None", "dict[str, Model]"."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, dict, Annotated):
        for inner in get_args(annotation):
            if (found := _model_in(inner)) is not None:
                return found
    return None
