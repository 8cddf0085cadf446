"""Fixtures for tests of messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from template_cases import COLUMNS, Load

from batchsend.messages.template import MessageTemplate


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a template and other files of its folder, and loads it for a list with COLUMNS."""

    def write_and_load(
        source: str, files: Mapping[str, str] = {}, columns: list[str] = COLUMNS
    ) -> MessageTemplate:
        for name, text in {"text.j2": source, **files}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return MessageTemplate.load(tmp_path / "text.j2", columns)

    return write_and_load
