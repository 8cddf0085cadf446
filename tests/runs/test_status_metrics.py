"""The metrics' wording, and the page of the manual about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from batchsend.ledger.figures import LastStart, LedgerFigures, Pace, PlannedStarts, RowGroup, Sender, merged
from batchsend.runs.status_metrics import (
    DESCRIPTIONS,
    Sample,
    campaign_labels,
    exposition,
    ledger_samples,
    service_samples,
)

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text(encoding="utf-8")
SPRING = Sender("Spring", "https://api.example.com")
#: 2026-03-01 10:00 UTC.
MORNING = 1772359200.0


def figures(**values: object) -> LedgerFigures:
    empty = {"rows": {}, "waiting_since": {}, "last_starts": {}, "planned": {}, "paces": {}}
    return LedgerFigures(**{**empty, **values})


def values(samples: list[Sample]) -> dict[str, float]:
    """The samples as Prometheus reads them: name and label values -> value."""
    return {
        " ".join([sample.name.removeprefix("batchsend_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(exposition(samples).decode())
        for sample in family.samples
    }


EVERYTHING = figures(
    rows={RowGroup(SPRING, "accepted", ""): 3, RowGroup(SPRING, "pending", "QUIET_HOURS"): 2},
    waiting_since={RowGroup(SPRING, "pending", "QUIET_HOURS"): "2026-03-01T09:59:00.000Z"},
    last_starts={SPRING: LastStart("2026-03-01T10:00:00.000Z", "2026-03-01T10:01:00.000Z", 5)},
    planned={(SPRING, "missed"): PlannedStarts(4, "2026-03-01T10:00:00.000Z")},
    paces={SPRING: Pace(10.0, 2.5, 12.0)},
)


def test_every_figure_of_a_ledger_is_a_metric() -> None:
    assert values(ledger_samples(EVERYTHING, MORNING)) == {
        "texts api.example.com Spring accepted": 3,
        "texts api.example.com Spring pending": 2,
        "waiting_texts api.example.com Spring QUIET_HOURS": 2,
        "oldest_waiting_seconds api.example.com Spring QUIET_HOURS": 60,
        "last_start_timestamp_seconds api.example.com Spring": MORNING,
        "last_start_running api.example.com Spring": 0,
        "last_start_exit_code api.example.com Spring": 5,
        "planned_starts api.example.com Spring missed": 4,
        "planned_start_timestamp_seconds api.example.com Spring missed": MORNING,
        "rate_configured api.example.com Spring": 10,
        "rate_present api.example.com Spring": 2.5,
        "pause_seconds api.example.com Spring": 12,
    }


def test_a_label_keeps_quotes_backslashes_and_lines() -> None:
    name = 'a "quoted" \\n name\nin two lines, {é}'

    (family,) = text_string_to_metric_families(
        exposition([Sample("texts", 1e9, (("campaign", name), ("api", "")))]).decode()
    )

    assert (family.documentation, family.type) == (DESCRIPTIONS["texts"], "gauge")
    assert [(one.labels, one.value) for one in family.samples] == [({"campaign": name, "api": ""}, 1e9)]


def test_a_start_without_an_end_is_running_and_has_no_exit_code() -> None:
    running = figures(last_starts={SPRING: LastStart("2026-03-01T10:00:00.000Z", None, None)})
    found = values(ledger_samples(running, MORNING))
    assert found["last_start_running api.example.com Spring"] == 1
    assert not [name for name in found if name.startswith("last_start_exit_code")]


def test_campaigns_of_one_name_in_two_ledgers_are_one() -> None:
    later = figures(
        rows={RowGroup(SPRING, "accepted", ""): 10},
        waiting_since={RowGroup(SPRING, "pending", "QUIET_HOURS"): "2026-03-01T09:58:00.000Z"},
        planned={(SPRING, "missed"): PlannedStarts(1, "2026-02-01T10:00:00.000Z")},
        last_starts={SPRING: LastStart("2026-03-01T11:00:00.000Z", "2026-03-01T11:01:00.000Z", 0)},
    )
    for order in ([EVERYTHING, later], [later, EVERYTHING]):
        found = values(ledger_samples(merged(order), MORNING))
        assert found["texts api.example.com Spring accepted"] == 13
        assert found["last_start_timestamp_seconds api.example.com Spring"] == MORNING + 3600
        assert found["last_start_exit_code api.example.com Spring"] == 0
        assert found["planned_starts api.example.com Spring missed"] == 5
        assert found["planned_start_timestamp_seconds api.example.com Spring missed"] == MORNING
        assert found["oldest_waiting_seconds api.example.com Spring QUIET_HOURS"] == 120


@pytest.mark.parametrize("name", ['say "hi"', "a\\b", "line\nend", "José {x}", "", "a,b=c"])
def test_any_campaign_name_can_be_a_label(name: str) -> None:
    (family,) = text_string_to_metric_families(
        exposition([Sample("next_start_timestamp_seconds", 1, (("campaign", name),))]).decode()
    )
    assert family.samples[0].labels == {"campaign": name}


def test_a_label_holds_no_credentials() -> None:
    assert campaign_labels("Spring", "https://user:word@api.example.com:8443/x?y") == (
        ("campaign", "Spring"),
        ("api", "api.example.com:8443"),
    )


def test_the_service_says_its_name_and_version() -> None:
    found = values(service_samples("web", MORNING, healthy=False))
    assert found["healthy web"] == 0
    assert found["heartbeat_timestamp_seconds web"] == MORNING


def test_the_manual_explains_every_metric() -> None:
    explained = re.findall(r"^\| `batchsend_(\w+)` \|", PAGE, re.MULTILINE)
    assert explained == list(DESCRIPTIONS)


def rules() -> list[dict[str, str]]:
    (block,) = (block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "alert:" in block)
    (group,) = yaml.safe_load(block)["groups"]
    found: list[dict[str, str]] = group["rules"]
    return found


def test_alert_rules_use_metrics_and_labels_that_exist() -> None:
    labels = {"campaign", "api", "status", "code", "outcome", "service", "job", "instance"}
    assert len(rules()) == 3
    for rule in rules():
        assert set(re.findall(r"\bbatchsend_(\w+)", rule["expr"])) <= DESCRIPTIONS.keys()
        assert set(re.findall(r"(\w+)=\"", rule["expr"])) <= labels
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels  # type: ignore[index]
        assert rule["expr"].count("(") == rule["expr"].count(")")
