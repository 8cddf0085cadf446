"""Pages say everything in words that people who use no command line know.

`web_client` looks at every page that a test loads. Here are the sentences that few tests bring onto a page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_words import terms_in, terms_on

import batchsend
from batchsend.reports import advice

ROOT = Path(batchsend.__file__).parent
#: Modules of the console whose sentences are for the person who starts it, in a terminal.
_FOR_THE_TERMINAL = {"server.py", "proxy.py", "users.py", "scheduler.py", "registry.py", "__main__.py"}


def _files(folder: str, ending: str) -> list[Path]:
    return sorted((ROOT / folder).rglob(f"*{ending}"))


def _docstrings(tree: ast.AST) -> set[ast.AST]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, owners))
    return {body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)}


def _sentences(node: ast.AST, without: set[ast.AST]) -> Iterator[str]:
    """The texts in a piece of code, each f-string as one."""
    if node in without:
        return
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _sentences(child, without)


def _prose_of(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [text for text in _sentences(tree, _docstrings(tree)) if len(text.split()) > 3]


def _on_pages(file: Path) -> list[str]:
    """The sentences that errors of the core have for pages."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    words = (node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "on_page")
    return [text for word in words for text in _sentences(word.value, set())]


@pytest.mark.parametrize("file", _files("web", ".html.j2"), ids=lambda file: file.name)
def test_templates(file: Path) -> None:
    source = re.sub(
        r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", file.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert terms_on(source) == []


@pytest.mark.parametrize(
    "file",
    [file for file in _files("web", ".py") if file.name not in _FOR_THE_TERMINAL],
    ids=lambda file: file.name,
)
def test_sentences_of_the_console(file: Path) -> None:
    assert [term for text in _prose_of(file) for term in terms_in(text)] == []


def test_errors_of_the_core_on_pages() -> None:
    sentences = [text for file in _files("", ".py") for text in _on_pages(file)]
    assert len(sentences) > 20
    assert [term for text in sentences for term in terms_in(text)] == []


def test_advice_and_the_connection() -> None:
    tables = (advice.BY_STATUS, advice.OURS, advice.REFUSALS)
    explained = [text for table in tables for one in table.values() for text in (one.meaning, one.what_to_do)]
    sentences = [
        *explained,
        *advice.UNCONFIRMED.values(),
        *_prose_of(ROOT / "mykaarma" / "connection_check.py"),
    ]
    assert [term for text in sentences for term in terms_in(text)] == []


def test_the_terms_are_found() -> None:
    for text in (
        "Run `this`",
        "use batchsend send",
        "add --wait",
        "Check MYKAARMA_USERNAME",
        "the ledger",
        "12 septets",
        "1 row needs you",
        "write approval = true",
        "under [guards]",
        "in /home/ann/list.csv",
        "the file .env",
        "exit code 3",
    ):
        assert terms_in(text), text
    for text in (
        "A text to Ann",
        "batchsend stops",
        "https://a.b/var/x",
        "12 rows = 4 accepted by myKaarma",
        "24/7",
    ):
        assert terms_in(text) == []
