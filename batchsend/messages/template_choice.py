"""The templates of one campaign, and which of them a row gets: `template`, or `template_by` a column of the list."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, CampaignError, TemplateError
from batchsend.lists.headers import folded, match_key
from batchsend.messages.template import MessageTemplate


class TemplateChoice:
    """Templates of one list. Made by `load`.

    `default` is for every value that no case names; a campaign with one `template` has no cases.
    """

    def __init__(
        self,
        default: MessageTemplate,
        column: str = "",
        cases: Sequence[tuple[MessageTemplate, Sequence[str]]] = (),
    ) -> None:
        self.default = default
        #: The header of the column to choose by, as the campaign file has it; '' where there is only one template.
        self.column = column
        #: Each with the values it is for, as the campaign file has them.
        self.cases = tuple(cases)
        self._by_value = {folded(value): template for template, values in cases for value in values}

    @classmethod
    def load(cls, campaign: Campaign, headers: Sequence[str]) -> TemplateChoice:
        """Reads and checks all templates of a campaign for a list with these headers.

        Raises `BatchsendError` with everything that is wrong with any of them.
        """
        if campaign.template is not None:
            return cls(MessageTemplate.load(campaign.template, headers))
        by = campaign.template_by
        if by is None:
            raise CampaignError(campaign.path, "`template` is missing")
        loaded: dict[Path, MessageTemplate] = {}
        wrong: list[TemplateError] = []
        for path in dict.fromkeys([by.default, *by.cases]):
            try:
                loaded[path] = MessageTemplate.load(path, headers)
            except TemplateError as error:
                wrong.append(error)
        if wrong:
            raise wrong[0] if len(wrong) == 1 else BatchsendError("\n".join(map(str, wrong)))
        cases = [(loaded[path], values) for path, values in by.cases.items()]
        return cls(loaded[by.default], by.column, cases)

    def choose(self, value: str) -> MessageTemplate:
        """The template of a row with this value in the column to choose by, whatever its letter case."""
        return self._by_value.get(folded(value), self.default)

    @property
    def path(self) -> Path:
        """The default template's file."""
        return self.default.path

    @property
    def uses(self) -> frozenset[int]:
        """Indexes of the list's columns that any of the templates looks at."""
        return frozenset().union(*(template.uses for template in self._templates()))

    @property
    def variables(self) -> Mapping[str, int]:
        """The templates' names for columns, each with the column's index."""
        return {name: index for template in self._templates() for name, index in template.variables.items()}

    @property
    def source_sha256(self) -> str:
        """Of all templates and of what chooses among them: changes whenever the texts could."""
        if not self.cases:
            return self.default.source_sha256
        cases = sorted([value, template.source_sha256] for value, template in self._by_value.items())
        whole = [self.default.source_sha256, match_key(self.column), cases]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def described_files(self) -> list[str]:
        """Each file with what it is for: `x.en.txt.j2`, `x.es.txt.j2 (Spanish, SPA, es)`."""
        cases = (f"{template.path} ({', '.join(values)})" for template, values in self.cases)
        return [str(self.path), *cases]

    def unmatched(self, values: Mapping[str, int]) -> Counter[str]:
        """Those of these values (with how often each stands in the list) that no case names; '' is blank."""
        return Counter(
            {value: count for value, count in values.items() if folded(value) not in self._by_value}
        )

    def rows_by_file(self, values: Mapping[str, int]) -> Counter[Path]:
        """How many rows each template's file gets, the default's first; 0 is there too."""
        rows: Counter[Path] = Counter(dict.fromkeys((template.path for template in self._templates()), 0))
        for value, count in values.items():
            rows[self.choose(value).path] += count
        return rows

    def _templates(self) -> list[MessageTemplate]:
        return [self.default, *(template for template, _ in self.cases)]
