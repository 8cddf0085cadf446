"""`batchsend hours`."""

from __future__ import annotations

from click.testing import CliRunner

from batchsend.campaigns.state_hours import NO_LEGAL_ADVICE, known_rules, left_out
from batchsend.campaigns.zones import state_name
from batchsend.cli.main import cli


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["hours", *arguments], catch_exceptions=False)
    return " ".join(result.output.split())


def test_all_rules_are_printed_with_their_sources() -> None:
    text = printed()
    for known in known_rules():
        assert f"{state_name(known.state)} ({known.state})" in text
        assert f"Law: {known.statute}; checked on {known.checked}" in text
        assert all(f"Source: {source}" in text for source in known.sources)
        assert known.note in text
    assert all(reason in text for reason in left_out().values())
    assert text.endswith(NO_LEGAL_ADVICE)


def test_one_state_is_printed_by_its_name_or_its_letters() -> None:
    assert printed("texas") == printed("TX")
    assert printed("Rhode", "Island") == printed("rhode island") == printed("RI")
    assert "Monday to Saturday: 9:00 AM to 9:00 PM Sunday: 12:00 PM to 9:00 PM Law:" in printed("TX")
    assert "Georgia (GA): no stricter rule." in printed("GA")
    assert "Checked, not applied: Pub. Util. Code" in printed("CA")


def test_a_word_that_is_no_state() -> None:
    result = CliRunner().invoke(cli, ["hours", "Flordia"])
    assert str(result.exception) == (
        "Flordia is not a state of the USA or a province of Canada; did you mean Florida (FL)?"
    )


def test_a_word_that_is_like_no_state_gets_no_suggestion() -> None:
    result = CliRunner().invoke(cli, ["hours", "Nowhere"])
    assert str(result.exception) == (
        "Nowhere is not a state of the USA or a province of Canada; write its name or its two letters, such as FL"
    )
