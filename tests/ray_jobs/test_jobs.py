"""The commands as a person meets them: one line for what went wrong, the right exit code, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from ray_jobs import recipes
from ray_jobs.__main__ import main
from ray_jobs.driver import Outcome
from shards.lease import Lease
from shards.run import Run
from shards.storage import StorageError, open_storage
from tests.ray_jobs.ray_job_stages import MODULE

TINY = str(Path(__file__).parents[2] / "configs" / "tiny.yaml")


@pytest.fixture
def small_stages(monkeypatch):
    """The jobs with small stages in place of the renderer and the judge, and a report that notes its call."""
    written = []

    def write(run, folders, failures, times):
        assert times.keys() == folders.keys()
        written.append((folders, run.current()))

    monkeypatch.setattr("ray_jobs.report.write", write)
    monkeypatch.setattr(recipes, "STAGES", {"pairs": f"{MODULE}:Rows", "verdicts": f"{MODULE}:Verdicts"})
    return written


def one_line_error(capsys):
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_a_log_that_nothing_was_written_to_is_not_left_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["status", "--run", str(tmp_path / "none")]) == 2
    one_line_error(capsys)
    assert list(tmp_path.iterdir()) == []


def test_help_and_usage_load_no_engine():
    code = (
        "import sys, ray_jobs.__main__, ray_jobs.generate, ray_jobs.status, ray_jobs.config\n"
        "heavy = {'ray', 'torch', 'bpy', 'boto3'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["generate"], ["generate", "--config", TINY, "--limit", "x"]]
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["generate", "--config", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["generate", "--config", TINY, "--set", "seeds=3"], "did you mean 'seed'?"),
        (["generate", "--config", TINY, "--limit", "0"], "--limit 0: must be at least 1"),
        (["generate", "--config", TINY, "--out", "ftp://host/run"], "use a path, file:///path or s3://"),
        (["generate", "--config", TINY, "--set", "routes={}"], "needs at least one route"),
        (["status", "--run", "no/such/run"], "holds no run"),
        (
            ["rejudge", "--run", "no/such/run", "--profile", "nowhere.yaml"],
            "nowhere.yaml: there is no such file",
        ),
        (["prune", "--run", "no/such/run"], "holds no run"),
    ],
)
def test_wrong_input_is_one_line_and_exits_with_2(
    arguments, expected, capsys, small_stages, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert expected in one_line_error(capsys)
    assert list(tmp_path.iterdir()) == []


def test_empty_run_is_done_and_says_so(small_stages, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["generate", "--config", TINY, "--out", str(out), "--set", "routes.blender.units=0"]) == 0
    assert "nothing to make, it has 0 units" in capsys.readouterr().out
    assert not (out / "current.json").exists()


def test_second_job_on_a_run_is_refused_and_changes_nothing(small_stages, tmp_path, capsys, monkeypatch):
    acquire = Lease.acquire
    monkeypatch.setattr(Lease, "acquire", lambda self, steal=False: acquire(self, steal, wait_s=0.1))
    storage = open_storage(str(tmp_path / "run"))
    with Lease(storage).acquire():
        assert main(["generate", "--config", TINY, "--out", storage.uri]) == 1
    assert "another job" in one_line_error(capsys)
    assert not storage.exists("run.yaml")


def test_a_job_that_lost_its_run_says_nothing_is_current(small_stages, tmp_path, capsys, monkeypatch):
    def stolen(units, *_, lost, **__):
        lost.set()
        return Outcome(len(units), 0, len(units), {}, {})

    monkeypatch.setattr("ray_jobs.driver.run", stolen)
    monkeypatch.setattr("ray_jobs.driver.by_first_missing", lambda *_: {})
    assert main(["generate", "--config", TINY, "--out", str(tmp_path / "run")]) == 1
    assert "another job took over this run" in one_line_error(capsys)
    assert not (tmp_path / "run" / "current.json").exists()
    assert small_stages == []


def test_full_disk_before_the_start_is_one_line(small_stages, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise StorageError("disk_full", "no space left: free some, or choose another place")

    monkeypatch.setattr("shards.local.LocalStorage.create", full)
    assert main(["generate", "--config", TINY, "--out", str(tmp_path / "run")]) == 1
    assert "no space left" in one_line_error(capsys)


def test_bucket_that_does_not_exist_is_one_line_and_exits_with_2(small_stages, s3, capsys):
    assert main(["generate", "--config", TINY, "--out", "s3://no-such-bucket-here/run"]) == 2
    assert "bucket does not exist" in one_line_error(capsys)


def test_unexpected_error_is_one_line_that_names_the_log_with_its_trace(
    small_stages, tmp_path, capsys, monkeypatch
):
    def broken(*_, **__):
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(recipes, "routes", broken)
    assert main(["generate", "--config", TINY, "--out", str(tmp_path / "run")]) == 1
    line = one_line_error(capsys)
    assert "unexpected LookupError: nobody thought of this" in line
    log = Path(line.rpartition("(log: ")[2].rstrip(")\n"))
    assert "Traceback" in log.read_text()


@pytest.mark.usefixtures("cluster")
def test_run_rejudged_and_pruned_keeps_its_pairs(small_stages, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["generate", "--config", TINY, "--out", str(out)]) == 0
    run = Run.open(open_storage(str(out)))
    first = run.current()["blender"]
    # current.json is put before the report is written, and after everything else
    assert small_stages == [({"blender": first}, {"blender": first})]
    described = yaml.safe_load((out / "run.yaml").read_text())
    assert described["packages"]["ray"]
    assert described["execution"]["pools"]["pairs"]["size"] == 1
    assert sum(run.counts(first["verdicts"]).values()) == 4
    assert {report.stage for report in run.reports()} == {"pairs", "verdicts"}
    capsys.readouterr()

    assert main(["status", "--run", str(out)]) == 0
    status = capsys.readouterr().out
    assert f"{first['pairs']}" in status
    assert "2/2 units" in status
    assert "accepted" in status

    profile = tmp_path / "strict.yaml"
    profile.write_text("profile: strict\ngeometry: {centre_error: 0.002}")
    pairs = {path.name: path.stat().st_mtime_ns for path in (out / first["pairs"]).iterdir()}
    assert main(["rejudge", "--run", str(out), "--profile", str(profile)]) == 0
    second = run.current()["blender"]
    assert second["pairs"] == first["pairs"]
    assert second["verdicts"] != first["verdicts"]
    assert {path.name: path.stat().st_mtime_ns for path in (out / first["pairs"]).iterdir()} == pairs

    capsys.readouterr()
    assert main(["prune", "--run", str(out)]) == 2  # nobody to ask
    assert "--yes" in one_line_error(capsys)
    assert main(["prune", "--run", str(out), "--yes"]) == 0
    assert {folder.name for folder in out.iterdir() if folder.is_dir()} >= set(second.values())
    assert not list((out / first["verdicts"]).glob("*.parquet"))
    assert len(list((out / second["verdicts"]).glob("*.parquet"))) == 2
    assert json.loads((out / "current.json").read_text())["blender"] == second


def test_status_says_how_many_units_edits_and_pairs_from_words_are_to_have(tmp_path, capsys):
    routes = {"blender": None, "edits": {"units": 3}, "p2p": {"model": {"model": "somewhere"}}}
    run = Run.create_or_open(open_storage(str(tmp_path)), {"routes": routes})
    for folder, unit in (("edits-0000000a", "edits-0000000"), ("pairs-p2p-0000000b", "p2p-0000000")):
        run.commit(folder, unit, pa.table({"x": [1]}), {"made": 1})
    assert main(["status", "--run", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[1] for line in lines if "units" in line] == ["1/3", "1/3"]


def test_stage_folders_change_with_what_shapes_rows_and_with_nothing_else(small_stages):
    from ray_jobs.config import load

    def folders(*overrides):
        return recipes.routes(load(TINY, overrides))[0].folders

    base = folders()
    for harmless in (
        "pools.pairs.size=2", "out=elsewhere", "routes.blender.units=9", "limits.failed_share=0.5",
        "routes.blender.render.threads=4", "routes.blender.recycle.scenes=5",
    ):  # fmt: skip
        assert folders(harmless) == base, harmless
    for shaping in ("seed=8", "routes.blender.unit_size=3", "routes.blender.render.samples=2"):
        changed = folders(shaping)
        assert changed["pairs"] != base["pairs"], shaping
        assert changed["verdicts"] != base["verdicts"], shaping
    strict = folders("filters.geometry.centre_error=0.002")
    assert strict["pairs"] == base["pairs"]
    assert strict["verdicts"] != base["verdicts"]


def test_rejudging_makes_no_pairs(small_stages, tmp_path, capsys):
    """Not those that `--limit` left out, and not those of a run that never ended."""
    out, profile = tmp_path / "run", tmp_path / "strict.yaml"
    profile.write_text("profile: strict")
    assert main(["generate", "--config", TINY, "--out", str(out), "--limit", "1"]) == 0
    run = Run.open(open_storage(str(out)))
    pairs = run.current()["blender"]["pairs"]
    assert main(["rejudge", "--run", str(out), "--profile", str(profile)]) == 0
    assert run.current()["blender"]["pairs"] == pairs
    assert run.done(pairs) == run.done(run.current()["blender"]["verdicts"]) == {"blender-0000000"}

    (out / "current.json").unlink()
    capsys.readouterr()
    assert main(["rejudge", "--run", str(out), "--profile", str(profile)]) == 2
    assert "no finished route" in one_line_error(capsys)


def test_longer_run_or_other_profile_is_the_same_run(small_stages, tmp_path):
    out, ids = tmp_path / "run", set()
    for change in ("routes.blender.units=0", "filters.profile=other", "limits.failed_share=0.5"):
        changes = ["--set", "routes.blender.units=0", "--set", change]
        assert main(["generate", "--config", TINY, "--out", str(out), *changes]) == 0
        ids.add(Run.open(open_storage(str(out))).id)
    assert len(ids) == 1
    changes = ["--set", "routes.blender.units=0", "--set", "seed=8"]
    assert main(["generate", "--config", TINY, "--out", str(out), *changes]) == 0
    assert Run.open(open_storage(str(out))).id not in ids
