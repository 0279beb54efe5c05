"""What nodes cost is added up by what is there, outlives its job, and is told where people look."""

from __future__ import annotations

import json

import pytest

from ray_jobs.__main__ import main
from ray_jobs.config import Prices
from ray_jobs.progress import Progress
from ray_jobs.spending import Spending, spent
from shards.storage import StorageError

PRICES = Prices(nodes={"llm": 10.0, "blender": 2.0}, other=0.5)


class Hours:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now * 3600


def spending(run_folder, hours, nodes, prices=PRICES):
    return Spending(run_folder, prices, lambda: nodes, hours)


def test_each_node_costs_its_own_price_for_the_time_that_it_is_there(run_folder):
    hours, nodes = Hours(), ["llm", "blender", "blender", None, "unheard-of"]
    one = spending(run_folder, hours, nodes)
    assert one.cost == 0
    hours.now = 0.5
    one.look()
    assert one.cost == pytest.approx((10 + 2 + 2 + 0.5 + 0.5) / 2)
    del nodes[:2]
    hours.now = 1.0
    one.look()
    assert one.cost == pytest.approx(7.5 + (2 + 0.5 + 0.5) / 2)
    assert one.line() == "9.00 USD"


def test_jobs_that_died_count_and_nothing_is_kept_without_prices(run_folder, capsys):
    assert spent(run_folder) is None
    for _ in range(2):  # each ends as one that is killed does: with what it wrote last
        hours = Hours()
        one = spending(run_folder, hours, ["llm"])
        for now in (0.1, 0.2):
            hours.now = now
            one.look()
            one.keep()
    assert spent(run_folder) == {
        "currency": "USD", "total": pytest.approx(4.0), "jobs": 2, "node_hours": {"llm": pytest.approx(0.4)},
    }  # fmt: skip
    assert len(list(run_folder.storage.list("costs/"))) == 2
    free = spending(run_folder, Hours(), ["llm"], None)
    with free:
        assert free.cost is None and free.line() is None
    assert len(list(run_folder.storage.list("costs/"))) == 2
    assert main(["status", "--run", run_folder.storage.uri]) == 0
    assert "spent 4.00 USD so far, in 2 jobs" in capsys.readouterr().out


def test_storage_that_fails_costs_figures_and_not_the_run(run_folder, monkeypatch):
    def full(*_):
        raise StorageError("disk_full", "no space left")

    hours = Hours()
    one = spending(run_folder, hours, ["llm"])
    hours.now = 1
    one.look()
    monkeypatch.setattr("shards.local.LocalStorage.write", full)
    one.keep()
    assert one.cost == 10


def test_a_head_that_does_not_answer_once_costs_no_time_of_the_account(run_folder):
    hours, answers = Hours(), [["llm"], OSError("no answer"), ["llm"]]

    def nodes():
        said = answers.pop(0)
        if isinstance(said, OSError):
            raise said
        return said

    one = Spending(run_folder, PRICES, nodes, hours)
    for now, cost in ((0.1, 1.0), (0.2, 1.0), (0.3, 3.0)):
        hours.now = now
        one.look()
        assert one.cost == pytest.approx(cost)


def test_what_a_short_job_cost_is_kept_when_it_ends(run_folder):
    hours = Hours()
    with Spending(run_folder, PRICES, lambda: ["blender"], hours):
        hours.now = 0.001
    assert spent(run_folder)["total"] == pytest.approx(0.002)


def test_sums_of_two_currencies_are_not_told(run_folder):
    for currency in ("USD", "EUR"):
        kept = {"currency": currency, "cost": 1.0, "node_hours": {"llm": 0.1}}
        run_folder.storage.write(f"costs/{currency}.json", json.dumps(kept).encode())
    assert spent(run_folder) is None


def test_progress_says_what_was_spent():
    with Progress(2, "verdicts", lambda _: None, spent=lambda: "1.25 USD") as progress:
        assert progress.line().endswith("spent 1.25 USD")
