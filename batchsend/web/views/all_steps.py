"""The steps of a campaign, in order. A further step is one line here, one module and one template."""

from __future__ import annotations

from batchsend.web.steps import CHECK, COLUMNS, LIST, SEND, SENDER, TEXT, WHEN, Page, Step
from batchsend.web.views import check, columns_step, list_step, sender_step, text_step, when_step

ALL_STEPS = (
    Step(LIST, "List", "Who gets the text?", list_step.PAGES),
    Step(COLUMNS, "Columns", "What is in the columns?", columns_step.PAGES),
    Step(TEXT, "Text", "What does the text say?", text_step.PAGES),
    Step(SENDER, "Sender", "Who sends it?", sender_step.PAGES),
    Step(WHEN, "When", "When may it go out?", when_step.PAGES),
    Step(
        CHECK,
        "Check",
        "Is everything right?",
        (Page("GET", "", check.show_present), Page("POST", "", check.begin)),
    ),
    Step(SEND, "Send", "Send it?", (Page("GET", "", check.show_question),)),
)
