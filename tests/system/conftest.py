"""Skips this folder in `make test`, which has neither the programs nor the packages that these tests import."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignores everything here if pytest runs with `-m "not system"`; None leaves the decision to others."""
    return True if config.option.markexpr == "not system" else None
