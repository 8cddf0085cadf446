"""What an unattended start says: JSON alone, and nothing of anybody."""

from __future__ import annotations

import json
from typing import Any

from world import PASSWORD, Finished, Sandbox, World, customers

JOB = ("--log-format", "json")


def events(done: Finished) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.err.splitlines()]


def test_a_line_for_each_event_and_one_object_for_the_end(world: World, sandbox: Sandbox) -> None:
    people = customers(3)
    people[1]["Customer UUID"] = "sandbox-locked-1"
    world.write(people)
    done = world.send(*JOB)
    assert done.code == 1
    planned, ended = events(done)
    assert (planned["event"], planned["texts"], planned["rows"]) == ("planned", 3, {"pending": 3})
    assert planned["campaign"] == "Spring"
    assert (ended["event"], ended["exit"]) == ("ended", 1)
    (summary,) = map(json.loads, done.out.splitlines())
    assert (summary["run"], summary["exit"], summary["rows"], summary["taken"]) == (1, 1, 3, 2)
    assert summary["rows"] == (
        summary["taken"] + summary["left_out"] + summary["needs_you"] + summary["waits"]
    )
    assert summary["statuses"] == {"accepted": 2, "failed": 1}
    assert {"status": "failed", "codes": "CUSTOMER_LOCKED", "rows": 1} in summary["codes"]
    assert summary["results"].endswith("campaign-1.xlsx")
    said = done.out + done.err
    for person in people:
        assert person["Phone"][-4:] not in said
        assert person["First Name"] not in said
    assert PASSWORD not in said
    # A start that finds nothing to do says so in the same form.
    again = world.send(*JOB)
    assert [event["event"] for event in events(again)] == ["ended"]
    assert json.loads(again.out)["planned"] == 0


def test_what_refuses_a_start_is_an_event_with_its_sentence(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3), campaign="[guards]\nmax_texts = 2\n")
    refused = world.send(*JOB)
    assert refused.code == 2
    first, ended = events(refused)
    assert first["event"] == "refused"
    assert "guards.max_texts is 2, but 3 texts would leave." in first["message"]
    assert ended["exit"] == 2
    assert json.loads(refused.out)["exit"] == 2
    assert sandbox.requests() == []


def test_a_campaign_that_cannot_be_read_is_an_event_too(world: World) -> None:
    world.write(customers(1), campaign='name = "x"\nrate = 3\n')
    refused = world.send(*JOB)
    assert refused.code == 2
    assert events(refused)[0]["event"] == "refused"
    assert "campaign.toml" in events(refused)[0]["message"]


def test_without_yes_nothing_is_sent(world: World, sandbox: Sandbox) -> None:
    world.write(customers(1))
    done = world.run("send", "campaign.toml", *JOB)
    assert done.code == 2
    assert "Add --yes" in done.err
    assert sandbox.requests() == []
