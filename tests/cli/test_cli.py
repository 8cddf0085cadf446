"""The commands other than `send`, as users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from openpyxl import load_workbook
from openpyxl.styles import PatternFill
from workbooks import new_workbook
from world import BATCHSEND, CAMPAIGN, Sandbox, World, customers, read_results

from batchsend.runs.api import load_campaign

HEAVY = ("pandas", "aiohttp", "sqlalchemy", "openpyxl", "numpy", "jinja2", "rich", "phonenumbers", "pydantic")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["send", "--help"], ["preview", "--help"]])
def test_help_does_not_load_the_heavy_libraries(arguments: list[str]) -> None:
    code = (
        "import sys; from batchsend.cli.main import run; code = run(sys.argv[1:]); "
        f"print([name for name in {HEAVY!r} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, encoding="utf-8")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "[]"


def test_commands_load_only_the_libraries_that_they_need(tmp_path: Path, sandbox: Sandbox) -> None:
    world = World(tmp_path, sandbox.base_url).write(customers(1))
    assert world.send().code == 0
    code = (
        "import sys; from batchsend.cli.main import run; code = run(sys.argv[1:]); "
        "print([name for name in ('aiohttp', 'pandas') if name in sys.modules]); sys.exit(code)"
    )
    # The preview judges its rows in frames of pandas; the others only read the ledger.
    for arguments, loaded in (
        (["preview", "campaign.toml"], "['pandas']"),
        (["runs", "campaign.toml"], "[]"),
        (["results", "campaign.toml"], "[]"),
    ):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=world.env(), capture_output=True, encoding="utf-8")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, loaded), (arguments, done.stderr)


def test_a_new_campaign_can_be_rehearsed_but_not_sent_with_its_sample_ids(tmp_path: Path) -> None:
    world = World(tmp_path)
    made = world.run("new", "spring")
    assert made.code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "campaign.schema.json",
        "spring.csv",
        "spring.toml",
        "spring.txt.j2",
    ]
    again = world.run("new", "spring")
    assert again.code == 2
    assert "spring.toml, spring.txt.j2, spring.csv: already there. Nothing is overwritten." in again.err
    rehearsed = world.run("send", "spring.toml", "--sandbox", "--yes")
    assert "3 rows = 2 accepted by myKaarma + 1 skipped + 0 need attention + 0 waiting" in rehearsed.out
    assert rehearsed.code == 0
    assert "through a stand-in" in rehearsed.out
    sent = world.run("send", "spring.toml", "--yes")
    assert sent.code == 2
    assert "`department_uuid` is still the sample id: put in your own" in sent.err
    assert "`user_uuid` is still the sample id" in sent.err
    # The lines for a scheduled campaign need only their # taken out.
    file = tmp_path / "spring.toml"
    above, marked, scheduled = file.read_text(encoding="utf-8").partition("out of these lines:\n")
    lines = [line.removeprefix("#").strip() for line in scheduled.splitlines()]
    file.write_text("\n".join([above + marked, *lines]), encoding="utf-8")
    campaign = load_campaign(file)
    assert campaign.guards.require_history
    assert campaign.schedule is not None


def test_quiet_prints_the_summary_line_and_why_a_run_stopped(world: World, sandbox: Sandbox) -> None:
    world.environment["MYKAARMA_PASSWORD"] = "wrong"
    world.write(customers(3))
    stopped = world.send("--quiet")
    assert stopped.code == 3
    first, *_, last = stopped.out.splitlines()
    assert first == "3 rows = 0 accepted by myKaarma + 0 skipped + 0 need attention + 3 waiting"
    assert "Stopped: myKaarma does not accept the username and password (WRONG_CREDENTIAL)." in stopped.out
    assert (
        "MYKAARMA_USERNAME comes from the environment, MYKAARMA_PASSWORD from the environment." in stopped.out
    )
    assert last.startswith("Report: ")
    assert len(sandbox.requests()) == 1
    assert "wrong" not in (world.folder / "results" / "campaign-1.html").read_text(encoding="utf-8")


def test_preview_sends_nothing_and_writes_no_ledger(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    done = world.run("preview", "campaign.toml")
    assert done.code == 0
    assert done.out.endswith(
        "2 rows = 0 accepted by myKaarma + 2 ready to send + 0 skipped + 0 need attention + 0 waiting\n"
        f"Preview: {Path('previews/campaign.xlsx')}\nPage: {Path('previews/campaign.html')}\n"
    )
    rows = read_results(world.folder / "previews" / "campaign.xlsx")
    assert [row["status"] for row in rows.values()] == ["ready", "ready"]
    assert rows[2]["message"] == "Hi Name0, it is time for your service."
    assert not (world.folder / ".batchsend").exists()
    assert sandbox.requests() == []


def test_preview_of_a_list_with_invalid_rows_is_exit_1(world: World) -> None:
    world.write([*customers(1), {"Customer UUID": "x", "First Name": "", "Phone": ""}])
    done = world.run("send", "campaign.toml", "--dry-run")
    assert done.code == 1
    assert "MISSING_VALUE: row 3." in done.out


def test_preview_shows_earlier_outcomes_as_send_would(world: World) -> None:
    world.write(customers(2))
    world.send("--limit", "1")
    done = world.run("preview", "campaign.toml", "--out", "elsewhere")
    rows = read_results(world.folder / "elsewhere" / "campaign.xlsx")
    assert [row["status"] for row in rows.values()] == ["accepted", "ready"]
    assert rows[2]["run"] == 1
    assert "continues: the list is the same" in done.out


def test_results_can_be_written_again_at_any_time(world: World) -> None:
    world.write(customers(2))
    world.send()
    (world.folder / "results" / "campaign-1.xlsx").unlink()
    (world.folder / "customers.csv").unlink()
    for target in ("1", "campaign.toml"):
        done = world.run("results", target, "--out", f"again-{target}.csv")
        assert done.code == 0
        lines = (world.folder / f"again-{target}.csv").read_text(encoding="utf-8-sig").splitlines()
        assert len(lines) == 3
        assert lines[1].startswith("2,accepted,")
    assert world.run("results", "campaign.toml").out.endswith(
        "Results: results/campaign-1.xlsx\nReport: results/campaign-1.html\n"
    )
    unknown = world.run("results", "99")
    assert unknown.code == 2
    assert "has no run 99. `batchsend runs` lists the runs." in unknown.err


def test_accepted_rows_can_be_the_list_of_another_campaign(world: World, sandbox: Sandbox) -> None:
    rows = [*customers(2), {"Customer UUID": "sandbox-locked-1", "First Name": "=1+1", "Phone": ""}]
    world.write(rows)
    world.send()
    only = world.run("results", "campaign.toml", "--only", "failed")
    assert only.out.endswith("Results: results/campaign-1-failed.xlsx\n")
    assert list(read_results(world.folder / "results" / "campaign-1-failed.xlsx")) == [4]
    done = world.run("results", "1", "--as-list", "--only", "accepted")
    assert done.out.endswith("List: results/campaign-1-accepted-list.xlsx\n")
    (world.folder / "sorry.toml").write_text(
        CAMPAIGN.replace("Spring", "Sorry").replace("customers.csv", "results/campaign-1-accepted-list.xlsx"),
        encoding="utf-8",
    )
    assert world.run("send", "sorry.toml", "--yes").code == 0
    assert sandbox.texts() == {"customer-0": 2, "customer-1": 2}
    assert world.run("results", "1", "--as-list").out.endswith("List: results/campaign-1-all-list.xlsx\n")
    formula = world.run("results", "1", "--as-list", "--only", "failed", "--out", "failed.csv")
    assert formula.code == 0
    assert "sandbox-locked-1,=1+1," in (world.folder / "failed.csv").read_text(encoding="utf-8-sig")
    none = world.run("results", "1", "--as-list", "--only", "delivered")
    assert none.code == 2
    assert none.err == "Run 1 has no row that is delivered. Nothing was written.\n"
    assert "'sent' is not one of 'pending', 'accepted'," in world.run("results", "1", "--only", "sent").err
    assert world.run("results", "1", "--only", "Failed").err.rstrip().endswith("Did you mean 'failed'?")


def test_results_go_into_a_copy_of_the_lists_own_workbook(world: World) -> None:
    rows = [*customers(2), {"Customer UUID": "sandbox-locked-1", "First Name": "Ann", "Phone": ""}]
    workbook, sheet = new_workbook([list(rows[0]), *(list(row.values()) for row in rows)])
    sheet["B2"].fill = PatternFill("solid", fgColor="FF00FF00")
    workbook.save(world.folder / "customers.xlsx")
    world.write(campaign=CAMPAIGN.replace("customers.csv", "customers.xlsx"))
    world.send()
    done = world.run("results", "campaign.toml", "--into-list")
    assert done.code == 0
    assert done.out.startswith("3 rows = 2 accepted by myKaarma + ")
    assert done.out.endswith("List: results/campaign-1-list.xlsx\n")
    copy = load_workbook(world.folder / "results" / "campaign-1-list.xlsx").active
    assert copy["B2"].fill.fgColor.rgb == "FF00FF00"
    assert [[cell.value for cell in row[3:6]] for row in copy] == [
        ["status", "messageUUID", "errorCodes"],
        *(
            [row["status"], row["messageUUID"], row["errorCodes"]]
            for row in read_results(world.folder / "results" / "campaign-1.xlsx").values()
        ),
    ]
    assert world.run("results", "1", "--into-list", "--out", "mine.xlsx").out.endswith("List: mine.xlsx\n")
    for option in (("--only", "failed"), ("--as-list",)):
        refused = world.run("results", "1", "--into-list", *option)
        assert refused.code == 2
        assert "--only and --as-list cannot be used with it" in refused.err
    (world.folder / "customers.xlsx").unlink()
    refused = world.run("results", "1", "--into-list")
    assert refused.code == 2
    assert "customers.xlsx: the list is no longer there, so it cannot be copied. Put it back." in refused.err
    assert refused.err.endswith("Without --into-list, the results get a workbook of their own.\n")


def test_runs_lists_each_run_with_its_counts(world: World) -> None:
    assert "There is no ledger in" in world.run("runs").err
    world.write(customers(2))
    world.send()
    done = world.run("runs")
    assert done.code == 0
    assert "run 1  Spring" in done.out
    assert (
        "customers.csv: 2 rows = 2 accepted by myKaarma + 0 skipped + 0 need attention + 0 waiting"
        in done.out
    )
    assert "ended: done" in done.out


def test_history_shows_the_texts_to_a_customer_or_phone(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send()
    for option in (("--customer", "customer-1"), ("--phone", "(312) 500-0001")):
        done = world.run("history", *option)
        assert done.code == 0
        assert "accepted  Spring, run 1, row 3" in done.out
        assert "| Hi Name1, it is time for your service." in done.out
        assert sandbox.requests()[1]["messageUUID"] in done.out
        assert "Name0" not in done.out
    stranger = world.run("history", "--customer", "stranger")
    assert stranger.out == "This ledger has no text to stranger.\n"
    assert "Name a customer with --customer, or a phone number with --phone." in world.run("history").err


@pytest.mark.parametrize(
    ("option", "name"),
    [("--log-format=json", json.dumps("Frühling 🌷")), ("--log-format=text", "Frühling ?")],
)
def test_a_run_does_not_fail_on_the_encoding_of_its_output(
    world: World, sandbox: Sandbox, option: str, name: str
) -> None:
    """The JSON is the same in each encoding: in the code page of Windows, it would be none."""
    row = {"Customer UUID": "customer-1", "First Name": "Zoë🙂", "Phone": ""}
    world.write([row], campaign=CAMPAIGN.replace("Spring", "Frühling 🌷"))
    done = world.run_cold("send", "campaign.toml", "--yes", option, encoding="cp1252")
    assert done.code == 0
    assert name in done.out
    assert [request["body"] for request in sandbox.requests()] == ["Hi Zoë🙂, it is time for your service."]


def test_schema_is_json_for_editors(tmp_path: Path) -> None:
    schema = json.loads(World(tmp_path).run("schema").out)
    assert "department_uuid" in schema["properties"]
    written = World(tmp_path).run("schema", "--out", "campaign.schema.json")
    assert (written.code, written.out) == (0, "wrote campaign.schema.json\n")
    assert json.loads((tmp_path / "campaign.schema.json").read_text(encoding="utf-8")) == schema
    (tmp_path / "list.json").write_text("{}", encoding="utf-8")
    refused = World(tmp_path).run("schema", "--out", "list.json")
    assert refused.code == 2
    assert "list.json: another file is there already." in refused.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        # A mistyped file name is the most common mistake.
        (["preview", "nowhere.toml"], "nowhere.toml"),
        (["send", "nowhere.toml", "--yes"], "nowhere.toml"),
        # Mistakes that click finds.
        (["send"], "Missing argument 'CAMPAIGN'"),
        (["sned"], "No such command 'sned'"),
        # What can never be sent again.
        (
            ["send", "campaign.toml", "--yes", "--resend", "accepted"],
            "--resend accepted: only `failed` and `unconfirmed` rows can be sent again.",
        ),
        (
            ["send", "campaign.toml", "--yes", "--resend", "OPTED_OUT_COMMUNICATION_VALUE"],
            "these customers opted out and are never texted again.",
        ),
        (["preview", "campaign.toml", "--resend", "unconfirmd"], "Did you mean --resend unconfirmed?"),
        # A value that is none of the known ones.
        (
            ["send", "campaign.toml", "--log-format", "JSON"],
            "'JSON' is not one of 'text', 'json'. Did you mean 'json'?",
        ),
        (
            ["optouts", "import", "people.csv", "--region", "uk"],
            """expected a country as two capital letters, such as "US", but it is 'uk'; did you mean "GB"?""",
        ),
        (
            ["history", "--phone", "3125550142", "--region", "Kanada"],
            """but it is 'Kanada'; did you mean "CA"?""",
        ),
        # Values that no start can use.
        (["send", "campaign.toml", "--yes", "--rate", "0"], "--rate"),
        (["send", "campaign.toml", "--yes", "--results", "x.pdf"], ".xlsx or .csv"),
        # A password in an argument is visible to other users of the computer.
        (
            ["send", "campaign.toml", "--yes", "--ledger", "postgresql://u:secret@h/db"],
            "--ledger holds a password",
        ),
    ],
)
def test_bad_usage_is_exit_2_with_a_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    world = World(tmp_path).write(customers(1))
    done = world.run(*arguments)
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / ".batchsend").exists()


def test_problems_of_all_files_are_reported_together(tmp_path: Path) -> None:
    world = World(tmp_path).write(
        [{"Name": "A", "Phone": ""}],
        campaign='[recipients]\nsuppress = ["no_such_file.csv"]\n',
        template="Hi {{ frist_name }}",
    )
    done = world.run("preview", "campaign.toml")
    assert done.code == 2
    for sentence in (
        "no_such_file.csv",
        "frist_name",
        "needs a column for `customer_uuid`; it has: Name, Phone",
    ):
        assert sentence in done.err


def test_missing_credentials_are_an_error_that_tells_how_to_set_them(tmp_path: Path) -> None:
    world = World(tmp_path).write(customers(1))
    world.environment = {"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": ""}
    done = world.send()
    assert done.code == 2
    assert "MYKAARMA_USERNAME" in done.err
    assert ".env" in done.err


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind")
def test_only_the_owner_can_read_ledger_results_and_previews(world: World) -> None:
    world.write(customers(1))
    world.send()
    world.run("preview", "campaign.toml")
    private = [
        *world.folder.glob(".batchsend/*"),
        *world.folder.glob("results/*"),
        *world.folder.glob("previews/*"),
    ]
    assert {file.name for file in private} >= {"ledger.db", "campaign-1.xlsx", "campaign.xlsx"}
    assert {file.stat().st_mode & 0o077 for file in private} == {0}


def test_a_sandbox_on_a_used_port_is_an_error(world: World) -> None:
    port = world.base_url.rsplit(":", 1)[1]
    done = subprocess.run([*BATCHSEND, "sandbox", "--port", port], capture_output=True, encoding="utf-8")
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_results_never_overwrite_a_file_that_the_campaign_reads(world: World, sandbox: Sandbox) -> None:
    world.write(customers(1))
    before = (world.folder / "customers.csv").read_bytes()
    refused = world.send("--results", "customers.csv")
    assert refused.code == 2
    assert "customers.csv is a file that the campaign reads" in refused.err
    (world.folder / "message.html").write_text(
        (world.folder / "message.txt.j2").read_text(), encoding="utf-8"
    )
    campaign = world.folder / "campaign.toml"
    campaign.write_text(campaign.read_text().replace("message.txt.j2", "message.html"), encoding="utf-8")
    page = world.send("--results", "message.xlsx")
    assert page.code == 2
    assert "message.html is a file that the campaign reads" in page.err
    assert sandbox.requests() == []
    assert world.send().code == 0
    again = world.run("results", "campaign.toml", "--out", "customers.csv", "--as-list")
    assert again.code == 2
    assert (world.folder / "customers.csv").read_bytes() == before


@pytest.mark.parametrize(
    "value",
    [
        "(312) 555-0142",
        "name0@example.com",
        "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3",
        "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e",
    ],
)
def test_the_error_for_a_list_without_headers_repeats_no_customer(world: World, value: str) -> None:
    world.write(campaign="")
    (world.folder / "customers.csv").write_text(f"{value},Name0\n{value}1,Name1\n", encoding="utf-8")
    refused = world.send("--log-format", "json")
    assert refused.code == 2
    assert "Its first row looks like a customer, not headers" in refused.err
    assert "Name0" not in refused.err + refused.out
    # Long names of columns are headers.
    long = "CUSTOMER_PREFERRED_CONTACT_NUMBER_FOR_TEXT1"
    world.write_list([person | {long: "x"} for person in customers(1)])
    assert world.run("preview", "campaign.toml").code == 0


def test_problems_of_list_and_template_are_reported_together(world: World) -> None:
    world.write(
        [{"Name": "a", "first_name": "b", "First Name": "c"}], template="Hi {{ fist_name }}, {{ nobody }}"
    )
    refused = world.send()
    assert refused.code == 2
    for problem in (
        "headers mean the same column",
        "needs a column for `customer_uuid`",
        "`fist_name`",
        "`nobody`",
    ):
        assert problem in refused.err, problem


def test_without_a_terminal_no_text_is_printed(world: World) -> None:
    world.write(customers(2))
    assert "Hi Name0" in world.run("preview", "campaign.toml").out
    assert "Hi Name0" not in world.send().out


def test_options_without_effect_on_a_dry_run_are_refused(world: World, sandbox: Sandbox) -> None:
    world.write(customers(1))
    refused = world.send("--dry-run", "--expect", "9")
    assert refused.code == 2
    assert "--dry-run is `batchsend preview`, which has no --expect: leave it out." in refused.err
    assert world.send("--dry-run").code == 0
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    "options",
    [
        # Options about sending: a preview sends nothing.
        ["--strict"],
        ["--rate", "1"],
        ["--concurrency", "1"],
        ["--wait"],
        ["--detach"],
        ["--sandbox"],
        # Options about output that a preview does not have.
        ["--results", "x.csv"],
        ["--quiet"],
        ["--log-format", "json"],
    ],
)
def test_every_option_that_preview_lacks_is_refused_with_dry_run(tmp_path: Path, options: list[str]) -> None:
    world = World(tmp_path).write(customers(1))
    refused = world.send("--dry-run", *options)
    assert refused.code == 2
    assert f"which has no {options[0]}: leave it out." in refused.err


def test_options_of_preview_go_with_dry_run(tmp_path: Path) -> None:
    world = World(tmp_path).write(customers(2))
    (tmp_path / "customers.csv").rename(tmp_path / "other.csv")
    done = world.send(
        "--dry-run", "--list", "other.csv", "--limit", "1", "--ledger", "l.db", "--new-campaign"
    )
    assert done.code == 0, done.err
    assert "+ 1 ready to send" in done.out


def test_a_rehearsal_says_that_it_does_not_wait_for_quiet_hours(tmp_path: Path) -> None:
    moment = datetime.now(UTC)
    begins, ends = (f"{moment + timedelta(hours=hours):%H:%M}" for hours in (-1, 2))
    hours = f'quiet_hours = {{ from = "{begins}", to = "{ends}", timezone = "UTC" }}'
    world = World(tmp_path).write(customers(1), campaign=f"[sending]\n{hours}\n")
    done = world.send("--sandbox")
    assert done.code == 0, done.err
    assert "The rehearsal does not wait." in " ".join(done.out.split())
    assert "1 row = 1 accepted by myKaarma" in done.out
