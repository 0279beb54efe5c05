"""How far pictures are from true ones as sets: named by whose features they are, and how much nearer the first is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from evaluation.distances import frechet
from ray_jobs import __main__ as command
from ray_jobs import evaluate_page
from ray_jobs.evaluate_distances import compared, edits_said
from ray_jobs.evaluate_sets import Frozen
from ray_jobs.evaluate_table import table
from shards.storage import open_storage
from tests.datasets import pair, publish
from tests.evaluations_by_hand import hand_made_evaluation
from tests.inception import written
from tests.ray_jobs.test_evaluate import configured
from tests.trainer.test_step import STARTER


def features_of(editor: str, number: int) -> np.ndarray:
    """Of three values, about 0, further along the first for each editor."""
    off = {"first": 1.0, "second": 3.0, "oracle": 0.0}[editor]
    return np.random.default_rng([number, ord(editor[0])]).normal((off, 0, 0))


def compared_by_hand(tmp_path, more, edits=40, **changes):
    """The report, the page, and what `evaluate` prints."""
    run = hand_made_evaluation(tmp_path, edits, editors=("first", "second", "oracle"), more=more)
    kinds = {"first": {"kind": "identity"}, "second": {"kind": "identity"}, "oracle": {"kind": "oracle"}}
    config = configured(tmp_path, editors=kinds, **changes)
    one = Frozen(**json.loads(run.storage.read("sets/spatial-00000000.json")))
    folders = {route: stages["edits"] for route, stages in run.current().items()}
    report = evaluate_page.write(run, config, [one], folders)
    assert json.loads(run.storage.read("report.json")) == report
    return report["sets"]["spatial"]["editors"], run.storage.read("report.html").decode(), table(report)


def test_fid_and_kid_are_named_so_by_inception_alone(tmp_path):
    def more(editor, number):
        seen = features_of(editor, number).tolist()
        return {"inception": seen, "clip_embedding": (np.array(seen) / np.linalg.norm(seen)).tolist()}

    clip = {"model": f"local-dir:{STARTER.parent / 'clip'}"}
    by_clip, page, text = compared_by_hand(tmp_path / "clip", more, clip=clip)
    assert [len(of["distances"]) for of in by_clip.values()] == [1, 1, 0]
    assert "FID" not in text and "by CLIP " in text and "KID " in text and "Fréchet " in text
    assert ">FID<" not in page and "none of these is the FID" in page
    both, page, text = compared_by_hand(tmp_path / "both", more, clip=clip, inception="weights.pth")
    found, of_clip = both["second"]["distances"]
    assert found["features"] == "Inception-v3" and found["cmmd"] is None and of_clip["cmmd"] is not None
    assert of_clip == by_clip["second"]["distances"][0]
    made, true = (
        np.array([features_of(name, n) for n in range(40)], np.float32) for name in ("second", "oracle")
    )
    assert found["frechet"] == pytest.approx(frechet(made, true), rel=1e-5)
    assert f"by Inception-v3: FID {found['frechet']:.4f}, KID {found['kid']['mean']:.4f} (" in text
    assert ">FID<" in page and ">KID<" in page and page.count("by what ") == 2
    neither, page, text = compared_by_hand(tmp_path / "neither", more)
    assert neither["second"]["distances"] == [] and "KID" not in page + text


def test_by_what_share_the_first_is_nearer_is_said_with_how_few_edits_it_is_of(tmp_path):
    def more(editor, number):
        return {
            "inception": None if (editor, number) == ("first", 7) else features_of(editor, number).tolist()
        }

    editors, page, text = compared_by_hand(tmp_path, more, inception="weights.pth")
    assert editors["first"]["distances"][0]["nearer"] is None
    held = editors["second"]["distances"][0]["nearer"]
    assert (held["edits"], held["judged"]) == (39, False), "edits that all three have"
    fid = held["frechet"]
    assert (
        fid["share"] == 1 - fid["first"] / fid["other"] and 0.5 < fid["low"] < fid["share"] < fid["high"] < 1
    )
    said = f"{fid['share']:.1%} ({fid['low']:.1%} to {fid['high']:.1%})"
    few = "of only 39 edits, 2,000 were promised"
    assert f"of first smaller: FID by {said}, KID by " in text and text.count(few) == 1
    assert f"FID smaller by {said}" in page and page.count(few) == 1
    assert edits_said(held | {"edits": 2412, "judged": True}) == "of 2,412 edits"


def test_of_one_that_comes_from_no_oracle_or_is_one_nothing_is_nearer(tmp_path):
    def more(editor, number):
        return {"inception": features_of(editor, number).tolist()}

    run = hand_made_evaluation(tmp_path, 20, editors=("first", "second", "oracle"), more=more)
    folders = {route: stages["edits"] for route, stages in run.current().items()}
    without = {"first": {"kind": "identity"}, "second": {"kind": "identity"}}
    oracle = {"oracle": {"kind": "oracle"}}
    config = configured(tmp_path, editors=without, inception="weights.pth")
    assert compared(run, config, "spatial", folders) == {"first": [], "second": []}
    first = compared(run, config.model_copy(update={"editors": configured(tmp_path, editors=oracle | without).editors}),
                     "spatial", folders)  # fmt: skip
    assert first["oracle"] == [] and [of["nearer"] for of in first["first"] + first["second"]] == [None, None]


@pytest.mark.slow
def test_the_command_looks_at_pictures_by_inception_and_makes_none_again(tmp_path, capsys):
    """Edits that nobody judges, by bounds: first without weights, then with."""
    publish(open_storage(str(tmp_path / "data")), {"test": [pair(n) for n in range(12)]})
    sets = {"photos": {"dataset": str(tmp_path / "data"), "judged": False, "words": "written"}}
    editors = {"identity": {"kind": "identity"}, "oracle": {"kind": "oracle"}}
    pool = {"size": 1, "num_cpus": 0.5}
    values = configured(tmp_path, sets=sets, editors=editors, pool=pool).model_dump(mode="json")
    file, weights = tmp_path / "evaluate.yaml", written(tmp_path / "inception.safetensors")

    def evaluated(**changes) -> list[dict]:
        file.write_text(yaml.safe_dump(values | changes))
        assert command.main(["evaluate", "--config", str(file)]) == 0, capsys.readouterr().err
        report = json.loads((tmp_path / "out/report.json").read_text())
        return report["sets"]["photos"]["editors"]["identity"]["distances"]

    assert evaluated() == []
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("made-*/part-*.parquet")}
    found = evaluated(inception=str(weights))
    assert [(one["features"], one["pictures"]) for one in found] == [("Inception-v3", 12)]
    assert found[0]["kid"]["mean"] != 0 and found[0]["frechet"] is None
    assert "by Inception-v3: FID of too few pictures, KID " in capsys.readouterr().out
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("made-*/part-*.parquet")}
    assert made and again == made
