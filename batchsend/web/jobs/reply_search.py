"""Looks in myKaarma for new replies to the texts of all campaigns of a folder, for a job of the console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.replies import ReplyCounts, StoredReply
from batchsend.runs.api import prepare
from batchsend.runs.lookup import Found
from batchsend.runs.replies import Poll, poll_replies
from batchsend.web.folder import WebFolder
from batchsend.web.queries import campaign_ledger


@dataclass
class RepliesFound:
    """What was found for all campaigns.

    `wanted`, `read`: conversations; `new`: the new replies; `problems`: why some were not read -> the campaigns.
    """

    wanted: int = 0
    read: int = 0
    new: list[StoredReply] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What the page shows."""
        kinds = Counter("stop" if one.asks_to_stop else "unclear" for one in self.new if _asks(one))
        counts = ReplyCounts(len(self.new), kinds["stop"], kinds["unclear"])
        return {
            "wanted": self.wanted,
            "read": self.read,
            "new": len(self.new),
            "sentence": counts.sentence() if self.new else "",
            "problems": self.problems,
        }


def find_replies(folder: WebFolder, tell: Callable[[int, int], object]) -> RepliesFound:
    """Records the replies to the texts of the last 30 days. A campaign that cannot be asked costs no other one.

    `tell` gets how many conversations of a campaign were read, and how many there are.
    """
    found = RepliesFound()
    for file in (*folder.campaigns(), *folder.archived()):
        try:
            campaign = file.load()
            with _runs_of(folder, campaign) as runs:
                if runs is not None:
                    _add(found, campaign.name, poll_replies(runs, lambda poll: tell(poll.asked, poll.wanted)))
        except BatchsendError as error:
            found.problems.setdefault(error.on_page, []).append(file.stem)
    return found


@contextmanager
def _runs_of(folder: WebFolder, campaign: Campaign) -> Iterator[Found | None]:
    """The runs of a campaign, in a ledger that can be changed; `None` if there are none."""
    with campaign_ledger(folder, campaign) as known:
        runs = known.runs() if known is not None else []
        record = known.record if known is not None else None
    if record is None or not runs:
        yield None
        return
    with closing(open_ledger(prepare(campaign, ledger=folder.ledger).ledger_url)) as ledger:
        yield Found(ledger, record, runs[0], [run.id for run in runs])


def _add(found: RepliesFound, campaign: str, poll: Poll) -> None:
    found.wanted += poll.wanted
    found.read += poll.asked
    found.new += poll.new
    for problem in (*poll.unread, *([poll.stopped] if poll.stopped is not None else [])):
        found.problems.setdefault(problem, []).append(campaign)


def _asks(reply: StoredReply) -> bool:
    return reply.asks_to_stop or reply.needs_you
