"""What texts cost by the price of a segment: those of a plan, and those that runs have sent."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from batchsend.campaigns.tables import MessageOptions
from batchsend.errors import FilterProblem
from batchsend.ledger.figures import facts_of_runs, segments_sent
from batchsend.ledger.ledger import Ledger
from batchsend.utils.wording import segment_count

#: The names of the facts that the ledger keeps with a run.
_PRICE, _CURRENCY = "segment_price", "currency"


class RunCost(NamedTuple):
    """What a run's texts cost: `240 segments`, `$1.90`."""

    segments: str
    amount: str

    @property
    def words(self) -> str:
        return f"{self.segments}, {self.amount}"


def cost_of(segments: int, message: MessageOptions) -> str | None:
    """What this many segments cost, such as `$1.90`; `None` if the campaign has no price."""
    price = message.segment_price
    return None if price is None else _amount(segments, str(price), message.currency)


def price_facts(message: MessageOptions) -> dict[str, str]:
    """The price of a segment as the ledger keeps it with a run; empty if the campaign has none."""
    if message.segment_price is None:
        return {}
    return {_PRICE: str(message.segment_price), _CURRENCY: message.currency}


def costs_of_runs(ledger: Ledger, run_ids: Sequence[int]) -> dict[int, RunCost]:
    """What the texts cost that runs have sent, or may have, by run, at the price of the last start.

    Runs without a price, or with no text sent, are left out.
    """
    priced = {run: about for run, about in facts_of_runs(ledger, run_ids).items() if _PRICE in about}
    return {
        run: RunCost(segment_count(segments), _amount(segments, priced[run][_PRICE], priced[run][_CURRENCY]))
        for run, segments in segments_sent(ledger, list(priced)).items()
    }


def _amount(segments: int, price: str, currency: str) -> str:
    # Babel takes time to import.
    from batchsend.messages.filters import money

    amount = Decimal(price) * segments
    try:
        return money(f"{amount:f}", currency)
    except FilterProblem:
        return f"{amount:.2f} {currency}"
