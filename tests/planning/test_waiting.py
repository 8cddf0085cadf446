"""Which rows wait for quiet hours to end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledgers import BASE_URL
from sqlalchemy import select
from world import World

from batchsend.campaigns.file import load_campaign
from batchsend.ledger.schema import messages
from batchsend.planning.plan import PlanRequest, make_plan

ZONES = ("EST", "Eastern", "EST5EDT", "US/Eastern", "EDT", "America/New_York", "PST", "MST")


@pytest.mark.parametrize(
    ("moment", "waiting"),
    [
        # 21:30 in New York and 18:30 in Los Angeles, in summer and in winter.
        (datetime(2026, 7, 16, 1, 30, tzinfo=UTC), ZONES[:6]),
        (datetime(2026, 1, 16, 2, 30, tzinfo=UTC), ZONES[:6]),
        (datetime(2026, 7, 16, 0, 30, tzinfo=UTC), ()),
        # 21:30 in Denver.
        (datetime(2026, 7, 16, 3, 30, tzinfo=UTC), (*ZONES[:6], "MST")),
    ],
)
def test_the_names_of_american_zones_include_daylight_saving(
    tmp_path: Path, moment: datetime, waiting: tuple[str, ...]
) -> None:
    World(tmp_path).write(
        [{"Customer UUID": f"c{n}", "First Name": "Ann", "Timezone": zone} for n, zone in enumerate(ZONES)],
        campaign='[sending]\nquiet_hours = "TCPA"\n',
    )
    request = PlanRequest(load_campaign(tmp_path / "campaign.toml"), BASE_URL, "here", moment)
    query = select(messages.c.row).where(messages.c.codes == "QUIET_HOURS").order_by(messages.c.row)
    with make_plan(request, None) as plan, plan.scratch.read() as connection:
        assert tuple(ZONES[row - 2] for row in connection.scalars(query)) == waiting
