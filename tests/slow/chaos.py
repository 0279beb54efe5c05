"""A run of which something dies all the time: `python -m tests.slow.chaos URI UNITS SETTINGS` is its driver, `Chaos`
what disturbs it. What dies is a fixed budget, in an order that a seed shuffles, and strikes by the run's progress.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ray_jobs.config import Limits, Pool
from ray_jobs.driver import StageSpec, run
from shards.lease import Lease
from shards.run import Run
from shards.storage import open_storage
from tests.fake_cluster import ROOT, FakeCluster
from tests.ray_jobs.ray_job_stages import MODULE, PAIRS, VERDICTS, units
from tests.s3_server import FaultyProxy

LIMITS = Limits(unit_floor_s=45, unit_slowdown=10, unit_first_s=60, failures_in_a_row=100)
FULL = {"worker": 29, "node": 8, "driver": 7}  # for 1500 units
LEAST = {"worker": 4, "node": 1, "driver": 1}
FAULTS = ("503", "drop", "lose", "slow")
WHOLE, MISSING = 0, 3
APART_S, FAULT_S, STALL_S = 5.0, 2.0, 120.0
_ARMED = 3  # of the strikes at workers every third falls into a commit
_TAIL = 6000  # characters of a log


def specs(settings: Mapping[str, Any]) -> list[StageSpec]:
    """Two stages on two kinds of nodes."""
    pairs = Pool(size=4, num_cpus=1, labels={"spatialpix/role": "blender"})
    verdicts = Pool(size=2, num_cpus=1, labels={"spatialpix/role": "diffusion"})
    calm = {"noted": settings["noted"]}
    return [
        StageSpec("pairs", f"{MODULE}:Rows", settings, PAIRS, pairs),
        StageSpec("verdicts", f"{MODULE}:Verdicts", calm, VERDICTS, verdicts),
    ]


def strikes_of(count: int, seed: int) -> list[str]:
    """In the order in which they come."""
    budget = {kind: max(LEAST[kind], round(n * count / 1500)) for kind, n in FULL.items()}
    found = [kind for kind, n in budget.items() for _ in range(n)]
    random.Random(seed).shuffle(found)
    return found


class Notes:
    """What stages wrote into the file of the setting `noted`, so far."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0
        # processes, by stage and unit
        self.begun: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.ended: set[tuple[str, str, int]] = set()
        self.at_work: dict[int, tuple[str, str]] = {}  # by process: those that died are still there

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            what, stage, unit, process, _ = line.split()
            pid = int(process)
            if what == "begin":
                self.begun[stage, unit].append(pid)
                self.at_work[pid] = stage, unit
            else:
                self.ended.add((stage, unit, pid))
                self.at_work.pop(pid, None)

    def twice(self, excused: Collection[str]) -> int:
        """How often a unit of a stage was begun again; but for those units."""
        return sum(len(pids) - 1 for (_, unit), pids in self.begun.items() if unit not in excused)

    def unexplained(
        self, killed: Collection[int], overslept: Collection[int], excused: Collection[str]
    ) -> list[str]:
        """Units that were begun again although nothing had ended the process that was at them."""
        found = []
        for (stage, unit), pids in self.begun.items():
            for before, after in itertools.pairwise(pids):
                died = before in killed and (stage, unit, before) not in self.ended
                if not (died or before in overslept or unit in excused):
                    found.append(f"{stage} {unit}: begun by {before}, and again by {after}")
        return found


class HoldingProxy(FaultyProxy):
    """Counts commits, and holds one, before or after it is forwarded, until its sender is dead."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.commits = 0
        self.last_commit = time.monotonic()
        self._armed: str | None = None
        self._caught: int | None = None
        self._go_on = threading.Event()
        self._counting = threading.Lock()

    def arm(self, when: str) -> None:
        """when: "before" or "after"."""
        self._go_on.clear()
        self._armed = when

    @property
    def caught(self) -> int | None:
        """The port of the sender of the commit that is held."""
        return self._caught

    def let_go(self) -> None:
        self._caught = None
        self._go_on.set()

    def arrived(self, request: str, port: int) -> bool:
        return not (_is_commit(request) and self._hold("before", port))

    def answered(self, request: str, port: int, status: int) -> None:
        if not _is_commit(request):
            return
        if status == 200:
            with self._counting:
                self.commits += 1
                self.last_commit = time.monotonic()
            self._hold("after", port)

    def _hold(self, when: str, port: int) -> bool:
        with self._counting:
            if self._armed != when:
                return False
            self._armed, self._caught = None, port
        self._go_on.wait(30)
        return True


def _is_commit(request: str) -> bool:
    return request.startswith("PUT ") and "/part-" in request


@dataclass
class Disturbed:
    """kills: by kind. killed: processes. flying: units that were in work where it struck. faults: of the storage that
    were met, by kind. drivers, nodes: that were started. seconds: of all."""

    kills: Counter[str] = field(default_factory=Counter)
    killed: set[int] = field(default_factory=set)
    flying: int = 0
    drivers: int = 0
    nodes: set[int] = field(default_factory=set)
    seconds: float = 0.0


@dataclass
class Chaos:
    """Starts drivers until one says that all is done, and strikes meanwhile."""

    cluster: FakeCluster
    proxy: HoldingProxy
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    notes: Notes
    strikes: Sequence[str]
    commits: int  # of the whole run
    seed: int
    deadline_s: float
    spared: Collection[str]  # units that hang: their end is for the watchdog, and strikes wait for it

    def __post_init__(self) -> None:
        self.found = Disturbed()
        self._rng = random.Random(self.seed + 1)
        self._left = list(self.strikes)
        self._driver: subprocess.Popen[bytes] | None = None
        self._before_driver = 0  # commits
        self._struck = time.monotonic()
        self._over = threading.Event()

    def run(self) -> Disturbed:
        """Raises AssertionError for a driver that ends by itself, and where nothing goes on."""
        began = self.proxy.last_commit = time.monotonic()
        threading.Thread(target=self._storage_fails, daemon=True).start()
        try:
            while (code := self._step()) != WHOLE:
                assert code in (None, MISSING), f"a driver ended with {code}:\n{_tail(self.log)}"
                if time.monotonic() - self.proxy.last_commit > STALL_S:
                    self._fail(f"no commit for {STALL_S:.0f} s")
                if time.monotonic() - began > self.deadline_s:
                    self._fail(f"not whole after {self.deadline_s:.0f} s")
                time.sleep(0.2)
        finally:
            self._over.set()
            self.proxy.let_go()
            if self._driver is not None and self._driver.poll() is None:
                self._driver.kill()
                self._driver.wait()
        self.notes.read()
        self.found.seconds = time.monotonic() - began
        return self.found

    def _step(self) -> int | None:
        """The exit code of a driver that ended by itself."""
        self.notes.read()
        self.found.nodes |= {node.pid for node in self.cluster.raylets()}
        if self._driver is None:
            self._start()
        elif (code := self._driver.poll()) is not None:
            self._driver = None
            return code
        elif self._left and self._due():
            kind = next((kind for kind in dict.fromkeys(self._left) if self._strike(kind)), None)
            if kind is not None:
                self._left.remove(kind)
                self._say(kind)
        return None

    def _start(self) -> None:
        environment = {
            **os.environ, **self.environment, "RAY_ADDRESS": self.cluster.address, "RAY_AUTH_MODE": "disabled",
            "PYTHONFAULTHANDLER": "1",
        }  # fmt: skip
        with self.log.open("ab") as out:
            self._driver = subprocess.Popen(
                self.command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True, env=environment
            )
        self.found.drivers += 1
        self._before_driver = self.proxy.commits

    def _due(self) -> bool:
        done = len(self.strikes) - len(self._left)
        reached = self.commits * (done + 1) / (len(self.strikes) + 2)
        return self.proxy.commits >= reached and time.monotonic() - self._struck >= APART_S

    def _strike(self, kind: str) -> bool:
        """False: not now."""
        if kind != "worker" and any(unit in self.spared for _, unit in self._busy().values()):
            return False
        return {"worker": self._at_worker, "node": self._at_node, "driver": self._at_driver}[kind]()

    def _at_worker(self) -> bool:
        number = self.found.kills["worker"] + 1
        if number % _ARMED == 0:
            return self._at_commit("before" if number % (2 * _ARMED) else "after")
        busy = [pid for pid, (_, unit) in self._busy().items() if unit not in self.spared]
        return bool(busy) and self._kill([self._rng.choice(busy)])

    def _busy(self) -> dict[int, tuple[str, str]]:
        """What is in work, by process."""
        return {
            pid: what
            for pid, what in self.notes.at_work.items()
            if pid not in self.found.killed and psutil.pid_exists(pid)
        }

    def _at_commit(self, when: str) -> bool:
        port = self.proxy.caught
        if port is None:
            self.proxy.arm(when)
            until = time.monotonic() + 10
            while (port := self.proxy.caught) is None and time.monotonic() < until:
                time.sleep(0.02)
        sender = None if port is None else _sender(port)
        struck = sender is not None and self._kill([sender])
        self.proxy.let_go()
        return struck

    def _at_node(self) -> bool:
        """A machine goes with all that is on it, and what goes first cannot tell of the rest."""
        busy = set(self.notes.at_work)
        nodes = [(node, _below(node)) for node in self.cluster.raylets()]
        nodes = [(node, below) for node, below in nodes if busy & set(below)]
        if not nodes:
            return False
        node, below = self._rng.choice(nodes)
        return self._kill([node.pid, *below])

    def _at_driver(self) -> bool:
        if self._driver is None or self.proxy.commits == self._before_driver:
            return False
        before = self._workers()
        self._driver.kill()
        self._driver.wait()
        self._driver = None
        workers = before | self._workers()  # Ray ends them in its own time
        self.found.killed |= workers
        self.notes.read()
        self.found.flying += sum(pid in self.notes.at_work for pid in workers)  # those that wait lose nothing
        return True

    def _workers(self) -> set[int]:
        return {
            pid for node in self.cluster.raylets() for pid in _below(node)
            if pid in self.notes.at_work or "UnitWorker" in _title(pid)
        }  # fmt: skip

    def _kill(self, pids: Sequence[int]) -> bool:
        for pid in pids:
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue
        self.found.killed |= set(pids)
        time.sleep(0.2)
        self.notes.read()
        self.found.flying += sum(pid in self.notes.at_work for pid in pids)
        return True

    def _say(self, kind: str) -> None:
        self.found.kills[kind] += 1
        self._struck = time.monotonic()
        print(f"struck at {kind}: {self.proxy.commits}/{self.commits} commits", flush=True)

    def _storage_fails(self) -> None:
        for number in itertools.count():
            if self._over.wait(FAULT_S):
                return
            if not self.proxy.faults:  # they would wait for the next driver, and meet all its requests
                self.proxy.where = "/part-" if number % 2 else ""
                self.proxy.faults.append(FAULTS[number // 2 % len(FAULTS)])

    def _fail(self, why: str) -> None:
        if self._driver is not None and self._driver.poll() is None:
            self._driver.send_signal(signal.SIGABRT)
            self._driver.wait(30)
        logs = sorted(self.cluster.session().glob("logs/monitor.*"))
        tails = [f"--- {path.name}\n{_tail(path)}" for path in [self.log, *logs]]
        raise AssertionError(f"{why}; left to strike at: {self._left}\n" + "\n".join(tails))


def _sender(port: int) -> int | None:
    """The process of this machine that has this port."""
    for one in psutil.net_connections("tcp"):
        if one.laddr and one.laddr.port == port and one.pid not in (None, os.getpid()):
            return one.pid
    return None


def _below(node: psutil.Process) -> list[int]:
    try:
        return [one.pid for one in node.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _title(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-_TAIL:] if path.exists() else ""


def main() -> None:
    uri, count, settings = sys.argv[1:]
    storage = open_storage(uri)
    with Lease(storage, beat_s=1).acquire() as lease:
        run_folder = Run.create_or_open(storage, {"seed": 7})
        outcome = run(units(int(count)), specs(json.loads(settings)), run_folder, LIMITS, lost=lease.lost)
        print(outcome, flush=True)
    sys.exit(MISSING if outcome.missing else WHOLE)


if __name__ == "__main__":
    main()
