"""These tests need programs and packages that `make test` does without: then they are not even looked at."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Another answer than None is final."""
    return True if config.option.markexpr == "not system" else None
