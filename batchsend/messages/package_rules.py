"""Rules of the lint that installed packages add. Each reads many texts at once, within a time limit."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from batchsend.errors import ExtensionError
from batchsend.messages.lint import RULES, Finding, LintContext, LintRule
from batchsend.utils.extensions import Extension, Point, find, names, running

#: Seconds for the texts of one call, which are those of a chunk at most.
RULE_TIMEOUT = 60.0


def package_rules(ignored: Collection[str]) -> list[Extension]:
    """The rules of installed packages, without the ignored ones. Raises `ExtensionError` if one cannot be used."""
    wanted = (name for name in names(Point.LINT_RULE) if name not in ignored)
    found = [one for name in wanted if (one := find(Point.LINT_RULE, name)) is not None]
    for one in found:
        if one.name in RULES:
            raise one.error("has the name of a rule of batchsend. Uninstall the package.")
        with running(one, RULE_TIMEOUT) as call:
            _check(one, call(lambda rule: rule))
    return found


def _check(extension: Extension, rule: Any) -> None:
    is_rule = isinstance(rule, LintRule) and callable(rule.find)
    if not is_rule or not isinstance(rule.title, str) or not isinstance(rule.advice, str):
        raise extension.error(
            "is not a batchsend.LintRule with a title, a function and advice. Update the package, ask its author, or "
            f'write lint_ignore = ["{extension.name}"] under [guards].'
        )


def findings_of(
    extension: Extension, texts: Iterable[tuple[int, str, LintContext]]
) -> list[tuple[int, Finding]]:
    """What a package's rule finds in texts, with their rows.

    Raises `ExtensionError`, which names the row, if the rule fails, hangs or gives anything but sentences.
    """
    reading = [0]

    def read(rule: LintRule) -> list[tuple[int, Finding]]:
        found = []
        for row, text, context in texts:
            reading[0] = row
            found += [
                (row, Finding(extension.name, str.strip(sentence), rule.title, rule.advice))
                for sentence in dict.fromkeys(list(rule.find(text, context)))
            ]
        return found

    try:
        with running(extension, RULE_TIMEOUT) as call:
            return call(read)
    except ExtensionError as error:
        advice = f'To send without this rule, write lint_ignore = ["{extension.name}"] under [guards].'
        raise ExtensionError(f"Row {reading[0]:,}: {error} {advice}", on_page=error.on_page) from error
