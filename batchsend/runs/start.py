"""One start of a campaign: its options, its guards and its plan."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.campaigns.types import SAMPLE_ID, is_pattern
from batchsend.errors import (
    BatchsendError,
    CampaignError,
    DeclinedError,
    ExtensionError,
    GuardError,
    Sentence,
)
from batchsend.ledger.ledger import StartRecord
from batchsend.ledger.opening import check_ledger_place, ledger_name, open_for_reading
from batchsend.ledger.runs import recorded_codes
from batchsend.lists.newest import OnWait, newest_match, no_word, wait_until_settled
from batchsend.planning.guards import Facts, Refusal, refusals
from batchsend.planning.plan import LookUp, Plan, PlanRequest, make_plan
from batchsend.planning.resend import check_resend
from batchsend.reports.output_files import check_output, inputs_of, refuse_inputs, reported_runs, results_path
from batchsend.reports.results_file import check_writable
from batchsend.settings import Settings, os_user
from batchsend.statuses import Status
from batchsend.utils.extensions import Point, needed
from batchsend.utils.timestamps import now
from batchsend.utils.version import __version__
from batchsend.utils.wording import row_count, text_count


@dataclass(frozen=True)
class StartOptions:
    """The options of one start, named as those of `batchsend send`.

    `limit`: send at most this many texts; `resend`: `failed`, `unconfirmed` or an error code; `wait`: stay until
    quiet hours end; `detach`: hand the run over to workers and leave; `settle`: look for texts whose outcome is
    unknown at the end; `strict`: refuse if any row is invalid;
    `expect`: refuse unless exactly this many texts would be sent; `unattended`: there is no person to confirm;
    `results`: where the results go instead of the usual place; `ask_for_approval`: if the approval of another person
    is missing.
    """

    limit: int | None = None
    resend: str | None = None
    new_campaign: bool = False
    wait: bool = False
    detach: bool = False
    settle: bool = False
    strict: bool = False
    expect: int | None = None
    unattended: bool = False
    results: Path | None = None
    ask_for_approval: bool = True


@dataclass(frozen=True)
class Start:
    """One start of a campaign, with the settings and the ledger that it uses."""

    campaign: Campaign
    settings: Settings
    ledger_url: str
    options: StartOptions = StartOptions()

    def results_path(self, run_id: int | None) -> Path:
        """Where the results of this run go; `None`: of a rehearsal."""
        return self.options.results or results_path(self.campaign, run_id)


def require_confirmation(confirmed: bool) -> None:
    """Raises `DeclinedError` unless the start was confirmed."""
    if not confirmed:
        raise DeclinedError("Nothing was sent.")


@contextmanager
def planned(start: Start, on_wait: OnWait = no_word, *, rehearsal: bool = False) -> Iterator[Plan]:
    """Makes the plan of a start without changing anything but kept look-ups. Raises `BatchsendError`."""
    request = plan_request(start, on_wait, rehearsal=rehearsal)
    ledger = open_for_reading(start.ledger_url)
    try:
        with make_plan(request, ledger) as plan:
            yield plan
    finally:
        if ledger is not None:
            ledger.close()


def plan_request(start: Start, on_wait: OnWait, *, rehearsal: bool = False) -> PlanRequest:
    """The request for the plan of a start, as soon as its files are settled. `rehearsal`: no text leaves.

    Raises `BatchsendError` if the list or `--resend` cannot be used.
    """
    options = start.options
    for name in start.campaign.notify.notifiers:
        _check_notifier(start.campaign, name)
    if options.resend is not None:
        check_resend(options.resend, partial(_recorded_codes, start.ledger_url))
    _wait_for_files(start.campaign, on_wait)
    return PlanRequest(
        campaign=with_newest_list(start.campaign),
        base_url=start.settings.base_url,
        host=socket.gethostname(),
        now=now(),
        limit=options.limit,
        resend=options.resend,
        new_campaign=options.new_campaign,
        wait=options.wait,
        results={run: results_path(start.campaign, run) for run in reported_runs(start.campaign)},
        look_up=_look_up(start, on_wait, rehearsal=rehearsal),
    )


def _check_notifier(campaign: Campaign, name: str) -> None:
    try:
        needed(Point.NOTIFIER, name)
    except ExtensionError as error:
        raise CampaignError(campaign.path, f"`notify.notifiers`: {error}") from error


def _look_up(start: Start, on_wait: OnWait, *, rehearsal: bool) -> LookUp | None:
    """How the customers of a list without ids are found."""
    if start.campaign.columns.lookup is None:
        return None
    # Other campaigns need no HTTP client before they are sent.
    from batchsend.runs.campaign_lookup import CampaignLookup, RehearsalLookup

    kind = RehearsalLookup if rehearsal else CampaignLookup
    return kind(start.settings, start.ledger_url, on_wait)


def _wait_for_files(campaign: Campaign, on_wait: OnWait) -> None:
    settle = campaign.guards.list_settle
    if settle is not None:
        # A suppression file that is only half there lets through people who opted out.
        suppress = campaign.recipients.suppress
        wait_until_settled(lambda: (with_newest_list(campaign).list, *suppress), settle, on_wait)


def _recorded_codes(ledger_url: str) -> set[str]:
    ledger = open_for_reading(ledger_url)
    if ledger is None:
        return set()
    with closing(ledger):
        return recorded_codes(ledger)


def check_target(start: Start, campaign: Campaign, run_id: int | None) -> None:
    """Raises `ResultsError` if results cannot be written or would overwrite a file that a campaign reads.

    `campaign`: that of the start, with its list instead of a pattern.
    """
    target = start.results_path(run_id)
    refuse_inputs(target, inputs_of(campaign))
    if start.options.results is not None:
        ledger = open_for_reading(start.ledger_url)
        with closing(ledger) if ledger is not None else nullcontext():
            check_output(target.absolute(), ledger)
    check_writable(target)


def refuse_sample_ids(campaign: Campaign, *, user: bool = True) -> None:
    """Raises `CampaignError` if the department's id, or the `user`'s, is still the sample."""
    ids = {"department_uuid": campaign.department_uuid, "user_uuid": campaign.user_uuid if user else None}
    samples = [key for key, value in ids.items() if value is not None and value.startswith(SAMPLE_ID)]
    if samples:
        raise CampaignError(
            campaign.path,
            [f"`{key}` is still the sample id: put in your own, from myKaarma support" for key in samples],
        )


def with_newest_list(campaign: Campaign) -> Campaign:
    """The campaign, with a list pattern replaced by the newest file that matches it."""
    if not is_pattern(campaign.list):
        return campaign
    return campaign.model_copy(update={"list": newest_match(campaign.list, campaign.allows_list)})


def refuse_renamed(campaign: Campaign) -> None:
    """Raises `GuardError` if the campaign was renamed or moved after this start had read its file.

    Under its lock, that cannot happen any more. Under an old name, people would be texted whom the new one texts too.
    """
    try:
        present = load_campaign(campaign.path)
    except BatchsendError:
        is_same = campaign.path.exists()
    else:
        is_same = (present.name, present.formerly) == (campaign.name, campaign.formerly)
    if not is_same:
        raise GuardError(
            f"{campaign.path}: the campaign was renamed or moved after this start read it. Nothing was sent. Look "
            f"at the campaign, then start it again."
        )


def start_refusals(start: Start, plan: Plan) -> list[str]:
    """Why `send` would refuse this start, a sentence each; empty if it would not."""
    found = []
    try:
        check_ledger_place(start.ledger_url)
        refuse_sample_ids(start.campaign)
    except BatchsendError as error:
        found.append(str(error))
    return [*found, *(refusal.sentence for refusal in guard_refusals(start, plan))]


def guard_refusals(start: Start, plan: Plan) -> list[Refusal]:
    """Why the campaign's `[guards]` refuse this plan, a sentence each; empty if they do not."""
    campaign = plan.request.campaign
    facts = Facts(
        texts=plan.texts_in_all,
        untried=plan.texts_in_all - plan.remarks.kept,
        list_saved_at=plan.sources.customers.saved_at,
        now=plan.request.now,
        unusual=plan.unusual,
        now_texts=plan.texts if start.options.expect is None else None,
        unknown=_unknown(start, plan),
        unknown_runs=plan.unknown_runs,
        lint=[Sentence(finding.unquoted, finding.words) for finding in plan.remarks.lint],
    )
    found = refusals(campaign.guards, facts)
    return [refusal._replace(sentence=f"{campaign.path}: {refusal.sentence}") for refusal in found]


def _unknown(start: Start, plan: Plan) -> str | None:
    if plan.known is not None or plan.request.new_campaign:
        return None
    name, base_url = plan.identity.name, plan.identity.base_url
    return f'the ledger {ledger_name(start.ledger_url)} has no campaign "{name}" at {base_url}'


_NOTHING_SENT = "Nothing was sent."


def check_guards(start: Start, plan: Plan) -> None:
    """Raises `GuardError` if the campaign's `[guards]` or an option refuses this plan."""
    options, refused = start.options, guard_refusals(start, plan)
    if refused:
        raise GuardError(
            "\n".join([*(refusal.sentence for refusal in refused), _NOTHING_SENT]),
            on_page="\n".join([*(refusal.on_page for refusal in refused), _NOTHING_SENT]),
        )
    invalid = plan.counts.get(Status.INVALID, 0)
    if options.strict and invalid:
        raise GuardError(
            f"{plan.sources.customers.path}: {invalid:,} {'row is' if invalid == 1 else 'rows are'} invalid, so "
            f"--strict sends nothing. `batchsend preview` shows them; correct the list, or omit --strict.",
            on_page=f"{row_count(invalid)} cannot be sent, so nothing was sent. Correct the list.",
        )
    if options.expect is not None and options.expect != plan.texts:
        raise GuardError(
            f"--expect {options.expect:,}, but {text_count(plan.texts)} would be sent now. Nothing was sent. Check "
            f"`batchsend preview`; if the number is right, use --expect {plan.texts}.",
            on_page=f"{text_count(options.expect)} were to be sent, but {text_count(plan.texts)} would be sent now. "
            f"{_NOTHING_SENT} Check again.",
        )
    if plan.remarks.again_unconfirmed and options.unattended and options.expect is None:
        raise GuardError(
            f"--resend {plan.request.resend}: {plan.remarks.again_unconfirmed:,} of these rows may have been sent "
            f"already, and there is no terminal to ask on. Nothing was sent. If you are sure, add "
            f"--expect {plan.texts}."
        )


def start_record(plan: Plan, approval_id: int | None = None) -> StartRecord:
    """What the ledger records of a start with this plan, which `approval_id` allows."""
    campaign, sources = plan.request.campaign, plan.sources
    return StartRecord(
        os_user=os_user(),
        host=plan.request.host,
        version=__version__,
        campaign_file=str(campaign.path),
        campaign_sha256=campaign.sha256,
        list_file=str(sources.customers.path),
        list_sha256=sources.customers.sha256,
        template_file="; ".join(sources.template.described_files()),
        template_sha256=sources.template.source_sha256,
        resend=plan.request.resend,
        approval_id=approval_id,
    )
