"""The page on the editor: its keys are those of the configuration."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel

from evaluation.benchmarks import READERS
from evaluation.results import RESULTS
from ray_jobs.config_evaluate import AnyEditor, EditSet, EvaluateConfig
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


def test_keys_of_an_evaluation_are_those_of_its_configuration():
    page = PAGES["docs/evaluate.md"]
    rows = table(section(page, "Configuration"))
    assert [names(row[0])[0] for row in rows] == list(EvaluateConfig.model_fields)
    assert set(EditSet.model_fields) <= set(names(next(row for row in rows if "`sets`" in row[0])[2]))
    folders = table("| `benchmark`" + section(page, "Sets").split("| `benchmark`")[1])
    assert [names(row[0])[0] for row in folders] == [*READERS]
    kinds = [name for row in table(section(page, "Editors")) for name in names(row[0])]
    assert sorted(kinds) == sorted(
        kind
        for model in get_args(get_args(AnyEditor)[0])
        for kind in get_args(model.model_fields["kind"].annotation)
    )


def test_columns_of_results_that_measure_are_documented():
    documented = {
        name for row in table(section(PAGES["docs/evaluate.md"], "Measures")) for name in names(row[0])
    }
    about = {
        "pair_id",
        "scene_id",
        "edit_kind",
        "language",
        "edit_set",
        "editor",
        "copy",
        "text",
        "edited",
        "message",
    }
    assert documented == set(RESULTS.names) - about


def test_words_of_a_set_are_those_that_there_are():
    documented = [names(row[0])[0] for row in table(section(PAGES["docs/evaluate.md"], "Sets"))]
    assert sorted(documented) == sorted(get_args(EditSet.model_fields["words"].annotation))
