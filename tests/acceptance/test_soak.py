"""The short form of `make soak`: two days of one dealership, with everything that can go wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if not hasattr(os, "fork"):
    pytest.skip("its processes are forked", allow_module_level=True)

from soak import soak


@pytest.mark.system
def test_days_that_nobody_watches(tmp_path: Path) -> None:
    figures = soak(tmp_path, days=2, seed=3, dealership=0)
    assert not any(figures.problems.values()), figures.problems
    assert figures.requests.total() > 30
    assert figures.faults.total() > 5
