"""What opens a bucket stays where it was given: not in the run folder, not in logs, not in metrics."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from ray_jobs import recipes
from ray_jobs.__main__ import main
from shards.storage import open_storage
from tests.ray_jobs.ray_job_stages import MODULE
from tests.ray_jobs.test_jobs import TINY


@pytest.mark.usefixtures("cluster")
def test_no_credential_is_in_the_run_folder_logs_or_metrics(s3, monkeypatch, capsys):
    import ray

    monkeypatch.setattr(recipes, "STAGES", {"pairs": f"{MODULE}:Rows", "verdicts": f"{MODULE}:Verdicts"})
    monkeypatch.setattr("ray_jobs.report.write", lambda *_: None)
    uri = s3.uri("kept-secret")
    prices = ["--set", "prices={other: 1}"]
    assert main(["generate", "--config", TINY, "--out", uri, *prices]) == 0
    storage = open_storage(uri)
    texts = {entry.key: storage.read(entry.key) for entry in storage.list()}
    assert {"run.yaml", "current.json"} <= texts.keys()
    printed = capsys.readouterr()
    texts |= {"stdout": printed.out.encode(), "stderr": printed.err.encode()}
    logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    texts |= {str(path): path.read_bytes() for path in logs.rglob("*") if path.is_file()}
    assert any(b"ray_jobs.worker" in text for text in texts.values())  # our own lines are among them
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    texts["metrics"] = urllib.request.urlopen(url, timeout=10).read()
    told = [name for name, text in texts.items() if s3.secret_key.encode() in text]
    assert told == []
