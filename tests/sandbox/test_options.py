"""Options that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from batchsend.errors import BatchsendError
from batchsend.sandbox.options import SandboxOptions

BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"rate_limit": 0}, "The sandbox's rate limit must be more than 0 requests a second, not 0."),
    (
        {"rate_limit": float("nan")},
        "The sandbox's rate limit must be more than 0 requests a second, not nan.",
    ),
    ({"latency": -0.1}, "The sandbox's latency must be 0 seconds or more, not -0.1."),
    ({"error_rate": 50}, "The sandbox's error rate must be between 0 (never) and 1 (always), not 50."),
    ({"keep": 0}, "The sandbox must keep at least 1 request, not 0."),
    ({"update_delay": -1}, "The sandbox's update delay must be 0 seconds or more, not -1."),
    ({"update_delay": float("nan")}, "The sandbox's update delay must be 0 seconds or more, not nan."),
    (
        {"update_repeat": 2},
        "The sandbox's share of repeated updates must be between 0 (never) and 1 (always), not 2.",
    ),
    (
        {"undelivered_rate": -0.1},
        "The sandbox's undelivered rate must be between 0 (never) and 1 (always), not -0.1.",
    ),
    ({"username": "dealer"}, "The sandbox needs both a username and a password, or neither."),
]


@pytest.mark.parametrize(("options", "sentence"), BAD_OPTIONS)
def test_options_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BatchsendError) as caught:
        SandboxOptions(**options)
    assert str(caught.value) == sentence
