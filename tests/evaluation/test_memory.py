"""Of a piece of work the most memory that it held, whatever was held before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.memory import begin, peak_mb

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available() or not Path("/proc/self/clear_refs").exists(), reason="of a process on Linux"
)


def test_what_was_held_before_does_not_count():
    begin()
    np.ones(400 * 2**17)  # 400 MiB, and gone
    before = peak_mb()
    begin()
    small = np.ones(50 * 2**17)
    assert peak_mb() < before - 200 and len(small)
    larger = np.ones(300 * 2**17)
    assert peak_mb() > before - 200 and len(larger)


def test_what_whoever_started_the_process_held_does_not_count():
    large = np.ones(800 * 2**17)
    asked = "from evaluation.memory import begin, peak_mb\nbegin()\nprint(peak_mb())"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert 0 < float(found.stdout) < 600 and len(large)
