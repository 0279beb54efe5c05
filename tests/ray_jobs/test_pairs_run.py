"""Edits in words flow on to pairs of pictures: made once, judged, told, and made again from their rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from filters.profiles import ClipProfile, ClipThresholds, write
from filters.weights import ClipWeights
from generators.diffusion_identity import identity
from ray_jobs.__main__ import main
from ray_jobs.config import load
from ray_jobs.recipes import routes
from ray_jobs.replay import replayed
from shards.images import decode, pixel_sha256
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table
from tests.filters import clip_models
from tests.generators.diffusion_models import save_tiny
from tests.generators.endpoint import Endpoint
from tests.generators.test_stages import recolored

WIDE = ClipThresholds(image=-1, text_before=-1, text_after=-1, direction=-1)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    diffusion = save_tiny(folder / "diffusion", timestep_spacing="leading", steps_offset=1)
    clip = clip_models.save(folder / "clip")
    known = (ClipWeights(f"local-dir:{clip}").identity(),)
    for name, limits in (("any", WIDE), ("none-such", WIDE.model_copy(update={"direction": 1.0}))):
        write(clip / f"thresholds-{name}.json", ClipProfile(name=name, models=known, default=limits))
    half = WIDE.model_copy(update={"direction": 0.0})
    write(clip / "thresholds-half.json", ClipProfile(name="half", models=known, default=half))
    return {"diffusion": diffusion, "clip": f"local-dir:{clip}"}


@pytest.fixture(scope="module")
def endpoint():
    found = Endpoint(recolored)
    yield found
    found.close()


def config(tmp_path, models, endpoint, **route):
    stock = {
        "nouns": ["mug", "ball", "cat"],
        "colors": ["red", "blue"],
        "materials": ["matte"],
        "floors": ["grass"],
    }
    values = {
        "seed": 3,
        "out": str(tmp_path / "run"),
        "routes": {
            "edits": {
                "captions": {"source": "starter", "stock": stock},
                "units": 2, "unit_size": 3, "per_caption": 1, "kinds": ["recolor"],
            },
            "p2p": {
                "model": {"model": models["diffusion"]}, "pairs": {"steps": 3, "guidance": [2, 4]},
                "budget": {"want": 2, "most": 5}, "slots": 4, "decode_batch": 2, **route,
            },
        },
        "clip": {"model": models["clip"]},
        "llm": {"endpoint": {"url": endpoint.url, "model": "m", "retries": 0}},
        "filters": {"p2p": "half"},
        "pools": {name: {"size": 1, "num_cpus": 0.3} for name in ("captions", "edits", "unique", "verdicts", "p2p")},
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def rows_of(run, folder):
    return [
        row
        for unit in sorted(run.done(folder))
        for row in read_table(run.storage, run.shard_key(folder, unit)).to_pylist()
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory, models, endpoint):
    folder = tmp_path_factory.mktemp("made")
    path = config(folder, models, endpoint)
    assert main(["generate", "--config", path]) == 0
    return path, Run.open(open_storage(str(folder / "run")))


def test_good_edits_become_pairs_that_are_judged_and_told(made):
    _, run = made
    current = run.current()
    assert set(current) == {"captions", "edits", "unique", "p2p"}
    good = [row for row in rows_of(run, current["unique"]["unique"]) if row["verdict"] == "accepted"]
    pairs = rows_of(run, current["p2p"]["pairs"])
    verdicts = {row["pair_id"]: row for row in rows_of(run, current["p2p"]["verdicts"])}
    assert {row["edit_id"] for row in pairs} == {row["edit_id"] for row in good}
    assert len({row["pair_id"] for row in pairs}) == len(pairs) == len(verdicts)
    by_edit = {row["edit_id"]: row for row in rows_of(run, current["edits"]["edits"])}
    for row in pairs:
        accepted = row["scores"]["clip_direction"] >= 0
        assert verdicts[row["pair_id"]]["verdict"] == ("accepted" if accepted else "rejected")
        assert (row["original_image"] is not None) == accepted  # below the floor all but the pictures is kept
        assert row["source"] == "p2p" and row["seed"] > 0
        assert json.loads(row["sampler"]["settings"])["steps"] == 3
        edit = by_edit[row["edit_id"]]
        for name in (
            "original_prompt",
            "edit_prompt",
            "edited_prompt",
            "language",
            "instructions",
            "license",
        ):
            assert row[name] == edit[name]
        if accepted:
            assert row["hashes"]["pixel_after"] == pixel_sha256(decode(row["edited_image"]))
            assert row["width"] == 16 and row["image_bytes"] > 0
    accepted = [sum(verdicts[r["pair_id"]]["verdict"] == "accepted" for r in pairs if r["edit_id"] == e["edit_id"])
                for e in good]  # fmt: skip
    draws = [sum(row["edit_id"] == edit["edit_id"] for row in pairs) for edit in good]
    assert all(n == 2 or drawn == 5 for n, drawn in zip(accepted, draws, strict=True))
    report = json.loads(run.storage.read("report.json"))
    part = report["routes"]["p2p"]
    assert part["pairs"]["tried"] == len(pairs) and part["pairs"]["accepted"] == sum(accepted)
    assert part["engine"]["edits"] == len(good) and part["engine"]["forwards"] >= 4 * 3 * len(pairs)
    assert part["clip"]["by_kind"][0]["pairs"] == len(pairs)
    page = run.storage.read("report.html").decode()
    assert "What became of the pairs" in page and "passes of the UNet" in page


def test_a_longer_run_goes_on_with_the_pairs_that_it_has(made, tmp_path, capsys):
    path, run = made
    before = {row["pair_id"]: row["hashes"] for row in rows_of(run, run.current()["p2p"]["pairs"])}
    folder = run.current()["p2p"]["pairs"]
    assert main(["generate", "--config", path, "--set", "routes.edits.units=3"]) == 0
    assert run.current()["p2p"]["pairs"] == folder
    after = {row["pair_id"]: row["hashes"] for row in rows_of(run, folder)}
    assert before.items() <= after.items() and len(run.done(folder)) == 3


@pytest.mark.slow
def test_the_same_run_again_makes_the_same_pairs_and_another_profile_other_verdicts(
    made, tmp_path, models, endpoint
):
    _, run = made
    path = config(tmp_path, models, endpoint, slots=7)  # how many slots there are is no part of what is made
    assert main(["generate", "--config", path]) == 0
    other = Run.open(open_storage(str(tmp_path / "run")))
    assert other.current()["p2p"]["pairs"] == run.current()["p2p"]["pairs"]  # names hold a fingerprint
    mine, theirs = (
        {row["pair_id"]: row for row in rows_of(which, which.current()["p2p"]["pairs"])}
        for which in (run, other)
    )
    for name, row in theirs.items():
        assert mine[name]["seed"] == row["seed"]
        if row["original_image"] is not None and mine[name]["original_image"] is not None:
            apart = np.subtract(*(decode(r["edited_image"]).astype(int) for r in (row, mine[name])))
            assert np.abs(apart).max() <= 16  # JPEG enlarges a rounding
    profile = tmp_path / "strict.yaml"
    profile.write_text(yaml.safe_dump({"profile": "strict", "p2p": "none-such"}))
    pairs = other.current()["p2p"]["pairs"]
    first = {row["pair_id"]: row["verdict"] for row in rows_of(other, other.current()["p2p"]["verdicts"])}
    assert main(["rejudge", "--run", other.storage.uri, "--profile", str(profile)]) == 0
    assert other.current()["p2p"]["pairs"] == pairs
    verdicts = rows_of(other, other.current()["p2p"]["verdicts"])
    assert {(row["verdict"], row["reason"]) for row in verdicts} == {("rejected", "change_unmet")}
    # A name that says nothing of pairs made from words leaves them as the run had them.
    assert main(["rejudge", "--run", other.storage.uri, "--profile", "default"]) == 0
    again = rows_of(other, other.current()["p2p"]["verdicts"])
    assert {row["pair_id"]: row["verdict"] for row in again} == first


def test_a_pair_is_replayed_beside_what_was_stored(made, tmp_path, capsys):
    path, run = made
    pairs = rows_of(run, run.current()["p2p"]["pairs"])
    kept = next(row for row in pairs if row["original_image"] is not None)
    out = tmp_path / "sheet.png"
    arguments = ["replay", "--run", run.storage.uri, "--pair", kept["pair_id"], "--out", str(out)]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert (
        "clip_direction     stored" in told
        and "dB apart" in told
        and "verdict of the remade pair: accepted" in told
    )
    assert Image.open(out).size == (2 * 16 + 4, 2 * 16 + 4)
    found = replayed(load(path), kept["pair_id"])
    assert found.scores["clip_direction"] == pytest.approx(kept["scores"]["clip_direction"], abs=1e-3)
    lost = next((row for row in pairs if row["original_image"] is None), None)
    if lost is not None:
        again = replayed(load(path), lost["pair_id"])
        assert again.stored is None and again.verdict == "rejected"
        assert again.scores["clip_image"] == pytest.approx(lost["scores"]["clip_image"], abs=1e-3)


def test_a_pair_that_is_not_there_is_one_line(made, capsys):
    _, run = made
    assert main(["replay", "--run", run.storage.uri, "--pair", "p2p-0000000-0-000"]) == 2
    assert "has no such pair" in capsys.readouterr().err


def test_what_is_made_shapes_the_folder_and_how_fast_does_not(tmp_path, models, endpoint):
    path = config(tmp_path, models, endpoint)

    def folder(*changes):
        return routes(load(path, changes))[-1].stages[0].folder

    first = folder()
    for same in ("slots=9", "decode_batch=5"):
        assert folder(f"routes.p2p.{same}") == first
    for other in (
        "pairs.steps=4",
        "pairs.cross=[0, 0]",
        "budget.want=1",
        "preview_at=0.5",
        "model.precision=bf16",
    ):
        assert folder(f"routes.p2p.{other}") != first
    assert folder("filters.p2p=any") != first  # what is drawn depends on what was accepted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("routes.edits=null", "routes.edits: is missing"),
        ("clip=null", "clip: is missing"),
        ("filters.p2p=none", "filters.p2p: 'none' judges nothing"),
        ("filters.p2p=paper", "filters.p2p: 'paper' is for ViT-L-14/openai"),
        ("routes.p2p.pairs.share=[0.9, 0.1]", "share: [0.9, 0.1] is not a range"),
        ("routes.p2p.pairs.steps=1", "routes.p2p.pairs.steps"),
        ("routes.p2p.model.model=/tmp", "routes.p2p.model: /tmp: holds no model_index.json"),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path, models, endpoint, capsys, change, said):
    path = config(tmp_path, models, endpoint)
    assert main(["generate", "--config", path, "--set", change]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_a_models_identity_is_of_its_files(tmp_path, models):
    assert identity("sd2-community/x", "abc") == "sd2-community/x@abc"
    first = identity(models["diffusion"], None)
    assert first.startswith("sha256:") and first == identity(models["diffusion"], "ignored")
    other = save_tiny(tmp_path / "other", prediction="epsilon")
    assert identity(other, None) != first
