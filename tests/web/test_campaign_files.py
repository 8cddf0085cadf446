"""Campaigns are duplicated, renamed and archived: no one is texted twice by it, and nothing is shared by accident."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clusters import a_run
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import BASE_URL, planned, send_all, sqlite_url, store_plan
from web_client import Clicker, serving
from world import CAMPAIGN, World, customers

from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError, GuardError
from batchsend.ledger.ledger import CUSTOMER_COLUMN, Identity, Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.planned_starts import Scheduled, claim, end, watch
from batchsend.planning.identity import find_campaign
from batchsend.runs.api import prepare, preview
from batchsend.runs.handover import stop_handed_over
from batchsend.runs.runner import send
from batchsend.sending.locks import campaign_lock, scheduling_lock
from batchsend.services.schedule_files import CampaignFiles
from batchsend.web.campaign_files import archive, bring_back, duplicate, rename, renamed
from batchsend.web.folder import HERE, CampaignFile, WebFolder

SPRING = "/campaign/here/campaign"
SCHEDULE = '[schedule]\ncron = "0 10 * * *"\n'
COMMENTED = f"""# The spring reminder
{CAMPAIGN.strip()}
formerly = "Winter"  # until March

[recipients]
suppress = ["stop.csv"]  # people who moved

[list_options]
sheet = "March"

{SCHEDULE}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path).write(customers(3), campaign=COMMENTED)
    (tmp_path / ".env").write_text(f"MYKAARMA_BASE_URL={BASE_URL}\n", encoding="utf-8")
    return world


@pytest.fixture
def folder(world: World) -> WebFolder:
    return WebFolder(world.folder)


@pytest.fixture
def file(folder: WebFolder) -> CampaignFile:
    return folder.campaign(HERE, "campaign")


@pytest.fixture
def ledger(world: World) -> Iterator[Ledger]:
    """The ledger of the folder's campaigns."""
    with closing(open_ledger(sqlite_url(world.folder / ".batchsend" / "ledger.db"))) as opened:
        yield opened


def identity_of(file: CampaignFile) -> Identity:
    return Identity(file.load().name, BASE_URL, (CUSTOMER_COLUMN,), str(file.path), "this-computer", "US")


# --- duplicate


def test_a_copy_has_the_comments_and_a_text_of_its_own(folder: WebFolder, file: CampaignFile) -> None:
    before = file.path.read_bytes()
    copy = duplicate(folder, file, "Spring Chicago", same_list=False)
    assert file.path.read_bytes() == before
    text = copy.path.read_text(encoding="utf-8")
    assert "# The spring reminder" in text
    assert "# people who moved" in text
    campaign = copy.load()
    assert (campaign.name, campaign.formerly, campaign.schedule) == ("Spring Chicago", None, None)
    assert campaign.recipients.suppress == file.load().recipients.suppress
    # The sheet was chosen for the other list.
    assert (campaign.list.name, campaign.list.exists()) == ("Spring Chicago.csv", False)
    assert campaign.list_options.sheet is None
    (own,) = campaign.templates
    assert own.name == "Spring Chicago.txt.j2"
    assert own.read_bytes() == file.load().templates[0].read_bytes()


def test_a_copy_can_use_the_same_list(folder: WebFolder, file: CampaignFile) -> None:
    campaign = duplicate(folder, file, "Copy", same_list=True).load()
    assert campaign.list == file.load().list
    assert campaign.list_options.sheet == "March"


def test_every_text_of_a_campaign_with_several_is_copied(world: World, folder: WebFolder) -> None:
    by = (
        'template_by = { column = "Language", default = "a.en.txt.j2", '
        'cases = { "a.es.txt.j2" = ["ES"], "b.fr.txt.j2" = ["FR"] } }'
    )
    world.write(campaign=CAMPAIGN.replace('template = "message.txt.j2"', by))
    for name in ("a.en", "a.es", "b.fr"):
        (world.folder / f"{name}.txt.j2").write_text(name, encoding="utf-8")
    campaign = duplicate(folder, folder.campaign(HERE, "campaign"), "Copy", same_list=True).load()
    assert [path.name for path in campaign.templates] == [
        "Copy.en.txt.j2",
        "Copy.es.txt.j2",
        "Copy.fr.txt.j2",
    ]
    assert [path.read_text() for path in campaign.templates] == ["a.en", "a.es", "b.fr"]
    assert campaign.template_by is not None
    assert [list(values) for values in campaign.template_by.cases.values()] == [["ES"], ["FR"]]


@pytest.mark.parametrize("name", ["Spring", "winter", "../x", "", "campaign"])
def test_a_copy_takes_no_name_and_no_file_of_another_campaign(
    folder: WebFolder, file: CampaignFile, name: str
) -> None:
    before = sorted(path.name for path in folder.root.iterdir())
    with pytest.raises(BatchsendError):
        duplicate(folder, file, name, same_list=True)
    assert sorted(path.name for path in folder.root.iterdir()) == before


def test_a_copy_of_a_text_is_no_other_campaigns_newest_list(
    world: World, folder: WebFolder, file: CampaignFile
) -> None:
    (world.folder / "texts.toml").write_text(
        CAMPAIGN.replace("customers.csv", "Copy*.txt.j2"), encoding="utf-8"
    )
    before = sorted(path.name for path in world.folder.iterdir())
    with pytest.raises(BatchsendError, match="the campaign texts uses the newest file with a name like Copy"):
        duplicate(folder, file, "Copy", same_list=True)
    assert sorted(path.name for path in world.folder.iterdir()) == before


# --- which campaigns use a file


@pytest.mark.parametrize(
    ("pattern", "name", "refused"),
    [
        ("*.csv", "may.csv", True),
        ("export-*.csv", "export-5.csv", True),
        ("export-*.csv", "may.csv", False),
        ("*.csv", "may.xlsx", False),
        ("*.csv", "people-to-skip/may.csv", False),
        ("*/*.csv", "people-to-skip/may.csv", True),
        ("export-[1]-?.csv", "export-[1]-2.csv", True),
        ("may.csv", "may.csv", False),  # an upload never replaces a file
    ],
)
def test_a_new_file_is_not_the_newest_list_of_another_campaign(
    world: World, folder: WebFolder, file: CampaignFile, pattern: str, name: str, refused: bool
) -> None:
    other = world.folder / "other.toml"
    other.write_text(CAMPAIGN.replace("customers.csv", pattern), encoding="utf-8")
    path = world.folder / name
    with pytest.raises(BatchsendError, match="the campaign other uses") if refused else nullcontext():
        folder.refuse_list_of_others(path, file)
    # It may be the list of the campaign itself.
    folder.refuse_list_of_others(path, CampaignFile(other, HERE))


@pytest.mark.parametrize("is_archived", [False, True])
@pytest.mark.parametrize(("used", "as_text"), [("message.txt.j2", True), ("people.txt", False)])
def test_the_files_of_archived_campaigns_are_in_use(
    world: World, folder: WebFolder, used: str, as_text: bool, is_archived: bool
) -> None:
    other = world.folder / "other.toml"
    other.write_text(
        CAMPAIGN.replace("customers.csv", "people.txt").replace("Spring", "other"), encoding="utf-8"
    )
    if is_archived:
        archive(folder, CampaignFile(other, HERE))
    uses = folder.uses_of(world.folder / used)
    assert "other" in [one.stem for one in (uses.as_text if as_text else uses.otherwise)]


# --- rename


@pytest.mark.parametrize(
    ("known", "name", "formerly", "new", "then"),
    [
        ({}, "A", None, "B", None),
        ({"x": {"A"}}, "A", None, "B", "A"),
        ({"x": {"A"}}, "B", "A", "C", "A"),  # not sent as B
        ({"x": {"B"}}, "B", "A", "C", "B"),
        ({"x": {"A"}}, "B", "A", "A", None),  # back again
        ({"x": {"B"}}, "B", "A", "A", "B"),
        ({"x": {"A", "B"}}, "B", "A", "C", "B"),
        ({"x": {"Z"}}, "B", "A", "C", "A"),  # perhaps another ledger knows it
        ({"x": {"A"}, "y": {"A"}}, "A", None, "B", "A"),
    ],
)
def test_the_former_name_is_the_one_that_the_ledger_knows(
    known: dict[str, set[str]], name: str, formerly: str | None, new: str, then: str | None
) -> None:
    assert renamed(name, formerly, new, known) == {("name",): new, ("formerly",): then}


@pytest.mark.parametrize(
    ("known", "new"),
    [({"x": {"A"}, "y": {"B"}}, "C"), ({"x": {"B", "C"}}, "C"), ({"x": {"B"}, "y": {"C"}}, "C")],
)
def test_a_name_that_would_mix_or_split_histories_is_refused(known: dict[str, set[str]], new: str) -> None:
    with pytest.raises(BatchsendError):
        renamed("B", "A", new, known)


NAMES = ["A", "B", "C"]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("rename"), st.sampled_from("AB"), st.sampled_from(NAMES)),
        st.tuples(st.just("send"), st.sampled_from("AB"), st.integers(2, 5)),
        st.tuples(st.just("archive"), st.sampled_from("AB"), st.none()),
    ),
    min_size=3,
    max_size=8,
)


@settings(max_examples=10)
@given(ACTIONS)
def test_after_any_renames_exactly_those_who_were_texted_are_not_texted_again(
    actions: list[tuple[str, str, str | int | None]],
) -> None:
    """Two campaigns with one list are sent, renamed and archived in any order. Each keeps its own history."""
    with TemporaryDirectory() as name:
        world = World(Path(name)).write(customers(4))
        world.write_list([{**row, "Customer UUID": f"customer-{n}"} for n, row in enumerate(customers(4), 2)])
        (world.folder / ".env").write_text(f"MYKAARMA_BASE_URL={BASE_URL}\n", encoding="utf-8")
        (world.folder / "campaign.toml").unlink()
        for stem in "AB":
            (world.folder / f"{stem}.toml").write_text(CAMPAIGN.replace("Spring", stem), encoding="utf-8")
        folder = WebFolder(world.folder)
        texted: dict[str, set[str]] = {"A": set(), "B": set()}
        with closing(open_ledger(sqlite_url(world.folder / ".batchsend" / "ledger.db"))) as ledger:
            for what, stem, value in [("send", "A", 2), ("send", "B", 3), *actions]:
                file = folder.campaign(HERE, stem)
                if what == "archive":
                    archive(folder, file)
                    bring_back(folder, folder.archived_campaign(HERE, stem))
                elif what == "rename":
                    with suppress(BatchsendError):
                        rename(folder, file, str(value))
                elif isinstance(value, int) and f"customer-{value}" not in texted[stem]:
                    texted[stem].add(f"customer-{value}")
                    _send(ledger, file, value)
        for stem, people in texted.items():
            with preview(folder.campaign(HERE, stem).load()) as plan:
                frame = plan.to_frame()
            again = set(frame.loc[frame["status"] == "ready", "customerUUID"])
            assert again == {f"customer-{n}" for n in range(2, 6)} - people


def _send(ledger: Ledger, file: CampaignFile, number: int) -> None:
    """Sends to one customer, as `send` would."""
    who = identity_of(file)
    record = find_campaign(file.load(), who, ledger, new_campaign=False)
    row = planned(number, key=f"customer-{number}")
    send_all(
        ledger, store_plan(ledger, [row], who=who, campaign_id=record.id if record is not None else None)
    )


@pytest.mark.parametrize("lock", [campaign_lock, scheduling_lock])
@pytest.mark.parametrize("name", ["Spring", "Winter"])
def test_a_campaign_that_is_being_sent_is_left_alone(
    folder: WebFolder, file: CampaignFile, ledger: Ledger, lock: object, name: str
) -> None:
    before = file.path.read_bytes()
    with lock(ledger, name, BASE_URL):  # type: ignore[operator]
        for action in (lambda: rename(folder, file, "New"), lambda: archive(folder, file)):
            with pytest.raises(BatchsendError, match="is being sent now, so nothing was changed"):
                action()
    assert file.path.read_bytes() == before
    rename(folder, file, "New")
    assert file.load().formerly == "Winter"
    archive(folder, file)


@pytest.mark.parametrize("change", [lambda *them: rename(*them, "New"), archive])
def test_a_start_that_read_the_file_before_sends_nothing_after_it(
    world: World, folder: WebFolder, file: CampaignFile, ledger: Ledger, change: Callable[..., None]
) -> None:
    file.path.write_text(CAMPAIGN, encoding="utf-8")
    with (world.folder / ".env").open("a", encoding="utf-8") as settings_file:
        settings_file.write("MYKAARMA_USERNAME=ann\nMYKAARMA_PASSWORD=secret\n")
    start = prepare(file.load())
    change(folder, file)
    with pytest.raises(GuardError, match="renamed or moved after this start read it"):
        send(start, confirm=lambda _plan: True, listener=lambda _event: None)
    assert ledger.campaign_names(BASE_URL) == []


def test_a_campaign_whose_texts_wait_for_workers_is_left_alone(
    postgres_url: str, folder: WebFolder, file: CampaignFile
) -> None:
    shared = WebFolder(folder.root, ledger=postgres_url)
    with closing(open_ledger(postgres_url)) as ledger:
        run = a_run(ledger)
        for action in (lambda: rename(shared, file, "New"), lambda: archive(shared, file)):
            with pytest.raises(
                BatchsendError, match=f"Texts of run {run.run_id} of this campaign wait for workers"
            ):
                action()
        assert stop_handed_over(ledger, run.run_id, "ann")
        rename(shared, file, "New")
    assert file.load().formerly == "Spring"


def test_a_campaign_that_was_never_sent_makes_no_ledger(folder: WebFolder, file: CampaignFile) -> None:
    rename(folder, file, "New")
    archive(folder, file)
    bring_back(folder, folder.archived_campaign(HERE, "campaign"))
    assert not (folder.root / ".batchsend").exists()
    assert "# until March" in file.path.read_text(encoding="utf-8")


# --- archive


def test_an_archived_campaign_is_out_of_the_way_and_comes_back_unchanged(
    folder: WebFolder, file: CampaignFile
) -> None:
    before, scheduled = file.path.read_bytes(), CampaignFiles([], [folder.root])
    assert [change.campaign is not None for change in scheduled.changes()] == [True]
    archive(folder, file)
    assert folder.campaigns() == []
    assert [change.exists for change in scheduled.changes()] == [False]
    (away,) = folder.archived()
    assert away.load().list == folder.root / "customers.csv"
    with pytest.raises(BatchsendError, match="in the archive has the name Spring"):
        shutil.copy(away.path, folder.root / "other.toml")
        rename(folder, folder.campaign(HERE, "other"), "Spring")
    (folder.root / "other.toml").unlink()
    assert bring_back(folder, away) == file
    assert file.path.read_bytes() == before


def test_nothing_is_overwritten_by_an_archived_campaign(folder: WebFolder, file: CampaignFile) -> None:
    archive(folder, file)
    (away,) = folder.archived()
    other = CAMPAIGN.replace("Spring", "Other")
    file.path.write_text(other, encoding="utf-8")
    for action in (lambda: bring_back(folder, away), lambda: archive(folder, file)):
        with pytest.raises(BatchsendError, match="nothing is overwritten"):
            action()
    assert file.path.read_text(encoding="utf-8") == other


def test_a_schedule_begins_anew_after_the_archive(
    folder: WebFolder, file: CampaignFile, ledger: Ledger
) -> None:
    """Otherwise the scheduler would make up for what the campaign missed, or try an old start again."""
    who, long_ago = Scheduled("Spring", BASE_URL), datetime(2026, 3, 1, tzinfo=UTC)
    assert watch(ledger, who, "daily", long_ago) == long_ago
    start = claim(ledger, who, long_ago, long_ago)
    assert start is not None
    assert end(ledger, who, start, 3, long_ago)
    archive(folder, file)
    bring_back(folder, folder.archived_campaign(HERE, "campaign"))
    later = datetime(2026, 4, 1, tzinfo=UTC)
    assert watch(ledger, who, "daily", later) == later
    assert not end(ledger, who, start, 0, later), "it was given up"


# --- the pages


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Clicker]]:
    world = World(tmp_path_factory.mktemp("dealership"))
    with serving(world) as served:
        yield world, served.signed_in()


@pytest.fixture
def office(console: tuple[World, Clicker]) -> tuple[World, Clicker]:
    """A console with one campaign, which has a schedule."""
    world, clicker = console
    for path in world.folder.glob("**/*.toml"):
        path.unlink()
    world.write(customers(3), campaign=SCHEDULE)
    return world, clicker


def test_a_campaign_is_duplicated_by_clicks(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    assert "Spring copy" in clicker.get(f"{SPRING}/duplicate").text
    refused = clicker.post(f"{SPRING}/duplicate", {"name": "May"})
    assert "Choose the list of the copy" in refused.plain
    refused = clicker.post(f"{SPRING}/duplicate", {"name": "Spring", "list": "own"})
    assert "has the name Spring" in refused.plain
    copied = clicker.post(f"{SPRING}/duplicate", {"name": "May", "list": "own"})
    assert copied.url == "/campaign/here/May/list"
    assert "It has no schedule and no history" in copied.plain
    assert "There is no file May.csv. Choose the list of this campaign below" in copied.plain
    assert "use the same files" not in copied.plain
    copied = clicker.post(f"{SPRING}/duplicate", {"name": "June", "list": "same"})
    assert "Both campaigns use the same files: customers.csv" in copied.plain
    assert load_campaign(world.folder / "June.toml").schedule is None


def test_a_campaign_is_renamed_by_clicks(office: tuple[World, Clicker]) -> None:
    _, clicker = office
    assert "This is its name now" in clicker.post(f"{SPRING}/rename", {"name": " Spring "}).plain
    refused = clicker.post(f"{SPRING}/rename", {"name": ""})
    assert re.search('id="name-error"', refused.text), refused.plain
    renamed_page = clicker.post(f"{SPRING}/rename", {"name": "Summer “tires”"})
    assert "Spring is called Summer “tires” now" in renamed_page.plain
    assert "Summer “tires”" in clicker.get("/").plain


def test_a_campaign_is_archived_and_brought_back_by_clicks(office: tuple[World, Clicker]) -> None:
    _, clicker = office
    assert "no longer starts by itself" in clicker.get(f"{SPRING}/archive").plain
    away = clicker.post(f"{SPRING}/archive")
    assert "Spring is in the archive now" in away.plain
    assert "1 archived campaign" in away.plain
    assert clicker.get(SPRING).status == 404
    assert "never sent" in clicker.get("/archive").plain
    asked = clicker.get("/archive/here/campaign")
    assert "It starts by itself again: every day at 10:00 AM" in asked.plain
    assert "Spring is back" in clicker.post("/archive/here/campaign").plain
    assert clicker.get("/archive/here/campaign").status == 404
    assert "The archive is empty" in clicker.get("/archive").plain


def test_a_name_that_cannot_be_used_is_kept_on_the_first_page(office: tuple[World, Clicker]) -> None:
    _, clicker = office
    refused = clicker.post("/campaigns", {"name": "a/b"})
    assert refused.url == "/"
    assert "is not a valid file name" in refused.plain
    assert 'value="a/b"' in refused.text


def test_a_new_campaign_gets_no_history_of_another_one(office: tuple[World, Clicker]) -> None:
    world, clicker = office
    assert "Another campaign has the name spring" in clicker.post("/campaigns", {"name": "spring"}).plain
    clicker.post(f"{SPRING}/archive")
    refused = clicker.post("/campaigns", {"name": "Spring"})
    assert "Another campaign in the archive has the name Spring" in refused.plain
    assert list(world.folder.glob("*.toml")) == []
