"""Makes the pictures of the manual: `python docs/images/make_pictures.py`.

`demo.svg` shows the real output of `make demo` on a terminal. `workbook.png` and `results.png` show its workbook in
LibreOffice, `preview.png` and `report.png` its pages in Chromium. Needs pseudo-terminals, LibreOffice, poppler's
pdftoppm, Chromium and `pip install -e ".[system]"`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from openpyxl import load_workbook
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "campaigns" / "results" / "spring_service-rehearsal.xlsx"
SAMPLE = "campaigns/spring_service.toml"
COMMAND = ["make", "--no-print-directory", "demo"]

COLUMNS, LINES = 100, 60
DPI = 110
#: Pixels around the content.
MARGIN = 8

_WEB_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONTS = "ui-monospace, Consolas, Menlo, 'DejaVu Sans Mono', monospace"
#: Control sequences without a visible effect in a picture: the cursor, the title.
_IGNORED = re.compile(r"\x1b\[\?\d+[hl]|\x1b\]0;.*?\x07")
_CONTROL = re.compile(r"\r\n|\n|\r|\x1b\[2K|\x1b\[(\d*)A")


def on_a_terminal(command: list[str]) -> str:
    """The output of `command` on a terminal of this size, in color."""
    import pty  # not available on Windows

    env = os.environ | {
        "COLUMNS": str(COLUMNS),
        "LINES": str(LINES),
        "TERM": "xterm-256color",
        "LOGNAME": "dana",
    }
    leader, follower = pty.openpty()
    with subprocess.Popen(  # noqa: S603 - a fixed command
        command, cwd=ROOT, env=env, stdin=follower, stdout=follower, stderr=follower
    ):
        os.close(follower)
        output = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # on Linux, the terminal was closed
                break
            if not part:
                break
            output += part
    os.close(leader)
    return output.decode()


def screen(output: str) -> list[str]:
    """The lines on the terminal at the end, with their colors."""
    output = _IGNORED.sub("", output)
    lines, at, position = [""], 0, 0
    for control in _CONTROL.finditer(output):
        lines[at] += output[position : control.start()]
        position = control.end()
        if control[0].endswith("\n"):
            at += 1
            if at == len(lines):
                lines.append("")
        elif control[0].endswith("A"):
            at -= int(control[1] or 1)
        else:
            lines[at] = ""
    lines[at] += output[position:]
    return lines


def shortened(lines: list[str]) -> list[str]:
    """Replaces most of the bad rows by dots; the picture of the workbook shows them."""
    plain = [Text.from_ansi(line).plain for line in lines]

    def find(beginning: str) -> int:
        return next(number for number, line in enumerate(plain) if line.startswith(beginning))

    gaps = ((find("  invalid") + 3, find("  first text")), (find("  sending") + 4, find("See the Problems")))
    for begin, end in reversed(gaps):
        lines[begin:end] = ["                  ..."]
    return lines


def draw_terminal(lines: list[str], picture: Path) -> None:
    """Draws the command and these lines as an SVG."""
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text("$ make demo", style="bold"))
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=False, highlight=False)
    svg = console.export_svg(title="batchsend", unique_id="demo")
    svg = _WEB_FONTS.sub("", svg).replace("Fira Code, monospace", _FONTS).replace("Fira Code", _FONTS)
    picture.write_text(svg, encoding="utf-8", newline="\n")


def draw_sheet(name: str, last_column: str, last_row: int, picture: Path) -> None:
    """Draws the top left of a sheet as LibreOffice prints it, with the row numbers and column letters."""
    book = load_workbook(RESULTS)
    for sheet in book.worksheets:
        if sheet.title != name:
            book.remove(sheet)
    sheet = book[name]
    sheet.print_area = f"A1:{last_column}{last_row}"
    sheet.print_options.headings = sheet.print_options.gridLines = True
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A3
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        book.save(folder / "sheet.xlsx")
        run(
            "soffice",
            "--headless",
            f"-env:UserInstallation={(folder / 'profile').as_uri()}",
            "--convert-to",
            "pdf",
            "--outdir",
            temporary,
            str(folder / "sheet.xlsx"),
        )
        render = ("pdftoppm", "-r", str(DPI), "-f", "1", "-l", "1", "-singlefile")
        run(*render, str(folder / "sheet.pdf"), str(folder / "page"))
        x, y, width, height = inked((folder / "page.ppm").read_bytes())
        crop = ("-x", str(x), "-y", str(y), "-W", str(width), "-H", str(height))
        run(*render, *crop, "-png", str(folder / "sheet.pdf"), str(picture.with_suffix("")))


def inked(ppm: bytes) -> tuple[int, int, int, int]:
    """The x, y, width and height of the part of a binary PPM that is not white, in pixels, with a margin."""
    _, size, _, pixels = ppm.split(b"\n", 3)
    width, height = map(int, size.split())
    stride = 3 * width
    white = b"\xff" * stride
    rows = [y for y in range(height) if pixels[y * stride : (y + 1) * stride] != white]
    used = [pixels[y * stride : (y + 1) * stride] for y in rows]
    left = min(len(row) - len(row.lstrip(b"\xff")) for row in used) // 3
    right = max(len(row.rstrip(b"\xff")) for row in used) // 3
    x, y = max(0, left - MARGIN), max(0, rows[0] - MARGIN)
    return x, y, right + MARGIN - x, rows[-1] + MARGIN - y


def draw_page(page: Path, picture: Path, height: int) -> None:
    """Draws the top of a page, in light colors."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        tab = browser.new_page(viewport={"width": 1000, "height": height}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.screenshot(path=picture)
        browser.close()


def found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        sys.exit(f"{program} is missing. Install LibreOffice, poppler-utils and Chromium.")
    return path


def run(*command: str) -> None:
    subprocess.run([found(command[0]), *command[1:]], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def draw_pages() -> None:
    """Draws the pages of the sample campaign. Exit code 1 is expected: its list has bad rows."""
    subprocess.run([sys.executable, "-m", "batchsend", "preview", SAMPLE], cwd=ROOT, check=False)  # noqa: S603
    draw_page(ROOT / "campaigns" / "previews" / "spring_service.html", HERE / "preview.png", 900)
    draw_page(RESULTS.with_suffix(".html"), HERE / "report.png", 900)


def main() -> None:
    lines = [line for line in screen(on_a_terminal(COMMAND)) if line.strip()]
    draw_terminal(shortened(lines), HERE / "demo.svg")
    draw_sheet("Problems", "E", 9, HERE / "workbook.png")
    draw_sheet("Results", "G", 16, HERE / "results.png")
    draw_pages()


if __name__ == "__main__":
    main()
