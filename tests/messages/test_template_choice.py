"""One campaign in several languages: the template of each row, and the report on rows without a case."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook
from world import Sandbox, World

from batchsend.errors import BatchsendError
from batchsend.lists.headers import folded
from batchsend.planning.sources import read_sources
from batchsend.runs.api import load_campaign, preview

CAMPAIGN = """
name = "Spring"
list = "customers.csv"
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
timezone = "America/Chicago"

[template_by]
column = "Language"
default = "en.j2"
cases = { "es.j2" = ["Spanish", "SPA", "Español"], "vi.j2" = ["Vietnamese"] }
"""
TEMPLATES = {
    "en.j2": "Hello {{ first_name }}",
    "es.j2": "Hola {{ first_name }}, tu {{ modelo }}",
    "vi.j2": "Chào {{ first_name }}",
}


def write(world: World, languages: list[str], **templates: str) -> World:
    rows = [
        {
            "Customer UUID": f"customer-{number}",
            "First Name": f"Name{number}",
            "Modelo": "CR-V",
            "Language": language,
        }
        for number, language in enumerate(languages)
    ]
    world.write(rows, campaign=CAMPAIGN)
    for name, text in {**TEMPLATES, **{f"{name}.j2": text for name, text in templates.items()}}.items():
        (world.folder / name).write_text(text, encoding="utf-8")
    return world


def test_each_row_gets_the_template_of_its_language(world: World, sandbox: Sandbox) -> None:
    languages = ["English", "Spanish", "sPANISH ", "SPA", "", "Espan\u0303ol", "Farsi", "VIETNAMESE", "Farsi"]
    write(world, languages)
    shown = world.run("preview", "campaign.toml")
    assert shown.code == 0
    words = " ".join(shown.out.split())
    assert (
        "templates by Language: en.j2 for 4 rows Spanish, SPA, Español: es.j2 for 4 rows Vietnamese: vi.j2 for 1 row "
        "to send "
    ) in words
    assert (
        'No template is set for these values, so they get en.j2: "Farsi" 2, "English" 1, blank 1. ' in words
    )
    assert world.send().code == 0
    assert [request["body"] for request in sandbox.requests()] == [
        "Hello Name0",
        "Hola Name1, tu CR-V",
        "Hola Name2, tu CR-V",
        "Hola Name3, tu CR-V",
        "Hello Name4",
        "Hola Name5, tu CR-V",
        "Hello Name6",
        "Chào Name7",
        "Hello Name8",
    ]
    book = load_workbook(world.folder / "results" / "campaign-1.xlsx", read_only=True)
    summary = {value for row in book["Summary"].iter_rows(values_only=True) for value in row if value}
    book.close()
    assert {
        str(world.folder / "en.j2"),
        f"{world.folder / 'es.j2'} (Spanish, SPA, Español)",
        f"{world.folder / 'vi.j2'} (Vietnamese)",
    } <= summary


def test_a_change_that_could_change_texts_is_reported(
    world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    languages = ["English", "Spanish", "English"]
    write(world, languages)
    world.send("--limit", "1")
    monkeypatch.setenv("MYKAARMA_BASE_URL", world.base_url)

    def with_old_text() -> int:
        with preview(load_campaign(world.folder / "campaign.toml")) as plan:
            return plan.sent_with_other_template

    assert with_old_text() == 0
    write(world, languages, es="Buenos días {{ first_name }}")  # not the default only
    assert with_old_text() == 1
    write(world, languages, en="Hi {{ first_name }}")
    assert with_old_text() == 1
    write(world, languages)
    assert with_old_text() == 0
    file = world.folder / "campaign.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('"SPA"', '"English"'), encoding="utf-8")
    assert with_old_text() == 1  # the same files for other rows


def problems(world: World) -> str:
    with pytest.raises(BatchsendError) as caught:
        read_sources(load_campaign(world.folder / "campaign.toml"))
    return str(caught.value).replace(f"{world.folder}/", "")


def test_all_templates_are_checked_before_any_row(tmp_path: Path) -> None:
    # No row is Spanish, but the Spanish template is checked too.
    world = write(World(tmp_path), ["English"], es="Hola {{ nombre }}", vi="{% if %}")
    (tmp_path / "en.j2").unlink()
    found = problems(world)
    assert "en.j2: there is no such file" in found
    assert "es.j2: line 1: the list has no column for `nombre`" in found
    assert "vi.j2: line 1: " in found


def test_the_column_to_choose_by_is_in_the_list(tmp_path: Path) -> None:
    world = write(World(tmp_path), ["English"])
    world.write_list([{"Customer UUID": "a", "First Name": "A", "Modelo": "B", "Languages": "English"}])
    assert '`template_by.column` names the column "Language", which is not in the list' in problems(world)
    assert 'Did you mean "Languages"?' in problems(world)


def test_a_row_needs_only_what_its_own_template_uses(world: World, sandbox: Sandbox) -> None:
    write(world, ["English", "Spanish", "#N/A"])
    text = (world.folder / "customers.csv").read_text(encoding="utf-8").replace("CR-V", "#REF!")
    (world.folder / "customers.csv").write_text(text, encoding="utf-8")
    assert world.send().code == 1
    rows = world.workbook()
    assert [(row["status"], row["errorCodes"]) for row in rows.values()] == [
        ("accepted", None),
        ("invalid", "DAMAGED_VALUE"),  # the Spanish text uses the model
        ("invalid", "DAMAGED_VALUE"),  # the language is damaged
    ]


@given(st.sampled_from(["Spanish", "SPA", "Español"]), st.lists(st.booleans(), min_size=8, max_size=8))
def test_letter_case_and_surrounding_space_are_ignored(value: str, upper: list[bool]) -> None:
    letters = (a.upper() if up else a.lower() for a, up in zip(value, upper, strict=False))
    assert folded(f" {''.join(letters)}\u00a0") == folded(value)


def test_a_ucs2_character_in_the_opt_out_line_is_reported(tmp_path: Path) -> None:
    world = write(World(tmp_path), ["English"])
    file = tmp_path / "campaign.toml"
    file.write_text(
        file.read_text(encoding="utf-8") + '[message]\nopt_out_line = "Envía STOP"\n', encoding="utf-8"
    )
    assert '"í" in opt_out_line makes every text cost more' in world.run("preview", "campaign.toml").out
