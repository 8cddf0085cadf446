"""The page on which a column of the list chooses between texts."""

from __future__ import annotations

import tomllib
from pathlib import Path

from web_client import serving
from world import World, customers

COLUMNS, PAGE = "/campaign/here/campaign/columns", "/campaign/here/campaign/columns/languages"


def test_a_text_in_another_language_is_added_changed_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "dealership"
    folder.mkdir()
    rows = [
        {**row, "Language": "Spanish" if number else "English"} for number, row in enumerate(customers(2))
    ]
    world = World(folder).write(rows)
    campaign = folder / "campaign.toml"

    def data() -> dict[str, object]:
        return tomllib.loads(campaign.read_text(encoding="utf-8"))

    with serving(world) as served:
        clicker = served.signed_in()
        assert PAGE in clicker.get(COLUMNS).text
        shown = clicker.shown(PAGE)
        before = campaign.read_bytes()
        for fields, words in (
            ({"column": "", "new": "es"}, "Choose the column that says which text"),
            ({"column": "Language", "new": " , "}, "Write at least one value"),
        ):
            refused = clicker.post(PAGE, {**shown, **fields})
            assert words in refused.plain
            assert 'aria-invalid="true"' in refused.text
            assert campaign.read_bytes() == before
        added = clicker.submit(PAGE, {**shown, "column": "Language", "new": "Spanish, es"})
        assert added.headers["Location"] == "/campaign/here/campaign/text?text=1"
        assert (folder / "message.spanish.txt.j2").read_text(encoding="utf-8") == (
            folder / "message.txt.j2"
        ).read_text(encoding="utf-8")
        cases = {"message.spanish.txt.j2": ["Spanish", "es"]}
        assert data()["template_by"] == {"column": "Language", "default": "message.txt.j2", "cases": cases}
        assert "template" not in data()
        assert "message.spanish.txt.j2" in clicker.get(added.headers["Location"]).plain
        page = clicker.get(PAGE)
        assert 'name="values.0" value="Spanish, es"' in page.text
        # Another one with a name that is taken, and one value twice.
        clicker.post(PAGE, {**clicker.shown(PAGE), "column": "Language", "values.0": "es", "new": "Spanish"})
        clicker.post(
            PAGE,
            {
                **clicker.shown(PAGE),
                "column": "Language",
                "values.0": "es",
                "values.1": "Spanish",
                "new": "ES",
            },
        )
        assert not (folder / "message.es.txt.j2").exists()
        cases = {"message.spanish.txt.j2": ["es"], "message (2).spanish.txt.j2": ["Spanish"]}
        assert data()["template_by"] == {"column": "Language", "default": "message.txt.j2", "cases": cases}
        clicker.post(
            PAGE, {**clicker.shown(PAGE), "column": "Language", "values.0": "", "values.1": "Spanish"}
        )
        assert data()["template_by"] == {
            "column": "Language",
            "default": "message.txt.j2",
            "cases": {"message (2).spanish.txt.j2": ["Spanish"]},
        }
        clicker.post(PAGE, {**clicker.shown(PAGE), "column": "", "values.0": "Spanish"})
        assert "template_by" not in data()
        assert data()["template"] == "message.txt.j2"
