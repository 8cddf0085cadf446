"""A rule for texts, for batchsend: models are written as the manufacturer writes them."""

import re
from collections.abc import Iterator

from batchsend import LintContext, LintRule

#: What people write, in small letters -> how the manufacturer writes it.
SPELLINGS = {"crv": "CR-V", "cr v": "CR-V", "hrv": "HR-V", "hr v": "HR-V"}
_misspelled = re.compile(rf"\b(?:{'|'.join(SPELLINGS)})\b", re.IGNORECASE)


def find(text: str, _: LintContext) -> Iterator[str]:
    """A sentence for each misspelled model."""
    for match in _misspelled.finditer(text):
        yield f"“{match[0]}” is written {SPELLINGS[match[0].lower()]}."


RULE = LintRule("Models that are misspelled", find, "Write it as the manufacturer does.")
