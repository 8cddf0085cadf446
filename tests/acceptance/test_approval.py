"""`[guards] approval`: who sends is not who approves. With the installed command."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import update
from world import TEMPLATE, Finished, Sandbox, World, customers

from batchsend.errors import GuardError
from batchsend.ledger.approvals import Approval, ApprovalState, approvals_for
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.optouts import Person
from batchsend.ledger.schema import messages, runs
from batchsend.planning.plan import make_plan
from batchsend.runs import api, runner
from batchsend.runs.approval import approve, refuse, request_to_answer
from batchsend.runs.start import StartOptions, plan_request
from batchsend.sending.cluster.open_runs import open_run

GUARD = "[guards]\napproval = true\n"


class Office(World):
    """A dealership in which ann sends and dana approves."""

    def by(self, name: str) -> Office:
        self.environment["LOGNAME"] = name
        return self

    def approve(self, *options: str, answer: str = "3") -> Finished:
        return self.ask("approve", "campaign.toml", *options, answer=answer)

    @property
    def ledger(self) -> str:
        return self.environment["BATCHSEND_LEDGER"]

    def requests(self, run_id: int | None = None) -> list[Approval]:
        ledger = open_ledger(self.ledger)
        try:
            return approvals_for(ledger, "Spring", self.base_url, run_id)
        finally:
            ledger.close()


def make_office(tmp_path: Path, sandbox: Sandbox, ledger_url: str) -> Office:
    folder = tmp_path / "dealership"
    folder.mkdir()
    office = Office(folder, sandbox.base_url, {"BATCHSEND_LEDGER": ledger_url, "LOGNAME": "ann"})
    office.write(customers(3), campaign=GUARD)
    return office


@pytest.fixture
def office(tmp_path: Path, sandbox: Sandbox) -> Office:
    return make_office(tmp_path, sandbox, f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def any_office(tmp_path: Path, sandbox: Sandbox, ledger_url: str) -> Office:
    """On SQLite and on PostgreSQL."""
    return make_office(tmp_path, sandbox, ledger_url)


def test_ann_asks_dana_approves_and_ann_sends(any_office: Office, sandbox: Sandbox) -> None:
    office = any_office
    refused = office.send()
    assert refused.code == 2, refused.err
    assert "guards.approval is true. ann asked for the approval of 3 texts at" in refused.err
    assert "Nothing was sent. Another person approves them in the web console" in refused.err
    assert "on the command line with `batchsend approve campaign.toml`. Then run this again." in refused.err
    assert not sandbox.requests()
    # Asking again asks nothing new.
    assert office.send().code == 2
    (request,) = office.requests()
    assert (request.asked_by, request.texts, request.state) == ("ann", 3, ApprovalState.ASKED)

    own = office.approve()
    assert own.code == 2
    assert "You (ann) asked for this approval, so another person must give it." in own.out
    declined = office.by("dana").approve(answer="2")
    assert (declined.code, "Nothing was approved." in declined.out) == (2, True)
    approved = office.approve()
    assert approved.code == 0, approved.out
    assert "ann asked for the approval of 3 texts" in " ".join(approved.out.split())
    assert "Hi Name0, it is time for your service." in approved.out
    assert "To see every text: batchsend preview campaign.toml" in approved.out

    sent_by_approver = office.send()
    assert sent_by_approver.code == 2
    assert "dana approved these texts, and cannot send them too." in sent_by_approver.err
    assert not sandbox.requests()
    done = office.by("ann").send()
    assert done.code == 0, done.err
    assert re.search(r"approval +dana approved 3 texts at", done.out)
    assert len(sandbox.requests()) == 3
    assert re.search(r"  approved by dana on \S+, 20\d\d-", office.run("runs").out)
    assert "dana on" in (office.folder / "results" / "campaign-1.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("other", ["ANN", " ann ", "Ann"])
def test_another_spelling_of_a_name_is_no_other_person(office: Office, sandbox: Sandbox, other: str) -> None:
    assert office.send().code == 2
    own = office.by(other).approve()
    assert own.code == 2
    assert "asked for this approval, so another person must give it" in own.out
    assert office.by("dana").approve().code == 0
    assert office.by("DANA").send().code == 2
    assert not sandbox.requests()


def one_text_more(office: Office) -> None:
    office.write_list(customers(4))


def one_text_less(office: Office) -> None:
    office.write_list(customers(2))


def one_letter(office: Office) -> None:
    office.write(campaign=GUARD, template=f"{TEMPLATE}.")


def one_digit(office: Office) -> None:
    rows = customers(3)
    rows[1]["Phone"] = rows[1]["Phone"][:-1] + "9"
    office.write_list(rows)


def another_sender(office: Office) -> None:
    file = office.folder / "campaign.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("3a7f1c9e", "4a7f1c9e"), encoding="utf-8")


def an_option(office: Office) -> None:
    office.write(campaign=f"{GUARD}[message]\nadd_signature = true")


@pytest.mark.parametrize(
    "change", [one_text_more, one_text_less, one_letter, one_digit, another_sender, an_option]
)
def test_what_is_changed_after_the_approval_is_asked_for_again(
    office: Office, sandbox: Sandbox, change: Callable[[Office], None]
) -> None:
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    change(office)
    # Nobody has asked for this one, so it cannot be approved by mistake.
    assert "no one asked for the approval of these" in office.approve().out
    refused = office.by("ann").send()
    assert refused.code == 2
    assert "dana approved 3 texts at" in refused.err
    assert "but a text, a recipient, the sender or a setting is different now." in refused.err
    assert not sandbox.requests()
    texts = office.requests()[0].texts
    assert office.by("dana").approve(answer=str(texts)).code == 0
    assert office.by("ann").send().code == 0
    assert len(sandbox.requests()) == texts


def test_what_changes_nothing_needs_no_new_approval(office: Office, sandbox: Sandbox) -> None:
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    # The same rows in another order, another comment and another speed.
    office.write(list(reversed(customers(3))), campaign=f"# faster\n{GUARD}[sending]\nrate = 50")
    assert office.by("ann").send().code == 0
    assert len(sandbox.requests()) == 3


def test_people_who_opt_out_after_the_approval_are_left_out(office: Office, sandbox: Sandbox) -> None:
    assert office.send().code == 2
    assert office.run("optouts", "add", "--customer", "customer-0", "--reason", "called us").code == 0
    # Dana sees two texts, and approves two.
    assert office.by("dana").approve(answer="2").code == 0
    assert office.run("optouts", "add", "--customer", "customer-1", "--reason", "called us").code == 0
    assert office.run("optouts", "remove", "--customer", "customer-0").code == 0
    assert office.by("ann").send().code == 2
    assert office.run("optouts", "add", "--customer", "customer-0", "--reason", "called us").code == 0
    assert office.requests()[0].state is ApprovalState.ASKED
    assert office.send().code == 0
    assert sandbox.texts() == {"customer-2": 1}


def test_a_refusal_says_why_and_stays_until_something_changes(office: Office, sandbox: Sandbox) -> None:
    assert office.send().code == 2
    assert office.by("dana").run("approve", "campaign.toml", "--refuse", " ").code == 2
    refused = office.run("approve", "campaign.toml", "--refuse", "wrong month")
    assert (refused.code, refused.out) == (0, "Refused. It is not sent.\n")
    sent = office.by("ann").send()
    assert sent.code == 2
    assert "dana refused 3 texts at" in sent.err
    assert "(wrong month). Nothing was sent." in sent.err
    other = office.by("eva").approve()
    assert "Only dana can approve it now." in other.out
    assert len(office.requests()) == 1
    one_letter(office)
    assert office.by("ann").send().code == 2
    assert office.by("eva").approve().code == 0
    assert office.by("ann").send().code == 0
    assert len(sandbox.requests()) == 3


def test_an_approval_can_be_taken_back_until_the_texts_are_sent(office: Office, sandbox: Sandbox) -> None:
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    assert office.run("approve", "campaign.toml", "--refuse", "not yet").code == 0
    assert office.by("ann").send().code == 2
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send().code == 0
    assert len(sandbox.requests()) == 3


def test_rows_whose_approval_was_taken_back_wait_for_another_one(
    any_office: Office, sandbox: Sandbox
) -> None:
    office = any_office
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send("--limit", "1").code == 0
    assert office.by("dana").run("approve", "campaign.toml", "--refuse", "last month's offer").code == 0
    assert office.run("results", "campaign.toml").code == 0
    codes = [(row["status"], row["errorCodes"]) for row in office.workbook(1).values()]
    assert codes == [("accepted", None), *[("pending", "NEEDS_APPROVAL")] * 2]
    # A refused start leaves them as they are.
    assert office.by("ann").send().code == 2
    assert office.by("dana").approve(answer="2").code == 0
    assert office.by("ann").send().code == 0
    assert len(sandbox.requests()) == 3


def test_a_request_that_was_withdrawn_can_be_made_again(office: Office, sandbox: Sandbox) -> None:
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    assert office.by("ann").run("approve", "campaign.toml", "--refuse", "wrong list").code == 0
    assert office.requests() == []
    assert office.send().code == 2
    assert office.requests()[0].state is ApprovalState.ASKED
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send().code == 0
    assert len(sandbox.requests()) == 3


def test_a_run_is_handed_over_to_workers_only_if_it_is_approved(
    tmp_path: Path, sandbox: Sandbox, postgres_url: str
) -> None:
    office = make_office(tmp_path, sandbox, postgres_url)
    assert office.run("ledger", "upgrade").code == 0
    refused = office.send("--detach")
    assert refused.code == 2
    assert "guards.approval is true" in refused.err
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send("--detach").code == 0
    assert "approved by dana" in office.run("runs").out
    # Workers that come later do not send it without the approval.
    assert office.by("dana").run("approve", "campaign.toml", "--refuse", "wrong month").code == 0
    with closing(open_ledger(postgres_url)) as ledger:
        assert open_run(ledger, 1) is None
    assert not sandbox.requests()


def test_what_needs_no_approval(office: Office, sandbox: Sandbox) -> None:
    assert office.run("send", "campaign.toml", "--yes", "--sandbox").code == 0
    preview = office.run("preview", "campaign.toml")
    assert preview.code == 0
    assert "Another person must approve these texts before they are sent." in " ".join(preview.out.split())
    assert office.send("--test-customer", "me").code == 0
    assert office.requests() == []
    assert sandbox.texts() == {"me": 1}


def test_nothing_to_send_needs_no_approval(office: Office, sandbox: Sandbox) -> None:
    office.write(customers(3), campaign=f"{GUARD}[recipients]\nwhere = '\"-\" == first_name'")
    assert office.send().code == 0
    nothing = office.by("dana").approve()
    assert nothing.code == 2
    assert "there is nothing to approve" in nothing.out


def test_the_first_few_and_the_rest_go_under_one_approval(office: Office, sandbox: Sandbox) -> None:
    assert office.send("--limit", "1").code == 2
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send("--limit", "1").code == 0
    assert len(sandbox.requests()) == 1
    assert office.send().code == 0
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1, "customer-2": 1}


def test_the_rest_of_a_run_with_another_text_needs_another_approval(office: Office, sandbox: Sandbox) -> None:
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send("--limit", "1").code == 0
    one_letter(office)
    assert office.send().code == 2
    assert len(sandbox.requests()) == 1
    assert office.by("dana").approve(answer="2").code == 0
    assert office.by("ann").send().code == 0
    assert len(sandbox.requests()) == 3
    assert office.run("runs").out.count("approved by dana") == 2


def test_texts_sent_again_need_another_approval(any_office: Office, sandbox: Sandbox) -> None:
    office = any_office
    rows = [{**row, "Customer UUID": f"sandbox-locked-{n}"} for n, row in enumerate(customers(3))]
    office.write(rows, campaign=GUARD)
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send().code == 1
    assert len(sandbox.requests()) == 3
    again = office.send("--resend", "failed")
    assert again.code == 2
    assert len(sandbox.requests()) == 3
    assert office.by("dana").approve("--resend", "failed").code == 0
    assert office.by("ann").send("--resend", "failed").code == 1
    assert len(sandbox.requests()) == 6
    # That approval was for one time, too.
    assert office.send("--resend", "failed").code == 2
    assert len(sandbox.requests()) == 6


def test_an_approved_run_continues_after_kill_9(any_office: Office, sandbox: Sandbox) -> None:
    office = any_office
    office.write(customers(60), campaign=f"{GUARD}[sending]\nrate = 20\nconcurrency = 2")
    assert office.send().code == 2
    assert office.by("dana").approve(answer="60").code == 0
    process = office.by("ann").start("send", "campaign.toml", "--yes")
    sandbox.wait_for(5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert office.by("dana").send().code == 2
    done = office.by("ann").send()
    assert done.code in (0, 1), done.err
    texts = sandbox.texts()
    assert set(texts.values()) == {1}
    # At most twice `concurrency` rows are unknown, and are not sent again.
    assert len(texts) >= 56
    assert office.run("runs").out.count("approved by dana") == 1


def test_the_same_list_again_needs_another_approval(any_office: Office, sandbox: Sandbox) -> None:
    """An approval is for one run, even if `repeat_after_days` allows the same texts to go out again."""
    office = any_office
    office.write(customers(3), campaign=f"{GUARD}[recipients]\nrepeat_after_days = 1")
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    assert office.by("ann").send().code == 0
    (used,) = office.requests(1)
    assert (used.run_id, office.requests()) == (1, [])
    ledger = open_ledger(office.ledger)
    with ledger.write() as connection:
        connection.execute(update(runs).values(created_at="2026-01-01T10:00:00.000Z"))
        connection.execute(update(messages).values(sent_at="2026-01-01T10:00:01.000Z"))
    ledger.close()
    again = office.send()
    assert again.code == 2
    assert "ann asked for the approval of 3 texts" in again.err
    assert len(sandbox.requests()) == 3


def test_without_a_terminal_nothing_is_approved(office: Office) -> None:
    assert office.send().code == 2
    refused = office.by("dana").run("approve", "campaign.toml", answer="3\n")
    assert refused.code == 2
    assert "There is no terminal to ask on." in refused.err
    assert office.requests()[0].state is ApprovalState.ASKED


def test_json_log_says_what_is_missing(office: Office) -> None:
    refused = office.send("--log-format", "json")
    assert refused.code == 2
    assert '"event": "refused"' in refused.err
    assert "batchsend approve campaign.toml" in refused.err


@pytest.fixture
def in_process(any_office: Office, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Runs sending in this process, too, as ann."""
    for name, value in any_office.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(any_office.folder)
    return any_office


def test_an_approval_taken_back_at_the_last_moment_sends_nothing(
    in_process: Office, sandbox: Sandbox
) -> None:
    office = in_process
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    start = api.prepare(api.load_campaign(office.folder / "campaign.toml"), StartOptions())

    def take_back(_plan: object) -> bool:
        ledger = open_ledger(office.ledger)
        refuse(ledger, office.requests()[0], Person("dana", "front-desk"), "stop")
        ledger.close()
        return True

    with pytest.raises(GuardError, match="taken back, changed or used for another run at this moment"):
        runner.send(start, confirm=take_back, listener=lambda _event: None)
    assert not sandbox.requests()
    assert "Nothing has been sent yet." in office.run("runs").out


def test_an_approval_of_fewer_texts_at_the_last_moment_is_not_one_of_all(
    in_process: Office, sandbox: Sandbox
) -> None:
    office = in_process
    assert office.send().code == 2
    assert office.by("dana").approve().code == 0
    start = api.prepare(api.load_campaign(office.folder / "campaign.toml"), StartOptions())

    def approve_fewer(_plan: object) -> bool:
        dana = Person("dana", "front-desk")
        with closing(open_ledger(office.ledger)) as ledger:
            refuse(ledger, office.requests()[0], dana, "one customer complained")
            assert office.run("optouts", "add", "--customer", "customer-0", "--reason", "called").code == 0
            with make_plan(plan_request(start, lambda *_: None), ledger) as plan:
                assert plan.approval is not None
                assert plan.approval.content.texts == 2
                approve(ledger, request_to_answer(ledger, plan), plan.approval.content, dana)
        return True

    with pytest.raises(GuardError, match="taken back, changed or used"):
        runner.send(start, confirm=approve_fewer, listener=lambda _event: None)
    assert not sandbox.requests()
    assert office.by("ann").send().code == 0
    assert sandbox.texts() == {"customer-1": 1, "customer-2": 1}


@pytest.mark.system
def test_taking_an_approval_back_stops_what_is_sent_under_it(any_office: Office, sandbox: Sandbox) -> None:
    office = any_office
    office.write(customers(60), campaign=f"{GUARD}[sending]\nrate = 10\nconcurrency = 2")
    assert office.send().code == 2
    assert office.by("dana").approve(answer="60").code == 0
    process = office.by("ann").start("send", "campaign.toml", "--yes")
    sandbox.wait_for(3)
    refused = office.by("dana").run("approve", "campaign.toml", "--refuse", "wrong month")
    assert refused.out == "Refused. What is left is not sent.\n", refused.err
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert len(sandbox.texts()) < 60
    assert office.by("ann").send().code == 2
    assert office.by("dana").approve(answer=str(60 - len(sandbox.texts()))).code == 0
    assert office.by("ann").send().code == 0
    assert sandbox.texts() == {f"customer-{n}": 1 for n in range(60)}


def test_of_two_answers_at_once_one_counts(in_process: Office) -> None:
    office = in_process
    assert office.send().code == 2
    start = api.prepare(api.load_campaign(office.folder / "campaign.toml"))
    ledger = open_ledger(office.ledger)
    with make_plan(plan_request(start, lambda *_: None), ledger) as plan:
        request = request_to_answer(ledger, plan)
        assert plan.approval is not None
        seen, together = plan.approval.content, Barrier(4)

        def answer(name: str) -> bool:
            together.wait()
            person = Person(name, "front-desk")
            try:
                if name.startswith("refuses"):
                    refuse(ledger, request, person, "no")
                else:
                    approve(ledger, request, seen, person)
            except GuardError as error:
                assert "Nothing was changed." in str(error)
                return False
            return True

        names = ["dana", "eva", "refuses-1", "refuses-2"]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(answer, names))
    assert answers.count(True) == 1
    (after,) = office.requests()
    winner = names[answers.index(True)]
    assert winner in (after.approved_by, after.refused_by)
    assert {after.approved_by, after.refused_by} == {winner, None}
    ledger.close()


def test_a_new_request_replaces_the_open_one(any_office: Office) -> None:
    office = any_office
    assert office.send().code == 2
    one_letter(office)
    assert office.send().code == 2
    assert len(office.requests()) == 1
    office.write(campaign=GUARD)
    assert "no one asked" in office.by("dana").approve().out
