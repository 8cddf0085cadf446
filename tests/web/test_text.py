"""The step "Text": columns are inserted and chosen for without templates, and nothing in the text is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from unittest.mock import patch

import pytest
from web_client import Answer, Clicker, serving
from workbooks import new_workbook
from world import World, customers

from batchsend.web.jobs import text_trial
from batchsend.web.jobs.text_preview import LONGEST, STRANGEST, RowText, Wanted, strangeness, try_text

TEXT = "/campaign/here/campaign/text"
SOURCE = (
    'Hi {{ first_name | name_case | default("there") }},\n{% if model %}your {{ model }}{% endif %} waits. '
    "{{ first_name[:1] }} {{ model | replace('a', '((b') }}"
)
FIRST = Wanted()
PARTLY = SOURCE.replace("((b", "b")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("text") / "dealership"
    folder.mkdir()
    rows = [
        {**row, "First Name": name, "Model": model}
        for row, (name, model) in zip(
            customers(6),
            [
                ("ANN", "Civic"),
                ("BOB", ""),
                ("MAXIMILIANE", "Accord"),
                ("JOSÉ Ł", "CR-V"),
                ("", ""),
                ("Al", "Fit"),
            ],
            strict=True,
        )
    ]
    return World(folder).write(rows)


@pytest.fixture(scope="module")
def clicker(world: World) -> Iterator[Clicker]:
    with serving(world) as served:
        yield served.signed_in()


@pytest.fixture
def file(world: World) -> Path:
    return world.folder / "message.txt.j2"


def form_of(answer: Answer) -> dict[str, list[str]]:
    """The fields of the page's form as a browser sends them with the button that saves."""
    found = re.search(r'<form id="text-form".*?</form>', answer.text, re.DOTALL)
    assert found is not None, answer.plain
    fields: dict[str, list[str]] = {}
    pattern = r"<(input|select|textarea)\b([^>]*)>((?:(?!<(?:input|select|textarea|/select|/textarea)).)*)"
    for kind, attributes, content in re.findall(pattern, found[0], re.DOTALL):
        name = re.search(r' name="([^"]*)"', attributes)
        chosen = re.search(r'value="([^"]*)" selected', content if kind == "select" else "")
        value = chosen or re.search(r' value="([^"]*)"', attributes)
        assert name is not None
        text = content.removeprefix("\n") if kind == "textarea" else value[1] if value else ""
        fields.setdefault(name[1], []).append(unescape(text))
    return fields


def settled(clicker: Clicker, answer: Answer) -> Answer:
    """The page once the text has been tried. A busy machine needs a moment."""
    deadline = time.monotonic() + 60
    while "is shown here in a moment" in answer.plain:
        assert time.monotonic() < deadline
        answer = clicker.get(TEXT)
    return answer


def errors_of(answer: Answer) -> str:
    """What the page says beside the text."""
    found = re.search(r'<div id="text-error".*?</div>', answer.text, re.DOTALL)
    assert found is not None, answer.plain
    return unescape(re.sub("<[^>]+>", "", found[0])).strip()


def test_a_choice_changes_its_part_of_the_text_and_nothing_else(clicker: Clicker, file: Path) -> None:
    file.write_text(PARTLY, encoding="utf-8")
    form = form_of(clicker.get(TEXT))
    assert form["text"][0].startswith("Hi ((First Name)),\n{% if model %}your ((Model)){% endif %} waits. {{")
    assert (form["label"], form["format"]) == (["First Name", "Model"], ["name_case", ""])
    assert (form["blank"], form["words"]) == (["say", "leave out"], ["there", ""])
    saved = clicker.submit(TEXT, form)
    assert saved.headers["Location"].endswith("/sender")
    assert file.read_text(encoding="utf-8") == PARTLY

    form["format"][1], form["blank"][1], form["words"][1] = "upper", "say", 'the "car"'
    clicker.post(TEXT, form)
    expected = PARTLY.replace("{{ model }}", '{{ model | upper | default("the \\"car\\"") }}')
    assert file.read_text(encoding="utf-8") == expected
    again = form_of(clicker.get(TEXT))
    assert (again["format"], again["words"]) == (["name_case", "upper"], ["there", 'the "car"'])


def test_a_text_that_the_form_cannot_show_is_shown_as_it_is(clicker: Clicker, file: Path) -> None:
    file.write_text(SOURCE, encoding="utf-8")
    form = form_of(clicker.get(TEXT))
    assert (form["mode"], form["text"]) == (["source"], [SOURCE])
    told = clicker.post(TEXT, {**form, "do": "words"})
    assert "cannot be shown with column names" in errors_of(told)
    assert form_of(told)["text"] == [SOURCE]
    clicker.post(TEXT, {**form, "discard": "yes"})


def test_without_scripts_a_column_is_added_and_the_preview_updated(clicker: Clicker, file: Path) -> None:
    file.write_text("Hi {{ first_name }}", encoding="utf-8")
    form = form_of(clicker.get(TEXT))
    page = settled(clicker, clicker.post(TEXT, {**form, "insert": "Model"}))
    assert form_of(page)["text"] == ["Hi ((First Name)) ((Model))"]
    assert form_of(page)["label"] == ["First Name", "Model"]
    assert "Hi ANN Civic" in page.plain
    form = form_of(page)
    form["format"][0] = "name_case"
    page = settled(clicker, clicker.post(TEXT, {**form, "do": "preview"}))
    assert "Hi Ann Civic" in page.plain
    page = settled(clicker, clicker.post(TEXT, {**form_of(page), "show": "longest"}))
    assert "Hi Maximiliane Accord" in page.plain
    assert "No text of the list is longer." in page.plain
    page = clicker.post(TEXT, {**form_of(page), "do": "source"})
    assert form_of(page)["text"] == ["Hi {{ first_name | name_case }} {{ model }}"]
    page = clicker.post(TEXT, {**form_of(page), "do": "words"})
    assert form_of(page)["text"] == ["Hi ((First Name)) ((Model))"]
    assert file.read_text(encoding="utf-8") == "Hi {{ first_name }}"
    clicker.post(TEXT, form_of(page))
    assert file.read_text(encoding="utf-8") == "Hi {{ first_name | name_case }} {{ model }}"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("Hi ((Frist Name))", "The list has no column “Frist Name”. Did you mean ((First Name))?"),
        ("Hi ((Model, bye", "“((Model, bye” is not closed."),
    ],
)
def test_a_mistake_is_said_beside_the_text_and_the_text_is_kept(
    clicker: Clicker, file: Path, typed: str, said: str
) -> None:
    file.write_text("Hi", encoding="utf-8")
    form = form_of(clicker.get(TEXT))
    form["text"] = [typed]
    assert said in errors_of(clicker.submit(f"{TEXT}/try", form))
    for page in (clicker.post(TEXT, form), clicker.get(TEXT)):
        assert said in errors_of(page)
        assert re.search(
            r'<textarea id="text"[^>]*aria-describedby="[^"]*text-error"[^>]*aria-invalid', page.text
        )
        assert form_of(page)["text"] == [typed]
    assert file.read_text(encoding="utf-8") == "Hi"
    clicker.post(TEXT, {**form, "discard": "yes"})


def test_a_text_with_an_error_is_saved_and_the_page_says_what_is_wrong(clicker: Clicker, file: Path) -> None:
    form = form_of(clicker.get(TEXT))
    page = clicker.post(TEXT, {**form, "text": "Hi {{ first_nam }} {% if x %}"})
    assert file.read_text(encoding="utf-8") == "Hi {{ first_nam }} {% if x %}"
    assert "is saved, but it cannot be sent yet" in page.plain
    assert "a {% if %} is never closed by {% endif %}" in errors_of(settled(clicker, page))


def test_the_words_for_a_blank_are_asked_for(clicker: Clicker, file: Path) -> None:
    file.write_text("Hi {{ first_name }}", encoding="utf-8")
    form = form_of(clicker.get(TEXT))
    form["blank"] = ["say"]
    page = clicker.post(TEXT, form)
    assert "Write what is said if First Name is blank" in page.plain
    assert re.search(r'id="words-0"[^>]*aria-describedby="[^"]*words-0-error"', page.text)
    assert form_of(page)["blank"] == ["say"]
    assert file.read_text(encoding="utf-8") == "Hi {{ first_name }}"
    clicker.post(TEXT, {**form, "blank": ["nothing"]})
    assert file.read_text(encoding="utf-8") == 'Hi {{ first_name | default("") }}'


def test_a_header_on_two_lines_is_a_column_like_others(clicker: Clicker, world: World, file: Path) -> None:
    (world.folder / "lines.csv").write_text(
        'Customer UUID,"Due\nDate",Phone\na,2026-03-09,3125000100\n', "utf-8"
    )
    content = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    content = re.sub("^list = .*$", 'list = "lines.csv"', content, flags=re.MULTILINE)
    (world.folder / "lines.toml").write_text(content.replace("Spring", "Lines"), encoding="utf-8")
    file.write_text("Due {{ due_date }}", encoding="utf-8")
    form = form_of(clicker.get("/campaign/here/lines/text"))
    assert (form["text"], form["label"]) == (["Due ((Due Date))"], ["Due Date"])
    clicker.post("/campaign/here/lines/text", {**form, "format": ['date("MMMM d")']})
    assert file.read_text(encoding="utf-8") == 'Due {{ due_date | date("MMMM d") }}'
    (world.folder / "lines.toml").unlink()


def tried(world: World, source: str, wanted: Wanted = FIRST, content: bytes | None = None) -> RowText:
    """Tries a text in this process."""
    path = world.folder / "campaign.toml"
    return try_text(path, content or path.read_bytes(), world.folder / "message.txt.j2", source, wanted)


@pytest.mark.parametrize(
    ("wanted", "row"),
    [
        (Wanted(), 2),
        (Wanted(4), 4),
        (Wanted(99), 7),
        (Wanted(words="maxi"), 4),
        (Wanted(words="5000003"), 5),  # a part of (312) 500-0003
        (Wanted(words="customer"), 2),
        (Wanted(6, words="customer"), 7),
        (Wanted(7, words="customer"), 2),  # from the top again
        (Wanted(extreme=LONGEST), 4),
        (Wanted(extreme=STRANGEST), 6),
    ],
)
def test_any_row_can_be_found(world: World, wanted: Wanted, row: int) -> None:
    found = tried(world, 'Hi {{ first_name or "you" }}, your {{ model or "car" }}', wanted)
    assert (found.row, found.missed) == (row, False)


def test_a_row_with_a_blank_says_which_column_and_whom_it_is_for(world: World) -> None:
    found = tried(world, "Hi {{ first_name }}, your {{ model }}", Wanted(3))
    assert (found.blanks, found.phone, found.body) == (["Model"], "+13125000001", None)
    assert not tried(world, "Hi {{ first_name }}", Wanted(3)).blanks


def test_words_that_no_row_has_are_said_and_the_row_stays(world: World) -> None:
    found = tried(world, "Hi", Wanted(3, words="nobody"))
    assert (found.row, found.missed) == (3, True)


def test_the_strangest_values_are_blank_or_unusual() -> None:
    rows = [["Ann", "Fit"], ["José", "Fit"], ["Zoë", ""], ["Łukasz 😀", "Fit"], ["", ""]]
    assert [strangeness(row) for row in rows] == [0, 0, 2, 2, 2]


def test_an_emoji_makes_the_longest_text_if_it_has_more_segments(world: World) -> None:
    found = tried(world, "{{ first_name or 'x' }} " + "x" * 80, Wanted(extreme=LONGEST))
    assert (found.row, found.segments, found.room) == (5, 2, 134)
    assert found.longest_of == 0


def test_the_longest_text_is_found_where_short_values_make_it(world: World) -> None:
    people = customers(900)
    for number, person in enumerate(people):
        person["First Name"] = f"Bartholomew-{number:03}"
    people[777]["First Name"] = "Al"
    world.write_list(people, "many.csv")
    content = (world.folder / "campaign.toml").read_bytes().replace(b"customers.csv", b"many.csv")
    source = "{{ 'x' * 200 if first_name == 'Al' else first_name }}"
    with patch.object(text_trial, "_IN_ORDER_SECONDS", 60):
        found = tried(world, source, Wanted(extreme=LONGEST), content)
    assert (found.row, found.longest_of) == (779, 0)
    with patch.object(text_trial, "_IN_ORDER_SECONDS", 0):
        some = tried(world, source, Wanted(extreme=LONGEST), content)
    assert some.longest_of == 100
    assert tried(world, source, Wanted(2), content).longest_of is None


@pytest.mark.parametrize("source", ["Hi {{ first_name }}, " + "x" * 150, "{{ model }} 😀", "{{ 1 / 0 }}"])
def test_the_whole_list_is_counted_as_the_check_counts_it(world: World, file: Path, source: str) -> None:
    file.write_text(source, encoding="utf-8")
    whole = tried(world, source).whole
    assert whole is not None
    assert whole.is_exact
    printed = re.search(r"(\d+) texts?, (\d+) segments?", world.run("preview", "campaign.toml").out)
    assert [whole.texts, whole.segments] == (list(map(int, printed.groups())) if printed else [0, 0])
    assert whole.rows == whole.texts + whole.blank + whole.others


def test_a_long_list_is_estimated_from_all_of_its_parts(tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    # The second half of the list has longer texts.
    rows = [
        {**row, "First Name": "x" * (1 if number < 5000 else 200)}
        for number, row in enumerate(customers(10_000))
    ]
    whole = tried(World(folder).write(rows), "Hi {{ first_name }}").whole
    assert whole is not None
    assert (whole.rows, whole.texts, whole.is_exact) == (10_000, 10_000, False)
    assert whole.segments == pytest.approx(15_000, rel=0.1)


@pytest.mark.parametrize(
    ("keys", "cost"),
    [
        ("segment_price = 0.0079", "$0.05"),
        ("segment_price = 1", "$6.00"),
        ('segment_price = 0.5\ncurrency = "CAD"', "CA$3.00"),
        ('segment_price = 0.5\ncurrency = "XYZ"', "3.00 XYZ"),
    ],
)
def test_the_cost_is_that_of_the_preview(world: World, file: Path, keys: str, cost: str) -> None:
    campaign = world.folder / "priced.toml"
    content = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    campaign.write_text(f"{content}\n[message]\n{keys}\n", encoding="utf-8")
    file.write_text("Hi", encoding="utf-8")
    whole = tried(world, "Hi", content=campaign.read_bytes()).whole
    assert whole is not None
    assert whole.cost == cost
    assert f"6 texts, 6 segments ({cost})" in world.run("preview", "priced.toml").out


def test_what_carriers_dislike_is_said_beside_the_text(clicker: Clicker, file: Path) -> None:
    file.write_text("Hi", encoding="utf-8")
    form = form_of(clicker.get(TEXT))
    form["text"] = ["Hi ((First Name)), see bit.ly/x{% if model %} the the{% endif %}"]
    page = clicker.submit(f"{TEXT}/try", form)
    assert "Carriers block links of public shorteners such as bit.ly." in page.plain
    assert "“the the” has a word twice" in page.plain


def test_hidden_rows_that_are_left_out_are_not_counted(tmp_path: Path) -> None:
    folder = tmp_path / "hidden"
    folder.mkdir()
    world = World(folder).write(customers(1), campaign='[list_options]\nhidden_rows = "skip"')
    workbook, sheet = new_workbook(
        [["Customer UUID", "Phone"], *[[f"c-{n}", f"(312) 500-{n:04}"] for n in range(5)]]
    )
    sheet.row_dimensions[3].hidden = True
    workbook.save(folder / "list.xlsx")
    content = re.sub(b"(?m)^list = .*$", b'list = "list.xlsx"', (folder / "campaign.toml").read_bytes())
    whole = tried(world, "Hi", content=content).whole
    assert whole is not None
    assert (whole.rows, whole.texts, whole.is_exact) == (4, 4, True)


def test_each_text_of_a_campaign_is_tried_on_its_own_rows(world: World) -> None:
    content = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    content = re.sub(
        "^template = .*$",
        'template_by = { column = "Model", default = "other.txt", cases = { "message.txt.j2" = ["fit", "CR-V"] } }',
        content,
        flags=re.MULTILINE,
    )
    found = tried(world, "Hi", content=content.encode())
    assert (found.row, found.other) == (5, "")
    assert found.whole is not None
    assert (found.whole.rows, found.whole.texts) == (2, 2)
    assert tried(world, "Hi", Wanted(2), content.encode()).other == "other.txt"
