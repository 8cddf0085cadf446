"""Filters of installed packages in templates, and what happens if one does anything wrong."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packages import installed, write_package

from batchsend.errors import BatchsendError, RowProblem, TemplateError
from batchsend.messages import package_filters
from batchsend.messages.condition import Condition
from batchsend.messages.template import MessageTemplate
from batchsend.statuses import Code
from batchsend.utils import extensions

SOURCE = """
import random
import signal
import sys
from threading import Event, main_thread
from batchsend.errors import FilterProblem

def tail(text, count=4):
    return text[-count:]

def raises(text):
    raise ValueError(text)

def explains(text):
    raise FilterProblem("`explains` needs 17 characters")

def ends(text):
    sys.exit(1)

def hangs(text):
    Event().wait()

def counted(text):
    return 5

def chance(text):
    return str(random.random())

def nothing(text):
    return ""

def endless(text):
    return text * 100_000

interrupted = Event()

def interrupts(text):
    if not interrupted.is_set():
        signal.pthread_kill(main_thread().ident, signal.SIGINT)
        interrupted.wait()
    return text

no_function = 5
"""
NAMES = (
    "tail",
    "raises",
    "explains",
    "ends",
    "hangs",
    "counted",
    "chance",
    "nothing",
    "endless",
    "interrupts",
    "no_function",
    "missing",
    "name_case",
)
PACKAGE = 'he filter "{0}" of the package texts 1.0 (texts:{0}) '


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("packages")
    entries = "\n".join(f"{name} = texts:{name}" for name in NAMES)
    write_package(folder, "texts", SOURCE, filters=entries)
    with installed(folder):
        yield folder


def template(source: str) -> MessageTemplate:
    return MessageTemplate.of(Path("text.txt"), source, ["VIN", "Note"])


def problem_of(source: str, *cells: str) -> RowProblem:
    with pytest.raises(RowProblem) as found:
        template(source).render(cells or ("1HGCM82633A004352", ""))
    return found.value


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ vin | tail }}", "4352"),
        ("{{ vin | tail(2) }}", "52"),
        ("{{ vin | lower | tail(count=8) | upper }}", "3A004352"),
        ('{{ note | tail | default("none") }}', "none"),  # not called for a blank cell
        ('{{ vin | nothing | default("none") }}', "none"),  # "" is a blank
        ("{% if vin | nothing %}yes{% else %}no{% endif %}", "no"),
    ],
)
def test_it_gets_and_gives_text(source: str, text: str) -> None:
    assert template(source).render(["1HGCM82633A004352", ""]) == text


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("raises", Code.TEMPLATE_ERROR, "failed (ValueError, texts.py, line 12). Update the package"),
        ("ends", Code.TEMPLATE_ERROR, "failed (SystemExit, texts.py, line 18). Update the package"),
        ("counted", Code.TEMPLATE_ERROR, "gave int, which is not text"),
    ],
)
def test_a_mistake_is_a_problem_of_the_row(name: str, code: Code, said: str) -> None:
    problem = problem_of(f"\n{{{{ vin | {name} }}}}")
    assert problem.code == code
    assert problem.description.startswith("line 2: ")
    assert PACKAGE.format(name) + said in problem.description
    assert "1HGCM" not in problem.description


def test_it_can_explain_a_problem_itself() -> None:
    assert problem_of("{{ vin | explains }}").description == "line 1: `explains` needs 17 characters"


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("{{ vin | nothing }}", Code.MISSING_VALUE, "What `nothing` gives for this row is blank"),
        ("{{ vin | tail(note) }}", Code.MISSING_VALUE, "Note is blank"),
        ("{{ vin | endless }}", Code.TEMPLATE_ERROR, "the template makes a value of over 100,000 characters"),
    ],
)
def test_it_keeps_the_rules_of_templates(source: str, code: Code, said: str) -> None:
    problem = problem_of(source)
    assert (problem.code, said in problem.description) == (code, True), problem.description


def test_one_that_hangs_refuses_the_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    made = template("{{ vin | hangs }}{{ vin | tail }}")
    package_filters._calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(package_filters, "FILTER_TIMEOUT", 0.05)
        patch.setattr(extensions, "_LONGEST_WAIT", 0.02)
        for _ in range(2):  # a thread that hangs is not asked again
            with pytest.raises(TemplateError) as refused:
                made.render(["1HGCM82633A004352", ""])
            assert f"text.txt: line 1: T{PACKAGE.format('hangs')}took more than 0.05 seconds" in str(
                refused.value
            )
    assert template("{{ vin | tail }}").render(["1234", ""]) == "1234"


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to a thread there")
def test_after_an_interrupt_each_row_still_gets_its_own_text() -> None:
    made = template("{{ vin | interrupts }}")
    # A process that was started in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            made.render(["Ann", ""])
    finally:
        signal.signal(signal.SIGINT, before)
    sys.modules["texts"].interrupted.set()
    assert [made.render([name, ""]) for name in ("Bob", "Cleo")] == ["Bob", "Cleo"]


def test_one_that_is_not_pure_refuses_the_whole_list() -> None:
    with pytest.raises(TemplateError, match="gave two different texts for one value"):
        template("{{ vin | chance }}").render(["1HGCM82633A004352", ""])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_function", "is not a function. Update the package"),
        ("missing", "failed (AttributeError, "),
        ("name_case", "has the name of a filter of batchsend. Uninstall the package."),
    ],
)
def test_what_cannot_be_used_is_found_by_the_check(name: str, said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        template(f"{{{{ vin | {name} }}}}\n{{{{ other }}}}")
    first, second = refused.value.problems
    assert first.startswith("line 1: T" + PACKAGE.format(name) + said)
    assert "`other`" in second


def test_a_filter_that_is_not_installed_is_refused() -> None:
    with pytest.raises(
        TemplateError, match="no filter `xylograph`; if a package adds it, install the package on"
    ):
        template("{{ vin | xylograph }}")


def test_a_damaged_package_of_others_does_not_matter(tmp_path: Path) -> None:
    write_package(tmp_path, "others", "")
    (tmp_path / "others-1.0.dist-info" / "entry_points.txt").write_bytes(
        b"[console_scripts]\ncaf\xe9 = a:b\n"
    )
    with installed(tmp_path):
        assert template("{{ vin | tail }}").render(["1234", ""]) == "1234"


def test_another_version_makes_other_texts(packages: Path) -> None:
    before = template("{{ vin | tail }}").source_sha256
    assert before != template("{{ vin | tail }}x").source_sha256
    about = packages / "texts-1.0.dist-info" / "METADATA"
    old = about.read_text(encoding="utf-8")
    try:
        about.write_text(old.replace("1.0", "1.1"), encoding="utf-8")
        with installed(packages):
            assert template("{{ vin | tail }}").source_sha256 != before
            assert (
                template("{{ vin }}").source_sha256
                == MessageTemplate.of(Path("text.txt"), "{{ vin }}", ["VIN"]).source_sha256
            )
    finally:
        about.write_text(old, encoding="utf-8")
    with installed(packages):
        assert template("{{ vin | tail }}").source_sha256 == before


def test_conditions_have_them_too(tmp_path: Path) -> None:
    condition = Condition.of('vin | tail == "4352"', ["VIN"], tmp_path / "campaign.toml")
    assert condition.holds(["1HGCM82633A004352"])
    assert not condition.holds(["1HGCM82633A004353"])
    blank = Condition.of("vin | nothing > 5", ["VIN"], tmp_path / "campaign.toml")
    with pytest.raises(BatchsendError, match=r"blank|tail"):
        blank.holds(["1HGCM82633A004352"])
