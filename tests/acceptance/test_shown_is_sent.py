"""A preview shows each row's text byte for byte as the server receives it, even for difficult texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openpyxl.utils.escape import unescape
from pages import Page
from world import World, read_results, running_sandbox

NASTY = [
    "plain",
    "😀 👩‍🔧 👍🏽 🇺🇸 ❤️ 1️⃣",
    "“Curly” ‘quotes’, dashes – — and…",
    "José’s “mañana” at 9\u00a0AM",  # á keeps it UCS-2, so nothing is replaced
    "10:00\u202fAM\u00a0\u00a0to 2\u00a0PM",
    "one\r\ntwo\rthree\n\n\n\nfour\u2028five",
    "a\tb\t\tc \t d",
    "zero\u200bwidth\ufeff, joined\u2060up, soft\u00adhyphen",
    "cafe\u0301 and n\u0303 and x\u0301\u0323",
    "right \u202eto\u202c left שלום",
    "=1+1",
    '=HYPERLINK("http://evil.example","click")',
    "+1 312 555 0142",
    "-1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "'quoted",
    "_x000D_ and _x0041_ and _x000d_",
    "   blanks at both ends   ",
    "\u00a0\u3000odd blanks at both ends\u2009\u200b",
    "\n\n  lines at both ends \n\n",
    "nul\x00 bell\x07 escape\x1b delete\x7f c1\x9b",
    "half an emoji \ud83d and more",
    "<script>alert('x')</script> & <b>bold</b> &amp; &#10; </textarea>",
    "{{ first_name }} {% raw %} [Name] \\n \\u0041",
    "007",
    "1e5",
    "2026-03-01",
    "TRUE",
    "#N/A",
    "NULL",
    "\uffff\ufffe",
    "https://example.com/?a=1&b=2#c",
    "€[]{}~^|\\ ñ é ü ¿ ¡ Δ",
    "2½ hours ＦＵＬＬ ﬁne ⅓",
    "𝒳" * 40,
]


@pytest.fixture(scope="module", params=["true", "false"])
def seen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[int, str]]:
    """Where a text is shown or received -> row -> text; with smart encoding on and off."""
    folder = tmp_path_factory.mktemp("shown")
    with running_sandbox(folder) as sandbox:
        world = World(folder / "dealership", sandbox.base_url)
        world.folder.mkdir()
        rows = [{"Customer UUID": f"c-{number}", "Number": str(number)} for number in range(len(NASTY))]
        # The texts are in the template, because reading a list tidies its cells.
        texts = json.dumps(NASTY, ensure_ascii=False).replace("{", "\\x7b")
        world.write(
            rows,
            campaign=f"[message]\nsmart_encoding = {request.param}\n[sending]\nrate = 200\n",
            template="{{ " + texts.encode("utf-8", "backslashreplace").decode() + "[number | int] }}",
        )
        assert world.run("preview", "campaign.toml").code == 0
        assert world.send().code == 0
        page = Page.read(world.folder / "previews" / "campaign.html")
        return {
            "received": {
                int(request["customerUUID"].removeprefix("c-")) + 2: request["body"]
                for request in sandbox.requests()
            },
            "preview": _messages(world.folder / "previews" / "campaign.xlsx"),
            "page": {row[0]: _body(row) for row in page.data["rows"]},
            "results": _messages(world.folder / "results" / "campaign-1.xlsx"),
        }


def _messages(workbook: Path) -> dict[int, str]:
    # openpyxl does not decode the escapes of the format.
    return {row: unescape(values["message"]) for row, values in read_results(workbook).items()}


def _body(row: list[Any]) -> str:
    """The text from which the page builds a row's bubble."""
    request = next(part for part in row if isinstance(part, str) and part.startswith("{"))
    return str(json.loads(request)["messageAttributes"]["body"])


@pytest.mark.parametrize("place", ["preview", "page", "results"])
def test_the_shown_text_is_byte_for_byte_the_received_one(
    seen: dict[str, dict[int, str]], place: str
) -> None:
    assert len(seen["received"]) == len(NASTY)
    assert {row: text.encode() for row, text in seen[place].items()} == {
        row: text.encode() for row, text in seen["received"].items()
    }


def test_no_visible_character_is_lost(seen: dict[str, dict[int, str]]) -> None:
    received = {NASTY[row - 2]: text for row, text in seen["received"].items()}
    for text in (
        "=1+1",
        "_x000D_ and _x0041_ and _x000d_",
        "007",
        "#N/A",
        "{{ first_name }} {% raw %} [Name] \\n \\u0041",
    ):
        assert received[text] == text
    assert received["one\r\ntwo\rthree\n\n\n\nfour\u2028five"] == "one\ntwo\nthree\n\nfour\nfive"
    assert received["half an emoji \ud83d and more"] == "half an emoji and more"
