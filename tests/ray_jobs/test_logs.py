"""Lines of log say what they are about, to machines as JSON and to people in brackets."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ray_jobs.driver import run
from ray_jobs.logs import JsonLines, Text, about
from shards.run import Run
from shards.storage import open_storage
from tests.ray_jobs.ray_job_stages import stages, units


def record(message: str = "done in 1.0 s") -> logging.LogRecord:
    return logging.LogRecord("ray_jobs.worker", logging.INFO, __file__, 1, message, (), None)


def test_lines_carry_what_their_block_is_about_and_no_more():
    with about(run="abc", stage=None), about(unit="blender-0000001", stage="pairs"):
        line, text = json.loads(JsonLines().format(record())), Text().format(record())
    assert {key: line[key] for key in ("run", "unit", "stage", "message", "level")} == {
        "run": "abc", "unit": "blender-0000001", "stage": "pairs", "message": "done in 1.0 s", "level": "INFO",
    }  # fmt: skip
    assert text.endswith("ray_jobs.worker: [run=abc unit=blender-0000001 stage=pairs] done in 1.0 s")
    assert "run" not in json.loads(JsonLines().format(record()))
    assert Text().format(record()).endswith("INFO ray_jobs.worker: done in 1.0 s")


def test_a_trace_is_in_the_line_of_its_error():
    try:
        raise KeyError("no such thing")
    except KeyError as error:
        failed = record("failed: of several\nlines")
        failed.exc_info = (type(error), error, error.__traceback__)
    text = JsonLines().format(failed)
    assert "\n" not in text and "Traceback" in json.loads(text)["trace"]


@pytest.mark.usefixtures("cluster")
def test_workers_leave_a_line_of_each_unit_where_ray_keeps_their_output(tmp_path):
    import ray

    run_folder = Run.create_or_open(open_storage(str(tmp_path)), {"seed": "of a run of its own"})
    bad = {"bug": [units(3)[1].id]}
    run(units(3), stages(bad), run_folder)
    logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    texts = [
        text for path in logs.glob("worker-*.err") for text in path.read_text(errors="replace").splitlines()
    ]
    lines = [json.loads(text) for text in texts if text.startswith('{"time"')]
    lines = [line for line in lines if line.get("run") == run_folder.id]
    done = {(line["stage"], line["unit"]) for line in lines if line["message"].startswith("done in")}
    assert done == {(stage, units(3)[n].id) for stage in ("pairs", "verdicts") for n in (0, 2)}
    (failed,) = [line for line in lines if line["level"] == "ERROR"]
    assert (failed["unit"], failed["stage"]) == (units(3)[1].id, "pairs")
    assert "no such thing" in failed["message"] and "Traceback" in failed["trace"]
