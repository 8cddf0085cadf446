"""What shells are told when a user presses Tab. Real shells are in `tests/system/test_completion.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import split_arg_string

from batchsend.cli.completion import VARIABLE
from batchsend.cli.main import cli, run

SHELLS = ("bash", "zsh", "fish", "powershell")
FILE = "file"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "spring.toml",
        "summer.toml",
        "spring.csv",
        "My List.toml",
        "campaigns/fall.toml",
        "campaigns/a.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completions(
    shell: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What the shell offers at the end of this line; `FILE` if it completes names of files itself."""
    words = split_arg_string(line)
    typed = "" if line.endswith(" ") else words[-1]
    monkeypatch.setenv(VARIABLE, f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    # fish names the word, the others its number.
    number = len(words) if not typed else len(words) - 1
    monkeypatch.setenv("COMP_CWORD", typed if shell == "fish" else str(number))
    assert run([]) == 0
    lines = capsys.readouterr().out.splitlines()
    if shell in ("bash", "fish"):
        pairs = [line.split(",", 1) for line in lines]
    else:
        pairs = [[kind, value] for kind, value, _ in zip(*[iter(lines)] * 3, strict=True)]
    return [
        FILE if kind == "file" else value.partition("\t")[0].replace("\\n", "\n") for kind, value in pairs
    ]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("batchsend prev", ["preview"]),
        ("batchsend optouts a", ["add"]),
        ("batchsend completion po", ["powershell"]),
        ("batchsend send --res", ["--results", "--resend"]),
        ("batchsend send spring.toml --resend ", ["failed", "unconfirmed"]),
        ("batchsend send spring.toml --log-format j", ["json"]),
        ("batchsend preview sp", ["spring.toml"]),
        ("batchsend stop s", ["spring.toml", "summer.toml"]),
        ("batchsend schedule spring.toml su", ["summer.toml"]),
        ("batchsend runs campaigns/", ["campaigns/fall.toml"]),
        # Spaces need the shell's own quoting, and a folder its own slash.
        ("batchsend preview ", [FILE]),
        ("batchsend preview camp", [FILE]),
        ("batchsend preview no/such/folder/", [FILE]),
        ("batchsend send spring.toml --list sp", [FILE]),
    ],
)
def test_shells_complete(
    shell: str,
    line: str,
    expected: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert completions(shell, line, monkeypatch, capsys) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_asks_this_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"{VARIABLE}={shell}_complete" in script.replace("$env:", "").replace(" = '", "=")
    assert "COMP_WORDS" in script


def test_the_script_for_powershell_registers_a_completer(capsys: pytest.CaptureFixture[str]) -> None:
    run(["completion", "powershell"])
    assert "Register-ArgumentCompleter -Native -CommandName batchsend " in capsys.readouterr().out


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "powershel"]) == 2
    assert "Did you mean 'powershell'?" in capsys.readouterr().err


def test_completions_load_no_large_libraries(folder: Path) -> None:
    lines = [f"batchsend {name} {typed}" for name in cli.commands for typed in ("-", "s")]
    program = f"""
import os, sys
from batchsend.cli.main import run
os.environ["{VARIABLE}"] = "bash_complete"
for line in {lines!r}:
    os.environ |= {{"COMP_WORDS": line, "COMP_CWORD": "2"}}
    run([])
print(sorted({{"aiohttp", "jinja2", "numpy", "pandas", "pydantic", "rich", "sqlalchemy"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ}, capture_output=True, encoding="utf-8"
    )
    assert (done.stdout.splitlines()[-1], done.stderr) == ("[]", "")
