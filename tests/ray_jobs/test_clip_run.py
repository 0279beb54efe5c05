"""The CLIP judge through the real driver: pairs that are there are scored, judged, and judged again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from filters.profiles import ClipProfile, ClipThresholds, write
from filters.weights import ClipWeights
from ray_jobs import recipes
from ray_jobs.__main__ import main
from ray_jobs.config import load
from shards.images import encode
from shards.run import Run
from shards.schema import PAIRS
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from tests.filters import clip_models
from tests.ray_jobs.test_report import made, unmade

TINY = str(Path(__file__).parents[2] / "configs" / "tiny.yaml")
KINDS = ("recolor", "move", "add", "remove")
BROKEN = {"bytes": b"no picture", "path": None}
Job = Callable[..., str]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A tiny CLIP with thresholds of its own: any picture will do, no change of the captions is met."""
    folder = clip_models.save(tmp_path / "clip")
    limits = ClipThresholds(image=-1, text_before=-1, text_after=-1, direction=1)
    identity = ClipWeights(f"local-dir:{folder}").identity()
    write(folder / "thresholds.json", ClipProfile(name="own", models=(identity,), default=limits))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two units of four pairs each, as if rendered; the last of each could not be made."""
    config = load(TINY, ["routes.blender.unit_size=4"])
    (route,) = recipes.routes(config)
    found = Run.create_or_open(open_storage(str(tmp_path / "run")), {})
    for unit in route.units:
        rows = [
            pictured(number, unit.id)
            if place < 3
            else unmade(number, "failed", "blender_crashed", unit=unit.id)
            for place, number in enumerate(unit.rows)
        ]
        counts = Counter(row.get("verdict") or "made" for row in rows)
        found.commit(route.folders["pairs"], unit, from_rows(rows, PAIRS), counts)
    return found


def pictured(number: int, unit: str) -> dict:
    pair = clip_models.pairs(8)[number]
    return made(
        number, KINDS[number % 4], unit=unit, original_image=encode(pair.before),
        edited_image=encode(pair.after), original_prompt=pair.caption_before, width=40, height=40,
        edited_prompt=pair.caption_after, scores={"change_inside": 0.2},
        objects_before=[], objects_after=[],
    )  # fmt: skip


@pytest.fixture
def job(cluster: None, run: Run, clip: Path, capsys: pytest.CaptureFixture[str]) -> Job:
    """Runs a job on the run; what was printed, or the one line on stderr where `code` is not 0."""

    def generate(*settings: str, rejudge: str | None = None, code: int = 0) -> str:
        arguments = ["rejudge", "--run", run.storage.uri, "--profile", str(rejudge)]
        if rejudge is None:
            arguments = ["generate", "--config", TINY, "--out", run.storage.uri]
            for setting in (
                "routes.blender.unit_size=4", f"clip.model=local-dir:{clip}", "clip.batch=2", "clip.device=cpu",
                "pools.scores.size=1", "pools.scores.num_cpus=0.5", "limits.failed_share=0.5", *settings,
            ):  # fmt: skip
                arguments += ["--set", setting]
        capsys.readouterr()
        assert main(arguments) == code
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    return generate


def digests(run: Run) -> dict[str, str]:
    root = Path(run.storage.uri)
    return {
        str(file.relative_to(root)): sha256(file.read_bytes()).hexdigest() for file in root.rglob("*.parquet")
    }


def rows_of(run: Run, stage: str) -> dict[str, dict]:
    """Current rows by pair id."""
    folder = run.current()["blender"][stage]
    tables = [read_table(run.storage, run.shard_key(folder, unit_id)) for unit_id in run.done(folder)]
    return {row["pair_id"]: row for table in tables for row in table.to_pylist()}


def test_run_is_scored_judged_and_judged_again_without_the_model(run: Run, clip: Path, job: Job) -> None:
    before = digests(run)
    job()
    current = run.current()["blender"]
    assert list(current) == ["pairs", "scores", "verdicts"]
    made_here = {Path(name).parent.name for name in digests(run).keys() - before.keys()}
    assert made_here == {current["scores"], current["verdicts"]} and before.items() <= digests(run).items()
    pairs = rows_of(run, "pairs")
    scored = rows_of(run, "scores")
    assert scored.keys() == {name for name, row in pairs.items() if row["verdict"] is None}
    identity = ClipWeights(f"local-dir:{clip}").identity()
    for row in scored.values():
        assert row["clip_image"] is not None and row["verdict"] is None and row["model"] == identity
    geometry = {name: row["verdict"] for name, row in rows_of(run, "verdicts").items()}
    assert Counter(geometry.values()) == {"accepted": 6, "failed": 2}

    report = json.loads(run.storage.read("report.json"))["routes"]["blender"]["clip"]
    assert report["models"] == {identity: 6} and report["failed"] == {}
    assert {line["kind"]: line["pairs"] for line in report["by_kind"]} == {"move": 2, "add": 2, "recolor": 2}
    for line in report["by_kind"]:
        values = [
            row["clip_image"] for name, row in scored.items() if pairs[name]["edit_kind"] == line["kind"]
        ]
        assert line["clip_image"]["median"] == pytest.approx(np.median(values))
    page = run.storage.read("report.html").decode()
    assert "CLIP scores" in page and "clip_direction" in page

    (clip / "model.safetensors").unlink()
    kept = digests(run)
    job(rejudge="own")
    assert kept.items() <= digests(run).items()
    assert run.current()["blender"] | {"verdicts": ""} == current | {"verdicts": ""}
    fell = {name for name, row in rows_of(run, "verdicts").items() if row["reason"] == "change_unmet"}
    assert {pairs[name]["edit_kind"] for name in fell} == {"add", "recolor"} and len(fell) == 4
    assert {row["profile"] for row in rows_of(run, "verdicts").values()} == {"own"}
    reasons = json.loads(run.storage.read("report.json"))["routes"]["blender"]["reasons"]
    assert reasons["rejected"] == {"change_unmet": 4}
    assert "'paper' is for ViT-L-14/openai" in job(rejudge="paper", code=2)
    job(rejudge="none")
    assert {name: row["verdict"] for name, row in rows_of(run, "verdicts").items()} == geometry


def test_bad_rows_fail_alone_and_are_in_quarantine(run: Run, clip: Path, job: Job) -> None:
    (folder,) = {Path(name).parent.name for name in digests(run)}
    unit = min(run.done(folder))
    rows = read_table(run.storage, run.shard_key(folder, unit)).to_pylist()
    rows[0]["original_prompt"] = " "
    rows[2]["edited_image"] = BROKEN
    run.storage.delete(run.shard_key(folder, unit))
    run.commit(folder, unit, from_rows(rows, PAIRS), {})
    job("filters.clip=own")
    failed = {name: row["reason"] for name, row in rows_of(run, "scores").items() if row["verdict"]}
    assert failed == {f"{unit}-0000000": "no_caption", f"{unit}-0000002": "bad_picture"}
    verdicts = {name: (row["verdict"], row["reason"]) for name, row in rows_of(run, "verdicts").items()}
    assert {name: verdicts[name][1] for name in failed} == failed
    assert verdicts[f"{unit}-0000001"] == ("accepted", None)
    lines = [json.loads(line) for line in run.storage.read("quarantine.jsonl").splitlines()]
    assert {line["pair_id"] for line in lines if line["stage"] == "scores"} == failed.keys()
    assert json.loads(run.storage.read("report.json"))["routes"]["blender"]["clip"]["failed"] == {
        "bad_picture": 1, "no_caption": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["filters.clip=paper"], "filters.clip: 'paper' is for ViT-L-14/openai; allowed with local-dir:"),
        (["clip.model=local-dir:nowhere"], "nowhere/open_clip_config.json: there is no such file"),
        (["clip.model=ViT-L-14"], "clip.model: 'ViT-L-14' is not a model; write ViT-L-14/openai"),
        (["clip.device=cuda"], "pools.scores.num_gpus: is 0, and clip.device is cuda"),
        (["clip.precision=fp16"], "clip.precision: fp16 needs a GPU"),
        (["clip=null", "filters.clip=own"], "filters.clip: 'own' judges CLIP scores: set clip.model"),
    ],
)
def test_wrong_clip_settings_are_one_line_with_code_2_before_any_worker(
    run: Run, job: Job, settings: list[str], expected: str
) -> None:
    before = digests(run)
    line = job(*settings, code=2)
    assert expected in line and line.count("\n") == 1
    assert digests(run) == before


def test_thresholds_of_other_weights_are_refused(clip: Path, job: Job) -> None:
    clip_models.save(clip, seed=1)
    line = job("filters.clip=own", code=2)
    assert "filters.clip: 'own' is for sha256:" in line and "choose its thresholds anew" in line


def test_model_that_does_not_load_ends_the_run_in_one_line(clip: Path, job: Job) -> None:
    (clip / "model.safetensors").write_bytes(b"nonsense")
    line = job(code=1)
    assert "stage 'scores' does not start" in line and "does not load" in line


def test_profile_that_cannot_judge_the_run_is_one_line(run: Run, job: Job) -> None:
    job("clip=null")
    before = digests(run)
    for profile, expected in (
        ("paper", "filters.clip: 'paper' judges CLIP scores: set clip.model"),
        ("Paper!", "--profile Paper!: profile: "),
        ("nowhere.yaml", "nowhere.yaml: there is no such file"),
    ):
        line = job(rejudge=profile, code=2)
        assert expected in line and line.count("\n") == 1
    assert digests(run) == before
