from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from shards.dataset import Dataset, open_dataset
from shards.storage import open_storage
from tests.datasets import pair, publish
from tests.trainer.test_step import STARTER
from trainer.frozen import Frozen

ROWS = 11


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models of these tests are too small to be shared out: two threads take twice as long as one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def frozen() -> Frozen:
    return Frozen.load(STARTER)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Dataset:
    """Of `ROWS` pairs in groups of three, which no test changes."""
    folder = tmp_path_factory.mktemp("learned-from")
    rows = [pair(n, edit_prompt=f"move the mug {5 + n}% to the right") for n in range(ROWS)]
    publish(open_storage(str(folder)), {"train": rows}, group=3)
    return open_dataset(str(folder))
