"""What the texts of a run cost: the run list, the results and the report count what was sent, or may have been."""

from __future__ import annotations

from openpyxl import load_workbook
from pages import Page
from world import World

from batchsend.ledger.figures import segments_sent
from batchsend.ledger.opening import open_for_reading

PRICE = "[message]\nsegment_price = 0.5\nadd_tcpa_footer = false\n"
#: Two segments.
LONG = "Hi {{ first_name }}" + ", please call us" * 12
ROWS = [
    {"Customer UUID": uuid, "First Name": "Ann", "Phone": ""}
    for uuid in ("customer-ok", "sandbox-500-1", "sandbox-locked-1", "customer-ok-2")
]


def summary(world: World) -> dict[str, object]:
    """The summary sheet of run 1."""
    book = load_workbook(world.folder / "results" / "campaign-1.xlsx", read_only=True)
    found = {label: value for label, value, *_ in book["Summary"].iter_rows(values_only=True)}
    book.close()
    return found


def test_texts_that_were_sent_cost(world: World) -> None:
    world.write(ROWS, template=LONG, campaign=PRICE)
    world.send()
    # One was refused.
    assert "cost of the texts sent: 6 segments, $3.00" in world.run("runs").out
    assert summary(world)["Cost of the texts sent"] == "6 segments, $3.00"
    page = Page.read(world.folder / "results" / "campaign-1.html")
    assert "The texts sent cost $3.00 (6 segments)." in page.text
    # The text that may have been sent is sent again, and both cost.
    world.send("--resend", "unconfirmed", "--expect", "1")
    assert "8 segments, $4.00" in world.run("runs").out
    world.run("results", "1")
    assert summary(world)["Cost of the texts sent"] == "8 segments, $4.00"


def test_without_a_price_or_in_a_rehearsal_nothing_is_said(world: World) -> None:
    world.write(ROWS, template=LONG, campaign=PRICE)
    world.send("--sandbox")
    page = (world.folder / "results" / "campaign-rehearsal.html").read_text(encoding="utf-8")
    assert "The texts sent cost" not in page
    world.write(ROWS, template=LONG)
    world.send()
    assert "cost" not in world.run("runs").out
    assert "Cost of the texts sent" not in summary(world)
    ledger = open_for_reading(f"sqlite:///{world.folder / '.batchsend' / 'ledger.db'}")
    assert ledger is not None
    assert segments_sent(ledger, [1, 99]) == {1: 6}
    ledger.close()
