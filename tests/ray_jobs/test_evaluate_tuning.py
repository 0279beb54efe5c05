"""An editor that is tuned: what it will be asked is said first, its models are shared, and what they cost is told."""

from __future__ import annotations

import json

import pytest

from ray_jobs import evaluate_page
from ray_jobs.config import ConfigError
from ray_jobs.evaluate import routes
from ray_jobs.evaluate_sets import Frozen, frozen
from ray_jobs.evaluate_table import table
from ray_jobs.evaluate_tuning import tuning_plans
from shards.run import Run
from shards.storage import open_storage
from tests.datasets import pair, publish
from tests.evaluations_by_hand import hand_made_evaluation
from tests.ray_jobs.test_evaluate import BOUNDS, configured
from tests.trainer.test_step import STARTER

TUNED = {
    "kind": "diffusionclip", "models": ["a/b"], "clip": "local-dir:clip", "dataset": "d",
    "transformations": ["recolor:red"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["recolour:red"], "transformations"),
        ([], "transformations"),
        (["side:left", "side:left"], "transformations: side:left is named twice"),
        (
            [f"recolor:{'a' * n}" for n in range(1, 18)],
            "transformations: at most 16, since a model is tuned for each: leave out 1 of these 17",
        ),
    ],
)
def test_transformations_that_cannot_be_are_named(tmp_path, named, said):
    with pytest.raises(ConfigError, match=said):
        configured(tmp_path, editors={"ours": TUNED | {"transformations": named}})


def tuned_editor(folder, **changes) -> dict:
    """On the starter models, to be tuned on pairs that are published beside the run."""
    own = {
        "models": [str(STARTER)],
        "clip": f"local-dir:{STARTER.parent / 'clip'}",
        "dataset": str(folder / "data"),
    }
    return TUNED | own | changes


def test_what_is_to_be_tuned_is_said_before_and_models_are_shared_by_sets(tmp_path):
    said = [
        "make the mug red",
        "move the mug 25% to the right",
        "move the mug 10% up",
        "move the mug to the right",
    ]
    rows = [pair(n, edit_prompt=text, language="en") for n, text in enumerate(said)]
    rows[2]["edited_prompt"] = rows[2]["original_prompt"]  # which tells nothing
    publish(open_storage(str(tmp_path / "data")), {"test": rows})
    asked = {"dataset": str(tmp_path / "data"), "judged": False, "words": "written"}
    about = tuned_editor(tmp_path, transformations=["recolor:red", "side:left"], numeric=2)
    config = configured(
        tmp_path, sets={"one": asked, "two": asked | {"kinds": ["move"]}}, editors=BOUNDS | {"tuned": about}
    )
    run = Run.create_or_open(open_storage(config.out), {})
    sets = [frozen(run, name, one, config) for name, one in config.sets.items()]
    plans = tuning_plans(run, config, sets)
    assert [(plan.set, plan.editor) for plan in plans] == [("one", "tuned"), ("two", "tuned")]
    assert plans[0].said().splitlines() == [
        "editor tuned, set one: 1 of 4 edits by 2 transformations, 1 by their captions; 2 cannot be said to it",
        "  recolor:red: only 1 edit; 12 were asked for",
        "  side:left: no edit; 12 were asked for",
        "  numbers: only 1 edit; 2 were asked for: of 2 edits that ask for a number no more have captions that differ",
    ]

    def told(**changes) -> dict:
        made = configured(
            tmp_path, sets=config.model_dump(mode="json")["sets"], editors={"tuned": about | changes}
        )
        plan = routes(made, sets, tuning_plans(run, made, sets))
        return {
            route.name: (route.stages[0].settings["made"], route.stages[0].settings["editor"])
            for route in plan
        }

    first = told()
    assert first["one_tuned"][1]["numeric_edits"] == [rows[1]["pair_id"]]
    folder = first["one_tuned"][1]["tuned"]
    assert folder == first["two_tuned"][1]["tuned"] and folder.startswith(f"{run.storage.uri}/tuned-tuned-")
    fewer, longer = told(numeric=1, transformations=["recolor:red"]), told(rounds=9)
    assert fewer["one_tuned"][0] != first["one_tuned"][0], "other edits are asked"
    assert fewer["one_tuned"][1]["tuned"] == folder, "of the same models"
    assert longer["one_tuned"][1]["tuned"] != folder


def test_what_tuning_cost_stands_in_the_table_and_on_the_page(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=5)
    config = configured(tmp_path, editors={"first": {"kind": "oracle"}, "second": {"kind": "identity"}})
    one = Frozen(**json.loads(run.storage.read("sets/spatial-00000000.json")))
    folders = {route: stages["edits"] for route, stages in run.current().items()}
    report = evaluate_page.write(run, config, [one], folders)
    page = run.storage.read("report.html").decode()
    assert "What tuning costs" not in page and "to tune for" not in table(report)
    cost = {"tunings": 3, "edits": 40, "seconds": 71.25, "edit": 1.5, "amortised": 6.84}
    report["sets"]["spatial"]["editors"]["second"]["tuning"] = {"transformations": cost}
    page = evaluate_page.render(report, {"spatial": []}, {"spatial": None})
    assert (
        "What tuning costs" in page
        and '<td class="n">71.2</td>' in page
        and '<td class="n">6.84</td>' in page
    )
    assert (
        "takes 71.2 s, an edit then 1.50 s, and with its share of tuning 6.84 s (40 edits, 3 tunings)"
        in table(report)
    )
