"""A cluster on this machine whose nodes are processes: they come when they are asked for and go when they are idle, by
Ray's own autoscaler, its second version. The node types are those of a `cluster.yaml`, with other resources.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

ROOT = Path(__file__).parent.parent
_MODULE = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
_STORE = 100_000_000  # bytes of each node's object store
_HEAD = "ray.head.default"  # the only name that this provider has for it
_LISTS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
)  # fmt: skip


def fake_types(
    cluster: Mapping[str, Any], resources: Mapping[str, Mapping[str, float]], most: int = 2
) -> dict[str, Any]:
    """Node types of a `cluster.yaml`, as processes of this machine. resources: by the value of the label
    `spatialpix/role`; types of other roles are left out. most: nodes of a type."""
    return {
        name: {
            "resources": {**resources[role], "object_store_memory": _STORE},
            "labels": node["labels"],
            "priority": node.get("priority", 0),
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
        }
        for name, node in cluster["available_node_types"].items()
        if (role := node["labels"]["spatialpix/role"]) in resources
    }


def shipped() -> dict[str, Any]:
    """The project's `cluster.yaml`."""
    return dict(yaml.safe_load((ROOT / "cluster.yaml").read_text()))


class FakeCluster:
    """address: of Ray. ours: the processes of the cluster, those of its nodes among them."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, folder: Path) -> None:
        self.process, self.address, self._folder = process, address, folder

    def session(self) -> Path:
        """Ray's folder of this cluster."""
        return self._folder / "ray" / "session_latest"

    def raylets(self) -> list[psutil.Process]:
        """Of nodes that came by demand: not of the head."""
        found = []
        for process in psutil.process_iter(["name", "cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if process.info["name"] == "raylet" and self.address in line and "--head" not in line.split():
                found.append(process)
        return found

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def fake_cluster(
    types: Mapping[str, Any], folder: Path, idle_minutes: float = 0.1, more: Mapping[str, str] | None = None
) -> Iterator[FakeCluster]:
    """A head without CPUs, and nodes of the types when they are asked for. more: of the environment of all its
    processes. Ends all that it began."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ip = ray.util.get_node_ip_address()
    config = {
        "cluster_name": "fake",
        "max_workers": sum(node["max_workers"] for node in types.values()),
        "provider": {
            "type": "external", "module": _MODULE, "use_node_id_as_ip": True, "disable_node_updaters": True,
            "disable_launch_config_check": True, "gcs_address": f"{ip}:{port}", "launch_multiple": True,
            "head_node_id": FAKE_HEAD_NODE_ID,
        },
        "available_node_types": {
            **types, _HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        },
        "head_node_type": _HEAD,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "upscaling_speed": 4.0,
        "idle_timeout_minutes": idle_minutes,
        **{name: [] for name in _LISTS},
    }  # fmt: skip
    written = folder / "fake_cluster.json"
    written.write_text(json.dumps(config))
    environment = os.environ | {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT), **(more or {}),
    }  # fmt: skip
    command = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=0",
        f"--autoscaling-config={written}", "--include-dashboard=false", f"--object-store-memory={_STORE}",
        "--disable-usage-stats",
    ]  # fmt: skip
    with (folder / "fake_cluster.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=ROOT
        )
    cluster = FakeCluster(process, f"{ip}:{port}", Path(environment.get("RAY_TMPDIR", "/tmp")))
    try:
        _wait(process, ip, port, folder / "fake_cluster.log")
        yield cluster
    finally:
        _end(cluster)


def _wait(process: subprocess.Popen[bytes], ip: str, port: int, log: Path, patience_s: float = 90) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the cluster ended at once: {log.read_text()[-2000:]}")
        try:
            socket.create_connection((ip, port), 1).close()
        except OSError:
            time.sleep(0.3)
        else:
            time.sleep(3)  # the autoscaler starts after the port is open
            return
    raise TimeoutError(f"no cluster at {ip}:{port} after {patience_s:.0f} s")


def _end(cluster: FakeCluster) -> None:
    """Nodes are in sessions of their own: each is ended by its number."""
    processes = [*cluster.descendants(), *cluster.raylets()]
    if cluster.process.poll() is None:
        os.killpg(cluster.process.pid, signal.SIGTERM)
        try:
            cluster.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(cluster.process.pid, signal.SIGKILL)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
