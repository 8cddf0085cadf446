"""Chooses the template of each row: the campaign's `template`, or one of `template_by` by the value of a column."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, CampaignError, TemplateError
from batchsend.lists.headers import folded, match_key
from batchsend.messages.template import MessageTemplate

if TYPE_CHECKING:
    import pandas as pd


class TemplateChoice:
    """The templates of one campaign for one list. Create it with `load`.

    `default` is for all values without a case. A campaign with a single `template` has no cases.
    """

    def __init__(
        self,
        default: MessageTemplate,
        column: str = "",
        cases: Sequence[tuple[MessageTemplate, Sequence[str]]] = (),
    ) -> None:
        self.default = default
        #: The header of the column to choose by, as written in the campaign file; '' if there is only one template.
        self.column = column
        #: Each template with its values, as written in the campaign file.
        self.cases = tuple(cases)
        self._by_value = {folded(value): template for template, values in cases for value in values}

    @classmethod
    def load(cls, campaign: Campaign, headers: Sequence[str]) -> TemplateChoice:
        """Reads all templates of a campaign and checks them for a list with these headers.

        Raises `BatchsendError` with the problems of all of them.
        """
        if campaign.template is not None:
            return cls(MessageTemplate.load(campaign.template, headers))
        by = campaign.template_by
        if by is None:
            raise CampaignError(campaign.path, "`template` is missing")
        loaded: dict[Path, MessageTemplate] = {}
        errors: list[TemplateError] = []
        for path in dict.fromkeys([by.default, *by.cases]):
            try:
                loaded[path] = MessageTemplate.load(path, headers)
            except TemplateError as error:
                errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else BatchsendError("\n".join(map(str, errors)))
        cases = [(loaded[path], values) for path, values in by.cases.items()]
        return cls(loaded[by.default], by.column, cases)

    def choose(self, value: str) -> MessageTemplate:
        """The template of a row with this value in the column to choose by; ignores letter case."""
        return self._by_value.get(folded(value), self.default)

    def of_rows(
        self, rows: pd.DataFrame, column: int | None
    ) -> Iterator[tuple[MessageTemplate, pd.DataFrame]]:
        """Each template with its rows. `column`: the column to choose by, if there are several."""
        if column is None:
            yield self.default, rows
            return
        chosen = rows[column].map(self.choose)
        for template in dict.fromkeys(chosen):
            yield template, rows[[one is template for one in chosen]]

    @property
    def path(self) -> Path:
        """The file of the default template."""
        return self.default.path

    @property
    def uses(self) -> frozenset[int]:
        """Indexes of the list's columns that any template uses."""
        return frozenset().union(*(template.uses for template in self._templates()))

    @property
    def variables(self) -> Mapping[str, int]:
        """The variables of all templates, with the indexes of their columns."""
        return {name: index for template in self._templates() for name, index in template.variables.items()}

    @property
    def source_sha256(self) -> str:
        """A digest of all templates and their cases; it changes whenever the texts could."""
        if not self.cases:
            return self.default.source_sha256
        cases = sorted([value, template.source_sha256] for value, template in self._by_value.items())
        whole = [self.default.source_sha256, match_key(self.column), cases]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def described_files(self) -> list[str]:
        """Each file with its values: `x.en.txt.j2`, `x.es.txt.j2 (Spanish, SPA, es)`."""
        cases = (f"{template.path} ({', '.join(values)})" for template, values in self.cases)
        return [str(self.path), *cases]

    def unmatched(self, values: Mapping[str, int]) -> Counter[str]:
        """The values without a case, from `values` with their counts in the list; '' is blank."""
        return Counter(
            {value: count for value, count in values.items() if folded(value) not in self._by_value}
        )

    def rows_by_file(self, values: Mapping[str, int]) -> Counter[Path]:
        """The number of rows for each template file, including 0; the default template is first."""
        rows: Counter[Path] = Counter(dict.fromkeys((template.path for template in self._templates()), 0))
        for value, count in values.items():
            rows[self.choose(value).path] += count
        return rows

    def _templates(self) -> list[MessageTemplate]:
        return [self.default, *(template for template, _ in self.cases)]
