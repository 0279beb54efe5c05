"""The page on the editor: its keys are those of the configuration."""

from __future__ import annotations

from pydantic import BaseModel

from ray_jobs.config_train import TrainConfig
from tests.pages import PAGES, names, section, table


def keys(model: type[BaseModel], before: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= keys(kind, f"{before}{name}.") if nested else {before + name}
    return found


def test_keys_are_those_of_the_configuration():
    rows = table(section(PAGES["docs/editor.md"], "Training"))
    assert {name for row in rows for name in names(row[0])} == keys(TrainConfig)
