"""A list source of an installed package: its rows, and what happens if it does anything wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from packages import installed, write_package

from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError, ListError
from batchsend.lists.formats import extension
from batchsend.planning.sources import open_campaign_list, read_sources
from batchsend.web.jobs.problem_rows import is_made_anew

#: What goes wrong -> the source, and what the error says about it.
WRONG = {
    "raises": ("def rows(path): raise ValueError('Ann 3125550100')", "failed (ValueError, crm.py, line 2)."),
    "raises later": (
        "def rows(path):\n yield ['A']\n yield ['x']\n 1/0",
        "failed (ZeroDivisionError, crm.py, line 5).",
    ),
    "ends the process": ("import sys\ndef rows(path): sys.exit(1)", "failed (SystemExit, crm.py, line 3)."),
    "explains": (
        "import batchsend.errors as e\ndef rows(path): raise e.BatchsendError('CRM_URL is not set.')",
        "failed: CRM_URL is not set.",
    ),
    "hangs": (
        "from threading import Event\ndef rows(path):\n yield ['A']\n Event().wait()",
        "took more than 0.1 seconds and was given up.",
    ),
    "hangs at import": (
        "from threading import Event\nEvent().wait()\nrows = None",
        "took more than 0.1 seconds and was given up.",
    ),
    "no function": ("rows = 1", "failed (TypeError, "),
    "no module": ("import no_such_module", "failed (ModuleNotFoundError, "),
    "no name": ("", "failed (AttributeError, "),
    "no rows": ("def rows(path): return 5", "failed (TypeError, "),
    "nothing": ("def rows(path): return []", "gave no header."),
    "tables": ("def rows(path): return [['A'], {'A': 1}]", "gave a dict as row 2. Each row has to be a list"),
    "text": ("def rows(path): return 'AB'", "gave a str as row 1."),
    "short row": ("def rows(path): return [['A', 'B'], [1, 2], [3]]", "gave 1 cells in row 3,"),
    "no cell": ("def rows(path): return [['A'], [object()]]", 'Its column "A" has values of the type object'),
}


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "campaign.toml"
    file.write_text(
        'name = "Spring"\nlist = "spring.crm"\ntemplate = "text.txt"\ndepartment_uuid = "d"\nuser_uuid = "u"\n',
        encoding="utf-8",
    )
    (tmp_path / "spring.crm").write_text("segment = 1\n", encoding="utf-8")
    (tmp_path / "text.txt").write_text("Hi {{ first_name }}", encoding="utf-8")
    with installed(tmp_path / "packages"):
        yield file


def write(campaign: Path, source: str, entries: str = "crm = crm:rows", name: str = "crm") -> None:
    write_package(campaign.parent / "packages", name, "\n" + source, list_sources=entries)


def test_its_rows_are_the_list(campaign: Path) -> None:
    write(
        campaign,
        """
        import datetime

        def rows(path):
            yield "Customer UUID", "First Name", "Due", "Miles"
            yield "c1", "Ann", datetime.date(2026, 3, 1), 2**60
            yield "c2", None, path.read_text().strip(), 1.5
        """,
    )
    customers = read_sources(load_campaign(campaign)).customers
    (chunk,) = customers.chunks()
    assert chunk.frame.to_numpy().tolist() == [
        ["c1", "Ann", "2026-03-01", f"{2**60}"],
        ["c2", "", "segment = 1", "1.5"],
    ]
    assert chunk.frame.index.tolist() == [2, 3]
    assert customers.notes == ("read by crm 1.0",)
    assert customers.sha256 == customers.fingerprint()
    assert is_made_anew(campaign.with_name("spring.CRM"))


@pytest.mark.parametrize("case", WRONG)
def test_what_it_does_wrong_names_the_package(
    case: str, campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, expected = WRONG[case]
    monkeypatch.setattr(extension, "LIST_TIMEOUT", 0.1 if "hangs" in case else 20)
    if case == "hangs at import":  # Python's lock on the module stays locked
        write(campaign, source, "crm = stuck:rows", "stuck")
    else:
        write(campaign, source)
    with pytest.raises(ListError) as refused:
        open_campaign_list(load_campaign(campaign), campaign.with_name("spring.crm"))
    said = str(refused.value)
    assert said.startswith(str(campaign.with_name("spring.crm")))
    assert expected in said
    assert case == "no cell" or 'The list source "crm" of the package ' in said
    assert "Ann" not in said
    assert "crm:rows" not in refused.value.on_page


def test_two_packages_cannot_have_the_same_ending(campaign: Path) -> None:
    write(campaign, "rows = None")
    write(campaign, "rows = None", "crm = other:rows", "other")
    with pytest.raises(ListError, match=r"has the same name as that of (crm|other) 1\.0\. Uninstall all"):
        open_campaign_list(load_campaign(campaign), campaign.with_name("spring.crm"))


def test_a_package_cannot_replace_a_format(campaign: Path) -> None:
    write(campaign, "rows = None", "csv = crm:rows")
    with pytest.raises(
        ListError, match=r"is for \.csv, which batchsend reads itself\. Uninstall the package"
    ):
        open_campaign_list(load_campaign(campaign), campaign.with_name("list.csv"))


def test_a_missing_package_is_the_first_thing_said(campaign: Path) -> None:
    with pytest.raises(BatchsendError) as refused:
        read_sources(load_campaign(campaign))
    first = str(refused.value).splitlines()[0]
    assert first.startswith(f"{campaign.with_name('spring.crm')}: No package that reads lists ending in .crm")


def test_entry_points_that_cannot_be_read(campaign: Path) -> None:
    write(campaign, "rows = None", "crm")
    with pytest.raises(
        ListError, match=r"The entry points of the package crm 1\.0 cannot be read\. Install it"
    ):
        open_campaign_list(load_campaign(campaign), campaign.with_name("spring.crm"))
    assert not is_made_anew(campaign.with_name("spring.crm"))
