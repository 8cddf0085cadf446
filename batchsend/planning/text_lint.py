"""Applies the lint to the texts of a plan. What could be wrong is found in the parts of which the texts are made.

All texts of a template have its own words in common, and few cells differ. So the rules first look at these parts and
at some whole texts, and then only at the texts that could have what was found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import CampaignError
from batchsend.messages.lint import RULES, Finding, LintContext, lint, name_columns, sender_of
from batchsend.messages.lint_values import compared_columns, has_values
from batchsend.messages.package_rules import findings_of, package_rules
from batchsend.messages.template import MessageTemplate
from batchsend.messages.template_choice import TemplateChoice
from batchsend.utils.extensions import Extension, Point, names

#: Rows kept of each finding, and named in a sentence.
_ROWS_KEPT, _ROWS_NAMED = 20, 8
#: Whole texts that all rules read: the first of each template, and one in so many of the rest.
_FIRST, _ONE_IN = 20, 1000
#: A column whose cells have this many blanks on average holds texts; the rules read all of them.
_BLANKS = 6


class LintFinding(NamedTuple):
    """What is wrong with some texts of a plan. `rule`: its name; `rows`: the first rows of the list that have it.

    `title`: the rule's.
    """

    rule: str
    sentence: str
    advice: str
    texts: int
    rows: tuple[int, ...]
    title: str

    @property
    def words(self) -> str:
        """What is wrong, where, and what to do: `“the the” has a word twice (row 7). Take one of the two out.`"""
        return f"{self.sentence.removesuffix('.')} ({self.where}). {self.advice}"

    @property
    def unquoted(self) -> str:
        """The same without a word of the texts, for logs and notices: `A word twice (doubled_word): row 7.`"""
        return f"{self.title} ({self.rule}): {self.where}."

    @property
    def where(self) -> str:
        """`row 7`, `rows 7, 9 and 12`, `rows 2, 3, 4 and 236 more`."""
        named = [f"{row}" for row in self.rows[:_ROWS_NAMED]]
        rest = self.texts - len(named)
        if self.texts == 1:
            return f"row {named[0]}"
        first, last = (named, f"{rest:,} more") if rest else (named[:-1], named[-1])
        return f"rows {', '.join(first)} and {last}"


@dataclass
class _Found:
    texts: int = 0
    rows: list[int] = field(default_factory=list)


def lint_context(campaign: Campaign) -> LintContext:
    """What the rules know of a campaign."""
    message = campaign.message
    # The dealership's name is probably in the footer that myKaarma adds.
    is_named = message.add_footer or message.add_signature
    return LintContext(
        sender="" if is_named else sender_of(message.sender_name, campaign.department_label),
        opt_out_line=message.opt_out_line if message.add_tcpa_footer else None,
    )


def rules_of(campaign: Campaign) -> frozenset[str]:
    """The names of our rules that a campaign keeps."""
    guards = campaign.guards
    return frozenset() if guards.lint == "off" else frozenset(RULES) - set(guards.lint_ignore)


def package_rules_of(campaign: Campaign) -> list[Extension]:
    """The rules of installed packages that a campaign keeps.

    Raises `ExtensionError` if one cannot be used, and `CampaignError` if an ignored rule does not exist.
    """
    guards = campaign.guards
    known = {*RULES, *names(Point.LINT_RULE)}
    if unknown := [name for name in guards.lint_ignore if name not in known]:
        raise CampaignError(
            campaign.path,
            f"`guards.lint_ignore`: there is no rule {unknown[0]}, and no package that adds one of this name is "
            "installed on this computer. Install it, or take the name out.",
        )
    return [] if guards.lint == "off" else package_rules(guards.lint_ignore)


def package_findings(
    rules: Iterable[Extension], context: LintContext, headers: Sequence[str], rows: pd.DataFrame
) -> list[tuple[int, Finding]]:
    """What rules of packages find in texts, with their rows. `rows`: the list's cells, and `body`."""
    cells = rows[list(range(len(headers)))].to_numpy().tolist()
    texts = [
        (row, body, replace(context, cells=dict(zip(headers, some, strict=True))))
        for row, body, some in zip(rows.index.tolist(), rows["body"], cells, strict=True)
    ]
    return [found for rule in rules for found in findings_of(rule, texts)]


class TextLint:
    """Collects what is wrong with the texts of a plan, chunk by chunk."""

    def __init__(self, campaign: Campaign, headers: Sequence[str], templates: TemplateChoice) -> None:
        self._rules = rules_of(campaign)
        self._package_rules = package_rules_of(campaign)
        self._context = lint_context(campaign)
        self._templates = templates
        self._headers = headers
        self._compared = compared_columns(headers)
        self._names = name_columns(headers)
        self._parts: dict[MessageTemplate, _Parts] = {}
        self._found: defaultdict[Finding, _Found] = defaultdict(_Found)

    def add(self, rows: pd.DataFrame, chosen_by: int | None) -> None:
        """Adds texts to be sent.

        `rows`: the list's cells, and `body`; `chosen_by`: the column that chooses the template.
        """
        if rows.empty:
            return
        if self._package_rules:
            for row, finding in package_findings(self._package_rules, self._context, self._headers, rows):
                self._note(row, finding)
        if not self._rules:
            return
        for template, some in self._templates.of_rows(rows, chosen_by):
            parts = self._parts.setdefault(
                template, _Parts(template, self._context, self._rules, self._names)
            )
            suspects = parts.suspects(some)
            if "other_value" in self._rules and self._compared and parts.has_values:
                suspects |= {"other_value"}
            if suspects:
                self._read(some, suspects)

    def _read(self, rows: pd.DataFrame, rules: frozenset[str]) -> None:
        context = self._context
        read = {
            *(self._compared if "other_value" in rules else ()),
            *(self._names if "forbidden_word" in rules else ()),
        }
        columns = sorted(read)
        headers = [self._headers[position] for position in columns]
        cells = rows[columns].to_numpy().tolist() if headers else [()] * len(rows)
        for row, body, values in zip(rows.index.tolist(), rows["body"], cells, strict=True):
            if headers:
                context = LintContext(
                    context.sender, context.opt_out_line, dict(zip(headers, values, strict=True))
                )
            for finding in lint(body, context, rules):
                self._note(row, finding)

    def _note(self, row: int, finding: Finding) -> None:
        found = self._found[finding]
        found.texts += 1
        if len(found.rows) < _ROWS_KEPT:
            found.rows.append(row)

    def findings(self) -> tuple[LintFinding, ...]:
        """What was found, the most frequent first."""
        return tuple(
            LintFinding(
                finding.rule,
                finding.sentence,
                finding.advice,
                found.texts,
                tuple(found.rows),
                finding.title,
            )
            for finding, found in sorted(self._found.items(), key=lambda item: -item[1].texts)
        )


class _Parts:
    """The parts of which the texts of one template are made, as far as they were seen."""

    def __init__(
        self, template: MessageTemplate, context: LintContext, rules: frozenset[str], names: Sequence[int]
    ) -> None:
        self._template = template
        self._context = context
        self._rules = rules
        self._names = names
        self._seen: set[str] = set()
        self._first = _FIRST
        self._last_words = {
            words[-1] for text in template.constants if text.endswith(" ") and (words := _words(text))
        }
        self._first_words = {
            words[0] for text in template.constants if text.startswith(" ") and (words := _words(text))
        }
        constants = "\n".join(template.constants)
        self.has_values = has_values(constants)
        self._suspects = self._found_in([constants], rules)

    def suspects(self, rows: pd.DataFrame) -> frozenset[str]:
        """The rules that could find something in one of these rows, or did in an earlier one."""
        if len(self._suspects) == len(self._rules):
            return self._suspects
        bodies = rows["body"].tolist()
        sample = [*bodies[: self._first], *bodies[self._first :: _ONE_IN]]
        self._first = max(0, self._first - len(bodies))
        self._suspects |= self._found_in(sample, self._rules - self._suspects)
        if "no_sender" in self._rules and not all(map(self._names_sender, bodies)):
            self._suspects |= {"no_sender"}
        for position in sorted(self._template.uses):
            self._look_at(
                set(rows[position]) - self._seen, {"forbidden_word"} if position in self._names else set()
            )
        return self._suspects

    def _look_at(self, values: set[str], not_here: AbstractSet[str]) -> None:
        self._seen |= values
        texts = "\n".join(_distinct(values))
        if texts.count(" ") > _BLANKS * (texts.count("\n") + 1):
            self._suspects = self._rules
        elif texts:
            self._suspects |= self._found_in([texts], self._rules - self._suspects - _NOT_IN_CELLS - not_here)
            if "doubled_word" in self._rules and self._doubles(texts):
                self._suspects |= {"doubled_word"}

    def _doubles(self, texts: str) -> bool:
        """Whether a cell begins with the last word before a tag, or ends with the first one after it."""
        lines = list(filter(None, map(str.split, texts.casefold().split("\n"))))
        return any(words[0] in self._last_words or words[-1] in self._first_words for words in lines)

    def _found_in(self, texts: Iterable[str], rules: frozenset[str]) -> frozenset[str]:
        return frozenset(finding.rule for text in texts for finding in lint(text, self._context, rules))

    def _names_sender(self, body: str) -> bool:
        return self._context.sender in body


#: A longer word of letters and digits is an id.
_LONGEST_WORD = 20
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
#: Rules that say nothing about single cells.
_NOT_IN_CELLS = frozenset({"capitals", "second_opt_out", "no_sender", "other_value"})


def _words(text: str) -> list[str]:
    return text.casefold().split()


def _distinct(values: Iterable[str]) -> set[str]:
    """The values without what tells most cells of a list apart: ids, digits, and what follows the host of a link."""
    some = [
        "/".join(value.split("/", 3)[:3]) if "://" in value else value
        for value in values
        if len(value) <= _LONGEST_WORD or not value.isalnum()
    ]
    return set("\n".join(some).translate(_NO_DIGITS).split("\n"))
