"""The first route from the command line to the report, with real Ray, real Blender and a real S3 server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import duckdb
import psutil
import pytest

from ray_jobs.__main__ import main
from ray_jobs.report_page import REASONS
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table
from tests.renderers.test_worker import entry

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "configs" / "tiny.yaml")
UNITS, SIZE = 4, 2
SETTINGS = [f"routes.blender.units={UNITS}", f"routes.blender.unit_size={SIZE}"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ray_jobs", *arguments]


def generate(out: object, *settings: str, options: Sequence[str] = (), config: str = TINY) -> list[str]:
    sets = [part for setting in [*SETTINGS, *settings] for part in ("--set", setting)]
    return command("generate", "--config", config, "--out", str(out), *sets, *options)


def done(arguments: list[str], code: int = 0, **environment: str | None) -> str:
    """Runs to the end; what was printed, or where `code` is not 0 the one line on stderr."""
    kept = {**os.environ, **environment}
    ended = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, timeout=280,
        env={name: value for name, value in kept.items() if value is not None and name != "RAY_ADDRESS"},
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout[-2000:] + ended.stderr[-2000:]
    if code == 0:
        return ended.stdout
    assert "Traceback" not in ended.stdout
    return only_line(ended.stderr)


def only_line(error: str) -> str:
    """What a job says on stderr when it fails; Ray announces its own log level there before."""
    lines = [line for line in error.splitlines() if "Set ray log level" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: "), error
    return lines[0]


@pytest.fixture
def here(cluster: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """As `done`, in this process and on the Ray that tests share: no time for starts."""

    def run(arguments: list[str], code: int = 0) -> str:
        capsys.readouterr()
        assert main(arguments[3:]) == code
        printed = capsys.readouterr()
        if code == 0:
            return printed.out
        return only_line(printed.err)

    return run


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A job in the background; whatever it started is gone afterwards."""
    job = subprocess.Popen(
        arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    )  # fmt: skip
    family: set[psutil.Process] = set()
    job.family = family  # type: ignore[attr-defined]
    try:
        yield job
    finally:
        with suppress(psutil.NoSuchProcess):
            family |= set(psutil.Process(job.pid).children(recursive=True))
        job.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=20)
        job.communicate()


def wait_for(what, job: subprocess.Popen[str]):
    """The first true value of `what()` while the job lives."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if found := what():
            return found
        if job.poll() is not None:
            pytest.fail(f"the job ended with {job.returncode}: {job.communicate()[1][-2000:]}")
        with suppress(psutil.NoSuchProcess):
            job.family |= set(psutil.Process(job.pid).children(recursive=True))
        time.sleep(0.05)
    pytest.fail("waited in vain")


def shards(run: object, stage: str) -> list[Path]:
    return sorted(Path(str(run)).glob(f"{stage}-blender-*/part-*.parquet"))


def digests(run: object) -> dict[str, str]:
    """Every shard by its content."""
    root = Path(str(run))
    return {
        str(file.relative_to(root)): sha256(file.read_bytes()).hexdigest() for file in root.rglob("*.parquet")
    }


def rows_of(uri: object, stage: str) -> list[dict]:
    """All current rows, by pair id."""
    run = Run.open(open_storage(str(uri)))
    folder = run.current()["blender"][stage]
    found = []
    for unit_id in run.done(folder):
        found += read_table(run.storage, run.shard_key(folder, unit_id)).to_pylist()
    return sorted(found, key=lambda row: row["pair_id"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed; only to be read."""
    out = tmp_path_factory.mktemp("whole") / "run"
    printed = done(generate(out))
    assert f"{UNITS}/{UNITS} units" in printed and "done in" in printed and "Traceback" not in printed
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(whole, tmp_path / "run")


def assert_equal_runs(uri: object, whole: Path) -> None:
    """The same pairs, row by row, images included, and the same verdicts."""
    for stage in ("pairs", "verdicts"):
        rows, expected = rows_of(uri, stage), rows_of(whole, stage)
        assert [row["pair_id"] for row in rows] == [row["pair_id"] for row in expected]
        assert rows == expected
    storage = open_storage(str(uri))
    assert not list(storage.list("attempts/"))
    assert storage.exists("report.html")


# -- an undisturbed run -------------------------------------------------------------------------------


def test_a_run_leaves_pairs_verdicts_and_what_points_at_them(whole: Path) -> None:
    current = json.loads((whole / "current.json").read_text())
    assert current.keys() == {"blender"} and current["blender"].keys() == {"pairs", "verdicts"}
    for stage, folder in current["blender"].items():
        assert [file.name for file in shards(whole, stage)] == [
            f"part-blender-{index:07d}.parquet" for index in range(UNITS)
        ]
        assert {file.parent.name for file in shards(whole, stage)} == {folder}
    ids = [row["pair_id"] for row in rows_of(whole, "pairs")]
    assert ids == [f"blender-{row // SIZE:07d}-{row:07d}" for row in range(UNITS * SIZE)]
    assert ids == [row["pair_id"] for row in rows_of(whole, "verdicts")]
    assert not list(open_storage(str(whole)).list("attempts/"))
    assert json.loads((whole / "lease.json").read_text())["released"]
    described = (whole / "run.yaml").read_text()
    assert "bpy:" in described and "threads: 1" in described


def test_the_report_counts_what_another_reader_finds_in_the_shards(whole: Path) -> None:
    report = json.loads((whole / "report.json").read_text())
    totals, route = report["totals"], report["routes"]["blender"]
    assert totals["tried"] == UNITS * SIZE
    assert sum(totals[name] for name in ("accepted", "rejected", "failed", "undecided")) == totals["tried"]
    assert totals["failed"] == totals["undecided"] == 0 < totals["accepted"]
    assert route["units"] == {"done": UNITS, "decided": UNITS, "failed": 0}
    for verdict in ("accepted", "rejected", "failed"):
        assert sum(line[verdict] for line in route["by_kind"]) == totals[verdict]
        if verdict != "accepted":
            assert sum(route["reasons"][verdict].values()) == totals[verdict]
            assert route["reasons"][verdict].keys() <= REASONS.keys()
    assert 0 < route["cycles_share"] <= 1 and totals["pairs_per_minute"] > 0
    assert route["scenes"]["drawn"] >= route["scenes"]["made"] == totals["made"]

    folders = report["routes"]["blender"]["folders"]
    with duckdb.connect() as database:
        sql = """
            select v.verdict, count(*), sum(p.image_bytes), sum(octet_length(p.original_image.bytes)
            + octet_length(p.edited_image.bytes))
            from read_parquet(?) p join read_parquet(?) v using (pair_id) group by 1
        """
        files = [f"{whole}/{folders[stage]}/*.parquet" for stage in ("pairs", "verdicts")]
        found = {verdict: rest for verdict, *rest in database.execute(sql, files).fetchall()}
    assert {verdict: rest[0] for verdict, rest in found.items()} == {
        verdict: totals[verdict] for verdict in ("accepted", "rejected") if totals[verdict]
    }
    assert sum(rest[1] or 0 for rest in found.values()) == totals["image_bytes"]
    assert all(rest[1] == rest[2] for rest in found.values())
    assert (whole / "quarantine.jsonl").read_text() == ""
    page = (whole / "report.html").read_text()
    assert page.count("data:image/") >= 2 * len([line for line in route["by_kind"] if line["accepted"]])


def test_pairs_open_as_pictures_in_datasets(whole: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    files = [str(file) for file in shards(whole, "pairs")]
    pairs = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    made = [row for row in pairs if row["verdict"] is None]
    assert made and all(row["original_image"].size == row["edited_image"].size == (64, 64) for row in made)


def test_a_run_submitted_again_continues_at_once_and_changes_nothing(run: Path) -> None:
    before, report = digests(run), json.loads((run / "report.json").read_text())
    printed = done(generate(run))
    assert f"{UNITS} of {UNITS} units were done before" in printed
    assert digests(run) == before
    again = json.loads((run / "report.json").read_text())
    assert again["totals"] == report["totals"] and again["routes"] == report["routes"]
    assert f"{UNITS}/{UNITS} units" in done(command("status", "--run", str(run)))


def test_a_lost_shard_is_made_again_the_same_and_the_others_stay(run: Path, whole: Path, here) -> None:
    before = digests(run)
    lost = [shards(run, stage)[1] for stage in ("pairs", "verdicts")]
    for file in lost:
        file.unlink()
    here(generate(run))
    names = {str(file.relative_to(run)) for file in lost}
    assert {name: digest for name, digest in digests(run).items() if name not in names} == {
        name: digest for name, digest in before.items() if name not in names
    }
    assert_equal_runs(run, whole)


def test_another_profile_makes_other_verdicts_and_leaves_the_pairs(run: Path, tmp_path: Path, here) -> None:
    before, first = digests(run), Run.open(open_storage(str(run))).current()["blender"]
    profile = tmp_path / "strict.yaml"
    profile.write_text("profile: strict\ngeometry: {change_inside: 1.0}\n")
    here(command("rejudge", "--run", str(run), "--profile", str(profile)))
    second = Run.open(open_storage(str(run))).current()["blender"]
    assert second["pairs"] == first["pairs"] and second["verdicts"] != first["verdicts"]
    after = digests(run)
    assert before.items() <= after.items()
    assert {Path(name).parent.name for name in after.keys() - before.keys()} == {second["verdicts"]}
    verdicts = rows_of(run, "verdicts")
    assert {row["profile"] for row in verdicts} == {"strict"}
    assert "nothing_to_see" in {row["reason"] for row in verdicts}
    report = json.loads((run / "report.json").read_text())
    assert report["routes"]["blender"]["folders"] == second
    assert report["totals"]["rejected"] == sum(row["verdict"] == "rejected" for row in verdicts)


# -- what is killed, and who else is there ------------------------------------------------------------


def test_worker_and_driver_killed_in_mid_run_lose_nothing(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(generate(out)) as job:
        blender = wait_for(lambda: next(blenders(job), None), job)
        worker = blender.parent()
        assert worker is not None and worker.pid != job.pid
        worker.kill()
        wait_for(lambda: shards(out, "pairs"), job)
        job.kill()
        job.wait(30)
    kept = digests(out)
    assert not (out / "current.json").exists()
    assert len(shards(out, "pairs")) >= 1 and len(kept) < 2 * UNITS
    printed = done(generate(out))
    assert "done in" in printed
    assert kept.items() <= digests(out).items()
    assert_equal_runs(out, whole)


def blenders(job: subprocess.Popen[str]) -> Iterator[psutil.Process]:
    """Blender processes of a job."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(job.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if "renderers.blender" in process.cmdline():
                    yield process


@pytest.mark.slow
def test_a_second_job_is_refused_while_the_first_lives_and_may_take_over(tmp_path: Path) -> None:
    out = tmp_path / "run"
    long = generate(out, "routes.blender.units=1000")
    with started(long) as first:
        wait_for(lambda: shards(out, "verdicts"), first)
        line = done(long, code=1)
        assert (
            "another job (" in line and "works on this run: wait for its end, stop it, or take over" in line
        )
        assert first.poll() is None
        with started([*long, "--steal"]) as second:
            _, error = first.communicate(timeout=120)
            assert first.returncode == 1
            assert only_line(error).startswith("error: another job took over this run")
            made = len(shards(out, "verdicts"))
            wait_for(lambda: len(shards(out, "verdicts")) > made, second)
            second.send_signal(signal.SIGTERM)
            _, error = second.communicate(timeout=120)
        assert second.returncode == 1
        assert only_line(error).startswith("error: stopped; what is done stays done")
    assert not list(open_storage(str(out)).list("attempts/"))
    made = len(shards(out, "pairs"))
    done(generate(out, "routes.blender.units=1000", options=["--limit", str(made)]))
    assert len({row["pair_id"] for row in rows_of(out, "pairs")}) >= made * SIZE


@pytest.mark.slow
def test_a_longer_run_keeps_the_units_of_a_shorter_one(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done(generate(out, options=["--limit", "1"]))
    assert len(shards(out, "pairs")) == len(shards(out, "verdicts")) == 1
    first = digests(out)
    done(generate(out))
    assert first.items() <= digests(out).items()
    assert_equal_runs(out, whole)


def test_a_run_on_s3_has_the_same_pairs_as_one_on_disk(whole: Path, s3) -> None:
    uri = s3.uri("test-generate/run")
    done(generate(uri))
    assert_equal_runs(uri, whole)
    assert f"{UNITS}/{UNITS} units" in done(command("status", "--run", uri))


# -- what people get wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: [7\n", "not valid YAML"),
        ("seed: 7\nout: x\nroutes: {blender: {units: 1, unit_sise: 2}}\n", "did you mean 'unit_size'?"),
        ("seed: 7\nout: x\nroutes: {blender: {units: 1, image_size: 8}}\n", "image_size"),
        (None, "there is no such file"),
    ],
    ids=["broken YAML", "unknown key", "out of range", "missing file"],
)
def test_a_wrong_configuration_is_one_line_with_code_2_and_touches_nothing(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    config = tmp_path / "config.yaml"
    if text is not None:
        config.write_text(text)
    line = done(command("generate", "--config", str(config), "--out", str(tmp_path / "run")), code=2)
    assert expected in line and str(config) in line
    assert not (tmp_path / "run").exists()


def test_an_empty_run_is_done_and_a_later_one_may_fill_it(tmp_path: Path) -> None:
    printed = done(generate(tmp_path / "run", "routes.blender.units=0"))
    assert "nothing to make, it has 0 units" in printed
    assert not (tmp_path / "run" / "current.json").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no file"),
        ("assets: [{id: X}]", "assets.0.id"),
        ("assets: [", "not YAML"),
    ],
    ids=["missing mesh", "wrong entry", "broken YAML"],
)
def test_a_wrong_catalogue_is_one_line_with_code_2_before_any_worker(
    run: Path, tmp_path: Path, content: str | None, expected: str
) -> None:
    before = digests(run)
    catalogue = tmp_path / "assets.yaml"
    catalogue.write_text(content or entry())
    line = done(generate(run, f"routes.blender.assets={catalogue}"), code=2)
    assert expected in line and "routes.blender.assets" in line
    assert digests(run) == before


def test_a_corrupt_asset_ends_the_run_in_one_line_and_costs_nothing_that_was_made(
    run: Path, tmp_path: Path, here
) -> None:
    before, current = digests(run), (run / "current.json").read_text()
    (tmp_path / "assets.yaml").write_text(entry(file="block.glb"))
    (tmp_path / "block.glb").write_bytes(b"glTF nonsense")
    line = here(generate(run, f"routes.blender.assets={tmp_path / 'assets.yaml'}"), code=2)
    assert "routes.blender.assets: asset" in line and "block.glb is not a binary glTF file" in line
    assert digests(run) == before and (run / "current.json").read_text() == current
    assert not list(open_storage(str(run)).list("attempts/"))


def test_buckets_and_credentials_that_are_wrong_are_one_line(s3) -> None:
    line = done(generate("s3://no-such-bucket-here/run"), code=2)
    assert "the bucket does not exist: create it, or correct its name" in line
    line = done(generate(s3.uri("run")), code=1, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line
    line = done(generate(s3.uri("run")), code=1, AWS_SECRET_ACCESS_KEY="not-the-secret")
    assert "the secret is wrong: check AWS_SECRET_ACCESS_KEY" in line


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_and_loses_nothing(whole: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        filler = disk / "filler"
        filler.write_bytes(b"x" * (150 << 10))  # room for the run's own files, not for all shards
        line = done(generate(disk / "run"), code=1)
        assert "no space left: free some, or choose another place" in line
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        kept = digests(disk / "run")
        done(generate(disk / "run"))
        assert kept.items() <= digests(disk / "run").items()
        assert_equal_runs(disk / "run", whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
