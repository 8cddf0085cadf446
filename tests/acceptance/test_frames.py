"""The Python API with DataFrames: as the list, and as the results."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from world import Sandbox, World, customers, read_results, running_world

from batchsend import load_campaign, preview, send
from batchsend.errors import BatchsendError, ListError
from batchsend.reports.table import COLUMNS
from batchsend.runs.report import Report

SCRIPT = """
import pandas as pd
from batchsend import load_campaign, send

frame = pd.read_json("people.json", dtype=False)
report = send(load_campaign("campaign.toml"), customers=frame, confirm=lambda plan: True)
print(report.tally.sentence())
"""
#: `customers.csv` does not exist: the frame is the list.
CAMPAIGN = "[sending]\nrate = 200\nconcurrency = 4\n"


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A campaign without a list, and its settings in this process."""
    world.write(campaign=CAMPAIGN)
    for name, value in world.env().items():
        if name.startswith("MYKAARMA"):
            monkeypatch.setenv(name, value)
    return world


def people(count: int) -> pd.DataFrame:
    return pd.DataFrame(customers(count))


def test_a_frame_is_previewed_and_sent(here: World, sandbox: Sandbox) -> None:
    campaign = load_campaign(here.folder / "campaign.toml")
    frame = people(3)
    frame["Visits"] = [1, np.nan, 2]
    frame.loc[1, "Phone"] = None
    frame.loc[2, "First Name"] = None
    frame.index = pd.Index([9, 9, 7])
    before, files = frame.copy(deep=True), sorted(here.folder.iterdir())

    with preview(campaign, customers=frame) as plan:
        planned = plan.to_frame()
    assert sorted(here.folder.iterdir()) == files
    assert list(planned.index) == [2, 3, 4]
    assert list(planned["status"]) == ["ready", "ready", "invalid"]
    assert list(planned["Visits"]) == ["1", "", "2"]

    seen = []
    report = send(campaign, customers=frame, confirm=lambda plan: bool(seen.append(plan.to_frame()) or True))
    pd.testing.assert_frame_equal(seen[0], planned)
    pd.testing.assert_frame_equal(frame, before)
    assert report.tally.sentence().startswith("3 rows = 2 accepted by myKaarma")
    results = report.to_frame()
    assert results.index.name == "row"
    own = [column.header for column in COLUMNS[1:]]
    assert [header for header in results.columns if header in own] == own
    assert list(results["status"]) == ["accepted", "accepted", "invalid"]
    assert list(results["errorCodes"]) == ["", "", "MISSING_VALUE"]
    assert list(results["phone"].isna()) == [False, True, False]
    assert str(results["segments"].dtype) == str(results["httpStatus"].dtype) == "Int64"
    assert list(results["attempts"]) == [1, 1, 0]
    workbook = read_results(here.folder / "results" / "campaign-1.xlsx")
    for row, values in workbook.items():
        for header in results.columns:
            value = results.loc[row, header]
            assert (values[header] or None) == (None if pd.isna(value) else value or None), header
    assert set(sandbox.texts().values()) == {1}


def test_the_list_is_saved_for_its_owner_only(here: World) -> None:
    campaign = load_campaign(here.folder / "campaign.toml")
    with pytest.raises(BatchsendError, match="Nothing was sent"):
        send(campaign, customers=people(2), confirm=lambda plan: False)
    (saved,) = (here.folder / "lists").iterdir()
    assert saved.name.startswith("campaign-")
    if os.name != "nt":
        assert saved.stat().st_mode & 0o077 == 0


def test_the_same_frame_continues_its_run_and_another_frame_is_another_run(
    here: World, sandbox: Sandbox
) -> None:
    campaign = load_campaign(here.folder / "campaign.toml")
    first = send(campaign, customers=people(4), confirm=lambda plan: True, limit=1)
    again = send(campaign, customers=people(4), confirm=lambda plan: True)
    assert (first.run_id, again.run_id) == (1, 1)
    assert list(again.to_frame()["status"]) == ["accepted"] * 4
    other = send(campaign, customers=people(5), confirm=lambda plan: True)
    assert other.run_id == 2
    assert list(other.to_frame()["errorCodes"]) == [*["ALREADY_SENT"] * 4, ""]
    assert set(sandbox.texts().values()) == {1}
    # Later starts have changed what the first report shows.
    assert list(first.to_frame()["status"]) == ["accepted"] * 4


def test_options_of_the_campaigns_own_list_do_not_apply(here: World) -> None:
    here.write(campaign='[list_options]\nsheet = "March"\ndelimiter = ";"\nencoding = "windows-1252"\n')
    frame = people(1)
    frame["First Name"] = "Jos\u00e9; \u4e2d"
    with preview(load_campaign(here.folder / "campaign.toml"), customers=frame) as plan:
        assert list(plan.to_frame()["First Name"]) == ["Jos\u00e9; \u4e2d"]


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (
            pd.DataFrame({"Customer UUID": [b"x"], "First Name": ["Ann"]}),
            'Its column "Customer UUID" has values of',
        ),
        (pd.DataFrame({"Customer UUID": [], "First Name": []}), "It has only a header and no rows."),
        (pd.DataFrame(), "None of its columns has a name."),
        (
            pd.DataFrame({"First Name": ["Ann"], "Model": ["CR-V"]}),
            r"DataFrame.*: needs a column for `customer_uuid`",
        ),
        (pd.Series(["a"]), "^customers: This has to be a pandas DataFrame, but it is a Series."),
        ({"Customer UUID": ["a"]}, "^customers: This has to be a pandas DataFrame, but it is a dict."),
        ("customers.csv", "^customers: This has to be a pandas DataFrame, but it is a str."),
    ],
)
def test_a_frame_that_is_no_list(here: World, frame: pd.DataFrame, problem: str) -> None:
    with (
        pytest.raises(ListError, match=problem),
        preview(load_campaign(here.folder / "campaign.toml"), customers=frame),
    ):
        pass


def test_a_coroutine_sends_in_a_thread(here: World, sandbox: Sandbox) -> None:
    campaign = load_campaign(here.folder / "campaign.toml")

    def start() -> Report:
        return send(campaign, customers=people(3), confirm=lambda plan: True)

    async def notebook() -> Report:
        with pytest.raises(BatchsendError, match=r"asyncio\.to_thread\(send"):
            start()
        return await asyncio.to_thread(start)

    report = asyncio.run(notebook())
    # The call that was refused left no run behind.
    assert (report.run_id, list(report.to_frame()["status"])) == (1, ["accepted"] * 3)
    assert set(sandbox.texts().values()) == {1}


@pytest.mark.system
@pytest.mark.parametrize("way", ["frame", "file"])
def test_after_a_kill_the_frame_or_its_file_continues_the_run(tmp_path: Path, way: str) -> None:
    with running_world(tmp_path, "--latency", "0.05") as (world, sandbox):
        world.write(campaign=CAMPAIGN, template="Hi {{ first_name }}, your code is {{ code }}.")
        frame = people(60)
        codes = ["=7", "line\nbreak", "007", '"', "=1+1", "a;b"]
        frame["Code"] = [codes[n % 6] for n in range(60)]
        frame.to_json(world.folder / "people.json")

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "-c", SCRIPT],
                cwd=world.folder,
                env=world.env(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )

        first = start()
        sandbox.wait_for(8)
        first.kill()
        first.communicate()
        (saved,) = (world.folder / "lists").glob("campaign-*.csv")
        if way == "frame":
            done = start()
            out, err = done.communicate(timeout=60)
            assert done.returncode == 0, err
        else:
            finished = world.send("--list", str(saved.relative_to(world.folder)))
            out = finished.out
            assert finished.code in (0, 1), finished.err
        assert "60 rows = " in out
        rows = world.workbook(1)
        assert not (world.folder / "results" / "campaign-2.xlsx").exists()
        texts = sandbox.texts()
    assert Counter(texts.values()).keys() == {1}
    statuses = Counter(row["status"] for row in rows.values())
    assert statuses.keys() <= {"accepted", "unconfirmed"}
    assert statuses["unconfirmed"] <= 8
    assert len(texts) >= statuses["accepted"] > 40
    for number, row in rows.items():
        if row["status"] == "accepted":
            assert row["Code"] == frame["Code"][number - 2], number
