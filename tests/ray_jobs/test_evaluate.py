"""Editors are tried on frozen sets by one command, which goes on where it stopped and says what is wrong."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evaluation.edit_sets import every
from evaluation.results import RESULTS
from evaluation.rules import JUDGING, identity, making, rules
from evaluation.spatial import seen
from evaluation.trials import cases
from filters.reader import Reader
from ray_jobs import __main__ as command
from ray_jobs import evaluate, evaluate_page
from ray_jobs.config import ConfigError, check
from ray_jobs.config_evaluate import EvaluateConfig
from ray_jobs.evaluate import hold_to_budget, routes
from ray_jobs.evaluate_results import made_of
from ray_jobs.evaluate_sets import Frozen, frozen
from ray_jobs.evaluate_table import table
from ray_jobs.evaluate_trade import trade_off
from ray_jobs.progress import Counted, Progress
from shards.dataset import open_dataset
from shards.run import Run
from shards.storage import open_storage
from shards.tables import from_rows
from shards.units import Unit
from tests.alexnet import written
from tests.datasets import pair, publish
from tests.evaluations_by_hand import hand_made_evaluation
from tests.ray_jobs.test_progress import report as unit_report
from tests.trainer.test_step import STARTER

READER = STARTER.parent / "reader"
BOUNDS = {"identity": {"kind": "identity"}, "oracle": {"kind": "oracle"}}


def configured(folder, **changes) -> EvaluateConfig:
    values = {
        "out": str(folder / "out"), "sets": {"spatial": {"dataset": str(folder / "data")}}, "editors": BOUNDS,
        "unit": 4, "batch": 2, "reader": str(READER),
    }  # fmt: skip
    return check(EvaluateConfig, values | changes, "test")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"editors": {}}, "editors"),
        ({"editors": {"Ours": {"kind": "identity"}}}, "editors.Ours"),
        ({"editors": {"ours": {"kind": "magic"}}}, "editors.ours"),
        ({"editors": {"ours": {"kind": "spatialpix", "models": []}}}, "models"),
        ({"editors": {"ours": {"kind": "sdedit", "models": ["a/b"], "strength": 1.5}}}, "strength"),
        ({"batch": 8}, "batch: 8 edits at once do not fit a unit of 4"),
        ({"sets": {"spatial": {"dataset": "d", "words": "free verse"}}}, "words"),
        ({"sets": {"spatial": {}}}, "needs either a dataset, or a benchmark and its folder"),
        (
            {"sets": {"spatial": {"benchmark": "magicbrush"}}},
            "needs either a dataset, or a benchmark and its folder",
        ),
        ({"sets": {"spatial": {"dataset": "d", "side": 512}}}, "side: is for edits that are not judged"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        configured(tmp_path, **changes)


def test_what_is_not_there_is_one_line_before_anything_starts(tmp_path, capsys):
    file = tmp_path / "evaluate.yaml"
    for changes, said in (
        ({"reader": "nowhere"}, "reader: nowhere holds no reader"),
        (
            {"editors": {"ours": {"kind": "spatialpix", "models": ["./nowhere"]}}},
            "editors.ours.models: ./nowhere",
        ),
        ({"lpips": "nowhere.pth"}, "lpips: nowhere.pth: there is no such file; name AlexNet's weights"),
        ({"lpips": str(file)}, f"lpips: {file}: holds no plain weights; name AlexNet's weights"),
        (
            {"inception": "nowhere.pth"},
            "inception: nowhere.pth: there is no such file; name Inception-v3's weights",
        ),
        (
            {"inception": str(file)},
            f"inception: {file}: holds no plain weights; name Inception-v3's weights",
        ),
    ):
        file.write_text(yaml.safe_dump(configured(tmp_path).model_dump(mode="json") | changes))
        assert command.main(["evaluate", "--config", str(file)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {said}") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_results_are_filed_by_what_they_depend_on(tmp_path):
    """Another model in the folder of the same name is asked anew; a faster machine or a further editor is not."""
    one = Frozen("spatial", "sets/x.parquet", "ab" * 32, 10, 12, {}, None, "cd" * 32)
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.safetensors").write_bytes(b"1")
    ours = {"ours": {"kind": "spatialpix", "models": [str(model), str(model)]}}

    def folders(**changes):
        return {r.name: r.folders["edits"] for r in routes(configured(tmp_path, **changes), [one])}

    first = folders(editors=ours)
    assert list(first) == ["spatial_ours_1", "spatial_ours_2"] and len(set(first.values())) == 2
    more = folders(editors=ours | BOUNDS, pool={"num_cpus": 2})
    assert first.items() <= more.items() and "spatial_oracle" in more
    assert folders(editors={"ours": ours["ours"] | {"steps": 9}}) != first
    assert [len(route.units) for route in routes(configured(tmp_path), [one])] == [3, 3]
    clip = {"model": f"local-dir:{STARTER.parent / 'clip'}"}
    with_clip, otherwise = (
        folders(editors=ours, clip=clip),
        folders(editors=ours, clip=clip | {"precision": "bf16"}),
    )
    assert len({first["spatial_ours_1"], with_clip["spatial_ours_1"], otherwise["spatial_ours_1"]}) == 3
    known = identity(str(model))
    (model / "weights.safetensors").write_bytes(b"2")
    assert identity(str(model)) != known and folders(editors=ours) != first


def test_the_page_shows_the_table_and_the_same_edits_by_every_editor(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=5)
    config = configured(tmp_path, editors={"first": {"kind": "oracle"}, "second": {"kind": "identity"}})
    one = Frozen(**json.loads(run.storage.read("sets/spatial-00000000.json")))
    folders = {route: stages["edits"] for route, stages in run.current().items()}
    run.storage.delete(
        run.shard_key(folders["spatial_second"], "spatial_second-0000001")
    )  # a unit is missing
    report = evaluate_page.write(run, config, [one], folders)
    assert json.loads(run.storage.read("report.json")) == report
    assert report["sets"]["spatial"]["editors"]["first"]["success"]["mean"] == 1
    page = run.storage.read("report.html").decode()
    assert page.count("<article") == 5 and page.count("<polyline") == 2
    assert "&lt;25%&gt;" in page and "<25%>" not in page and "<script" not in page
    assert page.count('<figure class="right"') == 5 and page.count('<figure class="wrong"') == 4
    assert page.count("not made") == 1
    text = table(report)
    assert "first" in text and "100.0%" in text and f"sha256 {one.digest[:16]}" in text


def test_editors_that_differ_in_their_text_scale_alone_are_one_line(tmp_path):
    def measured(direction: float, image: float) -> dict:
        return {"clip_direction": {"mean": direction}, "clip_image": {"mean": image}}

    folder = tmp_path / "model"
    folder.mkdir()
    own = {"kind": "instruct_pix2pix", "models": [str(folder)]}
    editors = configured(
        tmp_path,
        editors=BOUNDS | {"high": own | {"text": 9}, "low": own | {"text": 2}, "other": own | {"steps": 3}},
    ).editors
    figures = {
        "low": measured(0.1, 0.9), "high": measured(0.3, 0.7), "other": measured(0.2, 0.8),
        "oracle": {"clip_direction": None, "clip_image": None},
    }  # fmt: skip
    found = trade_off(editors, figures, (100, 50), ("red", "blue"))
    assert [[point["name"] for point in line["points"]] for line in found["lines"]] == [
        ["low", "high"],
        ["other"],
    ]
    low, high = found["lines"][0]["points"]
    assert 0 < low["x"] < high["x"] < 100 and 0 < low["y"] < high["y"] < 50, "right is as told, up is alike"
    assert trade_off(editors, {"oracle": figures["oracle"]}, (100, 50), ("red",)) is None


def test_edits_that_no_reader_can_judge_are_a_set_that_says_so(tmp_path):
    """Photos of several sizes, and changes of light: all of them, smaller, and only of the kinds that are asked for."""
    large = pair(1, side=256)
    rows = [pair(0), large, pair(2, kind="lighting", edit_prompt="make it night"), pair(3, kind="background")]
    rows.append(pair(4, original_image=None))
    publish(open_storage(str(tmp_path / "data")), {"test": rows})
    run = Run.create_or_open(open_storage(str(tmp_path / "out")), {})
    asked = {"dataset": str(tmp_path / "data"), "judged": False, "side": 128, "words": "written"}
    config = configured(tmp_path, sets={"photos": asked, "light": asked | {"kinds": ["lighting"]}})
    photos, light = (frozen(run, name, one, config) for name, one in config.sets.items())
    assert (photos.edits, photos.looked_at, photos.oracle) == (5, 5, None)
    there = every(run.storage, photos.key)
    assert [case.before.shape[0] for case in there] == [64, 128, 64, 64, 1]
    assert [bool(case.broken) for case in there] == [False] * 4 + [True]
    assert not any(case.judged for case in there)
    assert [case.kind for case in every(run.storage, light.key)] == ["lighting"]
    none = configured(tmp_path, sets={"none": asked | {"kinds": ["dance"]}})
    with pytest.raises(ConfigError, match="there are none of these kinds"):
        frozen(run, "none", none.sets["none"], none)


def test_progress_speaks_of_edits():
    counted = Counted("edits", "right", ("wrong", "failed"), ("right", "wrong", "failed"))
    now = [0.0]
    progress = Progress(2, "edits", lambda _: None, io.StringIO(), clock=lambda: now[0], counted=counted)
    progress.unit(Unit("x", 0, 4), [unit_report(0, "edits", right=1, wrong__named_off=3)], None)
    now[0] = 60.0
    assert progress.line() == "1/2 units  4.0 edits/min  right 1  wrong 3 (named_off 3)  60 s left"


def shifts_are_recovered(pictures) -> None:
    """Pictures are moved by 0 to 20% of their width: what is whole in both is found so much further on, to 1%."""
    reader, width = Reader.load(READER), pictures[0].shape[1]
    before, off, lost = reader.read(np.stack(pictures)), [], 0
    for shift in (0, 3, 6, 13, 19, 26):
        moved = [
            np.concatenate([np.repeat(one[:, :1], shift, 1), one[:, : width - shift]], 1) for one in pictures
        ]
        for here, there in zip(before, reader.read(np.stack(moved)), strict=True):
            for thing in seen(here):
                if thing.box[0] <= 2 or thing.box[2] + shift >= width - 2:
                    continue
                same = [one for one in seen(there) if (one.kind, one.color) == (thing.kind, thing.color)]
                way = [np.linalg.norm(one.centre - thing.centre - (shift, 0)) / width for one in same]
                off, lost = off + ([min(way)] if way else []), lost + (not way)
    assert len(off) > 60 and lost <= 0.1 * len(off)  # a colour or kind is misread now and then
    assert np.mean(np.array(off) <= 0.01) >= 0.95 and np.mean(off) < 0.005


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_editors_are_tried_on_renders_and_the_command_goes_on(tmp_path, capsys):
    """Real renders, the real reader: the oracle is right in all, the identity in hardly any; a set that is another one
    than was frozen is refused; an editor that is added is asked, and nobody else again."""
    run, data = str(tmp_path / "run"), str(tmp_path / "data")
    assert command.main(
        ["generate", "--config", "configs/starter.yaml", "--out", run, "--set", "seed=77",
         "--set", "routes.blender.units=1", "--set", "routes.blender.unit_size=24"]
    ) == 0  # fmt: skip
    assert command.main(
        ["publish", "--run", run, "--to", data, "--version", "1.0.0", "--config", "configs/publish.yaml",
         "--set", "splits.train=0", "--set", "splits.validation=0", "--set", "splits.test=1",
         "--set", "splits.held_out=0", "--set", "inverse=false"]
    ) == 0  # fmt: skip
    capsys.readouterr()
    shifts_are_recovered([case.truth for case in cases(open_dataset(data)) if case.truth is not None])
    values = configured(tmp_path).model_dump(mode="json") | {"pool": {"size": 1, "num_cpus": 0.5}}
    file = tmp_path / "evaluate.yaml"

    def evaluated(**changes) -> tuple[int, str, str]:
        file.write_text(yaml.safe_dump(values | changes))
        code = command.main(["evaluate", "--config", str(file)])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, err = evaluated()
    assert code == 0, err
    report = json.loads((tmp_path / "out/report.json").read_text())["sets"]["spatial"]
    assert report["edits"] >= 8
    assert (
        report["editors"]["oracle"]["success"]["mean"] == 1
    )  # only edits that it is right in are in the set
    assert report["editors"]["identity"]["success"]["mean"] == 0  # and that it is wrong in
    assert report["oracle"] > 0.9 and report["looked_at"] == 24
    assert report["editors"]["identity"]["psnr"]["mean"] == pytest.approx(99)
    known = report["digest"]
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("part-*.parquet")}
    more = BOUNDS | {"decoded": {"kind": "decoded", "model": str(STARTER)}}
    sets = {"spatial": {"dataset": data, "digest": known[:16]}}
    code, out, err = evaluated(editors=more, sets=sets)
    assert code == 0, err
    assert all(path.stat().st_mtime_ns == was for path, was in shards.items())
    found = json.loads((tmp_path / "out/report.json").read_text())["sets"]["spatial"]["editors"]
    assert found["decoded"]["success"]["mean"] >= 0.5 and 20 < found["decoded"]["psnr"]["mean"] < 99
    assert "decoded" in out and np.isfinite(found["decoded"]["ssim"]["mean"])
    sets = {"spatial": {"dataset": data, "digest": "0123456789abcdef"}}
    code, _, err = evaluated(sets=sets)
    assert code == 2 and "sets.spatial.digest" in err
    kept = next((tmp_path / "out/sets").glob("*.parquet"))
    table_of = pq.read_table(kept)
    told = pa.array(["make it autumn"] * table_of.num_rows)
    place = table_of.schema.get_field_index("edit_prompt")
    pq.write_table(table_of.set_column(place, "edit_prompt", told), kept, row_group_size=4)
    code, _, err = evaluated()
    assert code == 2 and "is not as it was frozen" in err


def test_editors_whose_results_would_lie_in_one_folder_are_refused(tmp_path):
    one, model = (
        Frozen("spatial", "sets/x.parquet", "ab" * 32, 10, 12, {}, None, "cd" * 32),
        tmp_path / "model",
    )
    model.mkdir()
    two = {"ours": {"kind": "spatialpix", "models": [str(model)] * 2}}
    with pytest.raises(ConfigError, match="'spatial_ours_1'"):
        routes(configured(tmp_path, editors=two | {"ours_1": {"kind": "oracle"}}), [one])


def test_what_was_judged_by_other_rules_is_judged_again_and_not_made_again(tmp_path, monkeypatch):
    one = Frozen("spatial", "sets/x.parquet", "ab" * 32, 10, 12, {}, None, "cd" * 32)

    def folders() -> tuple[set[str], set[str]]:
        plan = routes(configured(tmp_path), [one])
        made = {route.stages[0].settings["made"] for route in plan}
        return {route.folders["edits"] for route in plan}, made

    judged, made = folders()
    assert len(judged) == len(made) and not judged & made
    known = evaluate.rules
    monkeypatch.setattr(evaluate, "rules", lambda files: "other" if files == JUDGING else known(files))
    assert not folders()[0] & judged and folders()[1] == made
    monkeypatch.setattr(evaluate, "rules", lambda files: "other")  # of what makes them, too
    assert not folders()[0] & judged and not folders()[1] & made


def test_what_makes_pictures_is_all_that_it_imports():
    ours = making("spatialpix")
    assert {"evaluation/editors.py", "trainer/pipeline.py", "trainer/paste.py", "spatial/language.py"} <= {
        *ours
    }
    assert any(name.endswith(".yaml") for name in ours), "words that it understands"
    assert "trainer/frozen.py" in making("decoded") and "trainer/embedded.py" in making("unclip")
    assert not any(
        name.startswith(("ray_jobs/", "shards/")) for kind in ("unclip", "hosted") for name in making(kind)
    )
    assert making("identity") == ("evaluation/asked.py", "evaluation/editors.py")


def test_rules_are_what_code_says_not_how_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.rules._ROOT", tmp_path)

    def digest(text: str) -> str:
        (tmp_path / "a.py").write_text(text)
        return rules(("a.py",))

    first = digest("def f(x):\n    return x < 0.05\n")
    assert first == digest(
        '"""Of a module."""\n\n\ndef f(x):  # why\n    """Says."""\n    return (x < 0.05)\n'
    )
    assert first != digest("def f(x):\n    return x < 0.06\n")


def test_another_hosted_model_is_asked_anew_and_another_price_is_not(tmp_path):
    one = Frozen("spatial", "sets/x.parquet", "ab" * 32, 10, 12, {}, None, "cd" * 32)

    def folder(**changes):
        about = {"kind": "hosted", "model": "some-model", "price": 0.25} | changes
        return routes(configured(tmp_path, editors={"hosted": about}), [one])[0].folders["edits"]

    assert folder() == folder(price=0.5) == folder(key="OTHER_KEY") and folder() != folder(model="another")


def test_readers_of_results_are_told_the_present_ones_alone(tmp_path):
    one = Frozen("spatial", "sets/x.parquet", "ab" * 32, 10, 12, {}, None, "cd" * 32)
    plan = routes(configured(tmp_path), [one])
    told = made_of([one], plan, 3)
    assert told["sets"]["spatial"]["digest"] == one.digest and told["missing"] == 3
    assert {(each["set"], each["editor"], each["copy"]) for each in told["results"]} == {
        ("spatial", name, 0) for name in BOUNDS
    }
    assert {each["folder"] for each in told["results"]} == {route.folders["edits"] for route in plan}


def test_hosted_editors_are_not_asked_before_somebody_allowed_what_they_cost(tmp_path, capsys):
    run = hand_made_evaluation(tmp_path)
    one = Frozen(**json.loads(run.storage.read("sets/spatial-00000000.json")))
    hosted = {"dalle": {"kind": "hosted", "model": "some-model", "price": 0.25}}
    config = configured(tmp_path, editors=BOUNDS | hosted)
    plan = routes(config, [one])
    with pytest.raises(
        ConfigError, match=r"--spend: hosted editors cost up to 3\.00 in all, and 2\.99 may be spent"
    ):
        hold_to_budget(run, config, plan, 2.99)
    hold_to_budget(run, config, plan, 3.0)
    assert "editor dalle: up to 12 edits at 0.25 each: 3.00" in capsys.readouterr().out
    route = next(route for route in plan if route.name == "spatial_dalle")
    row = from_rows([], RESULTS)
    for unit in route.units:  # what is there is not paid for again, whoever judges it
        run.commit(route.stages[0].settings["made"], unit, row, {})
    with pytest.raises(ConfigError, match=r"up to 3\.00 in all"):  # but it was
        hold_to_budget(run, config, plan, 0.0)
    hold_to_budget(run, config, plan, 3.0)
    assert "up to 0 edits at 0.25 each: 0.00, and 12 were asked before" in capsys.readouterr().out
    other = configured(tmp_path, editors=BOUNDS | {"dalle": hosted["dalle"] | {"model": "other"}})
    with pytest.raises(ConfigError, match=r"up to 6\.00 in all"):  # of whichever model
        hold_to_budget(run, other, routes(other, [one]), 3.0)


@pytest.mark.parametrize("key", ["lpips", "inception"])
def test_edits_measured_with_other_weights_are_measured_anew_and_not_made_again(tmp_path, key):
    one, file = (
        Frozen("spatial", "sets/x.parquet", "ab" * 32, 10, 12, {}, None, "cd" * 32),
        tmp_path / "weights.safetensors",
    )

    def folders(**changes):
        return [route.folders["edits"] for route in routes(configured(tmp_path, **changes), [one])]

    written(file)
    first = folders(**{key: str(file)})
    assert not {*first} & {*folders()}
    file.rename(tmp_path / "elsewhere.safetensors")
    assert folders(**{key: str(tmp_path / "elsewhere.safetensors")}) == first
    written(file, seed=1)
    assert not {*folders(**{key: str(file)})} & {*first}
    plan = routes(configured(tmp_path, **{key: str(file)}), [one])
    assert {route.stages[0].settings[key] for route in plan} == {str(file)}
    made = [
        {route.stages[0].settings["made"] for route in some}
        for some in (plan, routes(configured(tmp_path), [one]))
    ]
    assert made[0] == made[1]


def test_lpips_is_shown_where_it_was_measured_and_else_missed_once(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=5)
    config = configured(tmp_path, editors={"first": {"kind": "oracle"}, "second": {"kind": "identity"}})
    one = Frozen(**json.loads(run.storage.read("sets/spatial-00000000.json")))
    folders = {route: stages["edits"] for route, stages in run.current().items()}
    report = evaluate_page.write(run, config, [one], folders)
    missed = "LPIPS: no weights were named"
    assert table(report).count("LPIPS") == 1 and table(report).endswith(missed)
    page = run.storage.read("report.html").decode()
    assert page.count("LPIPS") == page.count(missed) == 1
    for editor, value in (("first", 0.0625), ("second", None)):
        report["sets"]["spatial"]["editors"][editor]["lpips"] = value and {"mean": value, "low": 0, "high": 1}
    lines = table(report).splitlines()
    assert lines[-3].endswith("LPIPS") and lines[-2].endswith(" 0.062") and lines[-1].endswith(" –")
    page = evaluate_page.render(report, {"spatial": []}, {"spatial": None})
    assert page.count("LPIPS") == 1 and missed not in page and '<td class="n">0.062</td>' in page
