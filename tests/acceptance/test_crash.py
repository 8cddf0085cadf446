"""The short form of `make crash`: one round for each stage at which a process can be killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_rounds import STAGES, play
from world import running_sandbox


@pytest.mark.parametrize("seed", range(len(STAGES)), ids=STAGES)
def test_killed_at_any_stage_no_row_is_sent_twice_or_lost(tmp_path: Path, seed: int) -> None:
    with running_sandbox(tmp_path, "--latency", "0.02") as sandbox:
        verdict = play(tmp_path, sandbox, 120, seed)
    assert verdict.complaints == []
    assert (verdict.duplicates, verdict.lost) == (0, 0)
    assert verdict.texts > 0
