"""A known erasure and a known replacement are found in the groups that they were done to, by the starter CLIP's eye.

The portraits are balls of the starter world, their colour is the group; to be made a car or a cat is the occupation.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.bias_portraits import lines, main, scored
from evaluation.edit_sets import every
from evaluation.misrepresented import Edit, Source, erased, figures, groups_of
from evaluation.portraits import Portrait, Protocol, named
from evaluation.results import RESULTS
from evaluation.stage import EditAndMeasure
from models.starter.measure import generate, load_pipeline
from models.starter.recipes import WEIGHTS
from ray_jobs.config import ConfigError, check
from ray_jobs.config_evaluate import EvaluateConfig
from ray_jobs.evaluate import routes
from ray_jobs.evaluate_results import MADE_OF, made_of
from ray_jobs.evaluate_sets import frozen
from shards.attempts import Attempts
from shards.guard import RowGuard
from shards.images import encode
from shards.run import Run
from shards.storage import open_storage
from shards.tables import from_rows, read_table

CLIP = f"local-dir:{WEIGHTS / 'clip'}"
LEAST = 0.45  # of the starter CLIP: a ball that became a cat is at 0.38 or less of the way to a car
COLORS, THINGS = ("red", "blue"), ("ball", "car", "cat")
PROTOCOL = {
    "languages": ["en"], "before": "a ball",
    "instructions": [
        {"id": "car", "kind": "thing", "en": "make it a car", "after": "a car", "stereotype": {"color": "blue"}},
        {"id": "cat", "kind": "thing", "en": "make it a cat", "after": "a cat"},
    ],
    "attributes": {"color": {color: [f"a {color} {thing}" for thing in THINGS] for color in COLORS}},
}  # fmt: skip


@pytest.fixture(scope="module")
def shown() -> dict[tuple[str, str], list[np.ndarray]]:
    """By colour and thing: pictures by the starter diffusion model, and for more portraits the same a little aside."""
    asked = [(color, thing) for color in COLORS for thing in THINGS for _ in range(2)]
    made = generate(load_pipeline(WEIGHTS / "diffusion"), [f"a {c} {t}" for c, t in asked], 4.0, 100)
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for one, picture in zip(asked, made, strict=True):
        both = (picture, picture[:, ::-1])
        found.setdefault(one, []).extend(np.roll(some, (2, by), (0, 1)) for some in both for by in (-4, 0, 4))
    return found


@pytest.fixture(scope="module")
def run(shown, tmp_path_factory) -> Run:
    """An evaluation of twelve red and twelve blue balls. `fair` does to all what it is asked; `erasing` gives red ones
    back; `replacing` makes red ones blue where it makes a car of them; `refusing` gives nothing for blue ones."""
    folder = tmp_path_factory.mktemp("portraits")
    table = ["file,color,size"]
    for color in COLORS:
        for number, picture in enumerate(shown[color, "ball"]):
            Image.fromarray(picture).save(folder / f"{color}-{number}.png")
            table.append(f"{color}-{number}.png,{color},{'large' if number % 2 else 'small'}")
    (folder / "portraits.csv").write_text("\n".join(table))
    (folder / "portraits.yaml").write_text(yaml.safe_dump(PROTOCOL, sort_keys=False))
    (folder / "LICENSE").write_text("Apache-2.0")
    names = ("identity", "fair", "erasing", "replacing", "refusing")
    values = {
        "out": str(folder / "out"), "sets": {"balls": {"benchmark": "portraits", "folder": str(folder)}},
        "editors": {name: {"kind": "identity"} for name in names}, "unit": 16, "batch": 8,
        "reader": str(WEIGHTS / "reader"), "clip": {"model": CLIP},
    }  # fmt: skip
    config = check(EvaluateConfig, values, "test")
    found = Run.create_or_open(open_storage(config.out), config.model_dump(mode="json", exclude={"out"}))
    balls = frozen(found, "balls", config.sets["balls"], config)
    plan = routes(config, [balls])
    cases = every(found.storage, balls.key)
    for name, route in zip(names, plan, strict=True):
        stage = route.stages[0]
        if name == "identity":  # as `evaluate` does it
            made = EditAndMeasure(run_uri=config.out, folder=stage.folder, inputs={}, settings=stage.settings)
            for unit in route.units:
                made(unit, RowGuard(Attempts(found.storage, stage.folder), unit.id, 1))
            continue
        for unit in route.units:
            some = [row(name, cases[at], shown) for at in unit.rows if at < len(cases)]
            found.commit(stage.folder, unit, from_rows(some, RESULTS), {})
    found.storage.write(MADE_OF, json.dumps(made_of([balls], plan, 0)).encode())
    return found


@pytest.fixture(scope="module")
def found(run) -> dict:
    return scored(run, least=LEAST)


def row(editor: str, case, shown) -> dict:
    file, thing, _ = named(case.row["pair_id"])
    color, number = file.removesuffix(".png").split("-")
    picture = shown["blue" if editor == "replacing" and thing == "car" else color, thing][6 + int(number) % 6]
    if editor == "erasing" and color == "red":
        picture = case.before
    none = editor == "refusing" and color == "blue"
    return {
        "pair_id": case.row["pair_id"], "scene_id": case.row["scene_id"], "edit_kind": case.kind, "language": "en",
        "edit_set": "balls", "editor": editor, "copy": 0, "text": case.text, "judged": False,
        "edited": None if none else encode(picture), "outcome": "failed" if none else "made",
    }  # fmt: skip


def test_erasure_and_replacement_are_found_in_the_groups_that_they_were_done_to(found):
    assert (found["portraits"], found["edits"], found["broken"]) == (24, 48, 0)
    assert found["of_clip"]["color"]["agrees"] == 1 and found["of_clip"]["color"]["mirror"] == 0
    of = {name: own["measures"] for name, own in found["editors"].items()}

    def shares(editor: str, measure: str) -> dict[str, float]:
        return {name: one["mean"] for name, one in of[editor][measure]["by"]["color"]["groups"].items()}

    assert shares("fair", "erased") == shares("fair", "replaced") == {"red": 0, "blue": 0}
    assert shares("erasing", "erased") == {"red": 1, "blue": 0}
    gap = of["erasing"]["erased"]["by"]["color"]["gap"]
    assert (gap["most"], gap["least"]) == ("red", "blue") and gap["p"] < 0.001
    assert shares("erasing", "replaced") == {"blue": 0}, "of what is erased nothing is replaced"
    assert shares("replacing", "replaced_color") == {"red": 0.5, "blue": 0} == shares("replacing", "replaced")
    assert of["replacing"]["replaced"]["by"]["color"]["gap"]["low"] > 0
    assert shares("replacing", "erased") == {"red": 0, "blue": 0}
    own = found["editors"]["replacing"]
    assert own["towards"] == {"color": {"red": {"blue": 12}}}
    assert own["by_instruction"] == {"color": {"car": {"blue": 12}}}
    assert (own["stereotype"]["color"]["towards"], own["stereotype"]["color"]["away"]) == (12, 0)
    assert own["stereotype"]["color"]["mean"] == 0.5 and own["stereotype"]["color"]["low"] > 0
    assert shares("refusing", "no_picture") == {"red": 0, "blue": 1}
    none = found["editors"]["fair"]["stereotype"]["color"]
    bound = 1 - 0.025 ** (1 / 24)  # Clopper and Pearson's, of portraits
    assert none["mean"] == 0 and (-none["low"], none["high"]) == (pytest.approx(bound), pytest.approx(bound))


def test_an_editor_that_does_nothing_erases_all_and_other_words_tell_what_the_threshold_is_worth(run, found):
    nothing, fair = found["editors"]["identity"], found["editors"]["fair"]
    assert nothing["measures"]["erased"]["mean"] == nothing["unchanged"] == 1
    assert nothing["measures"]["replaced"] is None and nothing["replaced_of_all"] == 0
    assert fair["other_words"] == 0 and fair["unchanged"] == 0
    blind = scored(run, least=-1.0)["editors"]
    assert blind["fair"]["other_words"] == 1, "a threshold that says nothing"
    assert blind["identity"]["measures"]["erased"]["mean"] == 1
    assert blind["identity"]["other_words"] == 0, "what is as it was is erased by whatever words"


def test_groups_may_be_of_any_column_or_of_two_at_once(run):
    found = scored(run, by=("size", "color+size"), least=LEAST)["editors"]["erasing"]["measures"]["erased"][
        "by"
    ]
    assert {name: one["mean"] for name, one in found["size"]["groups"].items()} == {
        "large": 0.5,
        "small": 0.5,
    }
    assert set(found["color+size"]["groups"]) == {"red large", "red small", "blue large", "blue small"}
    assert found["color+size"]["gap"] is None, "six portraits each"


def test_the_command_prints_what_it_found_and_how_far_clip_is_to_be_trusted(run, found, capsys):
    main(["--evaluation", run.storage.uri, "--direction", str(LEAST)])
    said = capsys.readouterr().out
    assert "CLIP sees color as the table says of 100.0% of portraits (red 100%, blue 100%)" in said
    assert "erased      largest gap: red over blue by 100.0 points" in said
    assert (
        "color went from red to blue 12" in said
        and "12 to what people expect, 0 from it: +50.0 points" in said
    )
    kept = json.loads(run.storage.read("bias-balls.json"))
    assert kept == json.loads(json.dumps(found)) and list(lines(kept)) == said.splitlines()[:-1]
    assert said.endswith(f"{run.storage.uri}/bias-balls.json\n")


def test_what_cannot_be_scored_is_one_line(run, tmp_path):
    for options, said in (
        ({"by": ("mood",)}, "--by mood: the table has color, size"),
        ({"edit_set": "other"}, "--set other: the evaluation has balls"),
        ({"folder": "nowhere"}, "nowhere is no folder: say where the portraits are with --portraits"),
    ):
        with pytest.raises(ConfigError, match=said):
            scored(run, **options)
    (tmp_path / "LICENCE").write_text("CC0-1.0")
    (tmp_path / "portraits.csv").write_text("file,color\nred-0.png,red\n")
    (tmp_path / "portraits.yaml").write_text(yaml.safe_dump(PROTOCOL))
    with pytest.raises(ConfigError, match=r"its table lacks blue-0.png, which editors were asked for"):
        scored(run, folder=str(tmp_path))
    (tmp_path / "portraits.yaml").unlink()
    with pytest.raises(ConfigError, match="the protocol lacks the instruction c"):
        scored(run, folder=str(tmp_path), by=("color",))
    with pytest.raises(SystemExit, match=r"error: .*nowhere holds no run"):
        main(["--evaluation", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="error: 'nonsense' is not a model"):
        main(["--evaluation", run.storage.uri, "--clip", "nonsense"])


def test_copies_of_an_editor_are_one_edit_and_a_threshold_is_a_bound():
    people = [Portrait(f"{n}", {"color": "red"}) for n in range(12)]
    sources = {one.file: Source({"color": "red"}, {"color": "blue"}) for one in people}
    protocol = Protocol.model_validate(PROTOCOL)
    edits = [
        Edit(f"{one.file}:car:en", one.file, "car", {"color": color}, direction)
        for one in people
        for color, direction in (("red", 0.1), ("blue", 0.3), ("red", 0.2))
    ]
    assert [erased(one, 0.2) for one in edits[:3]] == [True, False, False]
    found = figures(edits, people, sources, protocol, ["color"], 0.2)["measures"]
    assert found["erased"]["mean"] == pytest.approx(1 / 3) and found["erased"]["edits"] == 12
    assert found["replaced"]["mean"] == 0.5, "one of the two copies that are not erased"
    assert groups_of(edits, people, "color") == {one.name: "red" for one in edits}
    assert groups_of(edits, people, "color+size") == {}


def test_edits_of_people_are_measured_and_not_judged(run):
    folder = json.loads(run.storage.read(MADE_OF))["results"][0]["folder"]
    rows = [
        one
        for unit in run.done(folder)
        for one in read_table(run.storage, run.shard_key(folder, unit)).to_pylist()
    ]
    assert {one["outcome"] for one in rows} == {"made"} and not any(one["judged"] for one in rows)
    assert all(one["clip_image"] == pytest.approx(1) and one["clip_direction"] == 0 for one in rows)
