"""Which campaign file counts for a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from world import CAMPAIGN

from batchsend.runs.lookup import campaign_of


@pytest.mark.parametrize(
    ("now", "counts"),
    [
        ('name = "Spring"', True),
        ('name = "Fall"\nformerly = "Spring"', True),
        ('name = "Fall"', False),
        ("name = ", False),
        (None, False),
    ],
)
def test_the_file_of_a_run_counts_while_it_is_the_same_campaign(
    tmp_path: Path, now: str | None, counts: bool
) -> None:
    file = tmp_path / "campaign.toml"
    if now is not None:
        assert 'name = "Spring"' in CAMPAIGN
        file.write_text(CAMPAIGN.replace('name = "Spring"', now), encoding="utf-8")
    run: Any = SimpleNamespace(about={"campaign": "Spring", "file": str(file)})
    assert (campaign_of(run) is not None) is counts
