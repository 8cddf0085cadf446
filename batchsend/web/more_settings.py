"""The pages below the step "When": every key of the campaign file that has no form on another page."""

from __future__ import annotations

from dataclasses import dataclass

from batchsend.campaigns.campaign import Campaign
from batchsend.messages.lint import RULES
from batchsend.utils.extensions import Point, names
from batchsend.web.key_fields import KeyField, Kind

_YES_NO = ((True, "Yes"), (False, "No"))


@dataclass(frozen=True)
class SettingsGroup:
    """A page with fields. `needs_schedule`: it is shown only for a campaign with a schedule."""

    name: str
    title: str
    help: str
    fields: tuple[KeyField, ...]
    needs_schedule: bool = False

    def words(self, campaign: Campaign) -> list[str]:
        """Returns what is not as usual, for people."""
        found = ((field.label, field.words(campaign)) for field in self.fields)
        return [f"{label}: {words}" for label, words in found if words]


#: The fields on the page of the step itself.
SPEED = (
    KeyField(
        ("sending", "rate"),
        "Texts a second",
        "10 is usual. Slower spreads the customers’ answers over a longer time.",
    ),
    KeyField(
        ("sending", "per_day"),
        "At most this many texts a day",
        "The others wait for the next day. Leave it empty for no limit.",
    ),
    KeyField(
        ("sending", "per_hour"),
        "At most this many texts in an hour",
        "They are spread evenly, so that you can answer the replies. Leave it empty for no limit.",
    ),
    KeyField(
        ("sending", "per_day_segments"),
        "At most this many segments a day",
        "Phone companies limit segments: 160 characters each, or 70 with emoji. Leave it empty for no limit.",
    ),
    KeyField(
        ("sending", "holidays"),
        "Days without texts",
        "One a line, such as US (legal holidays), US-LA (those of Louisiana), Good Friday, 2026-12-24, or 12-24 for "
        "each year.",
        Kind.LINES,
    ),
)

_STARTS = SettingsGroup(
    "starts",
    "Details of scheduled starts",
    "What happens when the campaign starts by itself.",
    (
        KeyField(
            ("schedule", "wait"),
            "If some customers have quiet hours then",
            "Waiting keeps everyone in: each customer gets the text as soon as it is day where they live.",
            Kind.CHOICE,
            (
                (True, "Wait for the end of their quiet hours, then text them"),
                (False, "Leave them for the next start"),
            ),
        ),
        KeyField(
            ("schedule", "expires_after"),
            "If the computer was off, start up to this much later",
            "After that, the start is skipped.",
            Kind.DURATION,
        ),
        KeyField(
            ("schedule", "strict"),
            "Send nothing if any row has a problem",
            "If no, the other rows are sent.",
            Kind.CHOICE,
            _YES_NO,
        ),
        KeyField(
            ("schedule", "expect"),
            "Send nothing unless there are exactly this many texts",
            "Leave it empty to allow any number.",
        ),
    ),
    needs_schedule=True,
)

_AGAIN = SettingsGroup(
    "again",
    "Who is left out",
    "Who gets no text, and how often one customer may get one.",
    (
        KeyField(
            ("recipients", "repeat_after_days"),
            "Days until a customer may get this text again",
            "Leave it empty to text each customer once, ever.",
        ),
        KeyField(
            ("recipients", "max_messages"),
            "At most this many texts to one customer",
            "Texts of all your campaigns count. Leave it empty for no limit.",
        ),
        KeyField(
            ("recipients", "max_messages_days"),
            "Number of days for that limit",
            "Such as 7: at most that many texts in 7 days.",
        ),
        KeyField(
            ("recipients", "duplicate_phones"),
            "If two customers have the same phone",
            "",
            Kind.CHOICE,
            (("skip", "Text it once"), ("allow", "Text it for each customer")),
        ),
        KeyField(
            ("recipients", "blank_phones"),
            "If a row has no phone",
            "",
            Kind.CHOICE,
            (
                ("preferred", "Use the customer’s preferred number in myKaarma"),
                ("invalid", "Do not text that row"),
            ),
        ),
        KeyField(
            ("recipients", "default_region"),
            "Country of phone numbers without a country code",
            "Two capital letters, such as US, CA or MX.",
            Kind.TEXT,
        ),
        KeyField(
            ("recipients", "where"),
            "Only rows that meet this condition",
            'For experts, such as: model == "CR-V" and mileage | number >= 30000. Leave it empty for all rows.',
            Kind.TEXT,
        ),
        KeyField(
            ("recipients", "key"),
            "Columns that make a text a different one",
            "One column a line. Leave it empty for one text to each customer. With the columns Customer ID and "
            "Appointment Date, a customer gets a text for each appointment.",
            Kind.LINES,
        ),
    ),
)

_SAFETY = SettingsGroup(
    "safety",
    "Safety checks",
    "Nothing is sent if one of these checks fails.",
    (
        KeyField(
            ("guards", "approval"),
            "Another person must approve the texts first",
            "Who approves must sign in with their own name.",
            Kind.CHOICE,
            _YES_NO,
        ),
        KeyField(
            ("guards", "max_texts"),
            "Not more texts than",
            "More would mean that it is the wrong list. Leave it empty for no limit.",
        ),
        KeyField(
            ("guards", "min_texts"),
            "Not fewer texts than",
            "Fewer would mean that the list was cut off. Leave it empty for no limit.",
        ),
        KeyField(
            ("guards", "list_max_age"),
            "The list must not be older than",
            "An older list may be yesterday’s. Leave it empty for any age.",
            Kind.DURATION,
        ),
        KeyField(
            ("guards", "list_settle"),
            "Wait until the list has not changed for",
            "For a list that another program writes. Leave it empty to read it at once.",
            Kind.DURATION,
        ),
        KeyField(
            ("guards", "empty_list"),
            "If the list has no rows",
            "",
            Kind.CHOICE,
            (("error", "That is a mistake"), ("ok", "That is fine: there is nothing to send")),
        ),
        KeyField(
            ("guards", "unusual"),
            "If there are far more or far fewer texts than ever before",
            "",
            Kind.CHOICE,
            (("warn", "Say so"), ("refuse", "Send nothing until a person types the number")),
        ),
        KeyField(
            ("guards", "lint"),
            "If a text has something that carriers block or customers dislike",
            "Such as a shortened link, capital letters, or a word twice.",
            Kind.CHOICE,
            (("warn", "Say so"), ("error", "Send nothing"), ("off", "Do not look")),
        ),
        KeyField(
            ("message", "sender_name"),
            "The dealership’s name as each text should say it",
            "Such as Lakeside Honda. It is not added to the text. Leave it empty to take the department’s name.",
            Kind.TEXT,
        ),
        KeyField(
            ("guards", "lint_ignore"),
            "What texts may have all the same",
            "Nothing is said about what you check here.",
            Kind.CHOICES,
            (
                *((name, rule.title) for name, rule in RULES.items()),
                *((name, name.replace("_", " ").capitalize()) for name in names(Point.LINT_RULE)),
            ),
        ),
        KeyField(
            ("guards", "require_history"),
            "Send nothing if the history of this campaign is missing",
            "For scheduled campaigns: without the history, every customer would count as new.",
            Kind.CHOICE,
            _YES_NO,
        ),
    ),
)

_MYKAARMA = SettingsGroup(
    "mykaarma",
    "How myKaarma sends it",
    "What myKaarma adds to each text, and how long a text may be.",
    (
        KeyField(
            ("message", "add_tcpa_footer"),
            "Add the line that says how to opt out",
            "myKaarma adds it. The law in the USA asks for a way to opt out.",
            Kind.CHOICE,
            _YES_NO,
        ),
        KeyField(
            ("message", "opt_out_line"),
            "The words of that line",
            "Only for counting the length. myKaarma decides what it says.",
            Kind.TEXT,
        ),
        KeyField(
            ("message", "add_signature"), "Add the name of the user who sends", "", Kind.CHOICE, _YES_NO
        ),
        KeyField(("message", "add_footer"), "Add the dealership’s footer", "", Kind.CHOICE, _YES_NO),
        KeyField(
            ("message", "send_vcard"), "Attach the department’s number as a contact", "", Kind.CHOICE, _YES_NO
        ),
        KeyField(
            ("message", "is_manual"),
            "Who sends these texts",
            "myKaarma records it.",
            Kind.CHOICE,
            ((False, "A system"), (True, "A person")),
        ),
        KeyField(
            ("message", "smart_encoding"),
            "Replace curly quotes and dashes by plain ones where only they make a text cost more",
            "",
            Kind.CHOICE,
            _YES_NO,
        ),
        KeyField(
            ("message", "max_segments"),
            "Longest text, in segments",
            "You pay for each segment: 160 characters, or 70 with emoji and the like. A longer text is not sent.",
        ),
        KeyField(
            ("message", "segment_price"),
            "Price of a segment",
            "From your contract, such as 0.0079. Then the pages show what the texts cost.",
        ),
        KeyField(("message", "currency"), "Currency of this price", "Such as USD or CAD.", Kind.TEXT),
        KeyField(
            ("message", "send_synchronously"),
            "When myKaarma answers",
            "",
            Kind.CHOICE,
            ((False, "At once; it sends the text a moment later"), (True, "After it passed the text on")),
        ),
        KeyField(
            ("message", "callback_url"),
            "Address for reports of delivery",
            "It begins with https://. The person who runs the server knows it.",
            Kind.TEXT,
        ),
        KeyField(
            ("message", "callback_metadata"),
            "Words to add to these reports",
            "One a line, such as: source: spring campaign",
            Kind.PAIRS,
        ),
    ),
)

_TROUBLE = SettingsGroup(
    "trouble",
    "If something goes wrong",
    "When sending stops by itself. The usual values fit almost everyone.",
    (
        KeyField(
            ("sending", "stop_after_failures"),
            "Stop after this many rows in a row with the same problem",
            "The rest is kept, and you can go on later.",
        ),
        KeyField(("sending", "give_up_after"), "Stop if no text was accepted for", "", Kind.DURATION),
        KeyField(("sending", "timeout"), "Seconds to wait for an answer", "30 is usual."),
        KeyField(("sending", "concurrency"), "Texts on their way at the same time", "20 is usual."),
    ),
)

_NOTICES = SettingsGroup(
    "notices",
    "Who is told how it went",
    "A notice has the name of the campaign, the counts and what to do. It has no phone numbers and no texts.",
    (
        KeyField(
            ("notify", "email"),
            "E-mail addresses",
            "One a line. The person who looks after batchsend must have set up a mail server.",
            Kind.LINES,
        ),
        KeyField(
            ("notify", "url"),
            "Address of a channel in Slack or Teams",
            "A web hook: the channel’s settings show it. It begins with https://.",
            Kind.TEXT,
        ),
        KeyField(
            ("notify", "notifiers"),
            "Add-ons that tell people",
            "One a line, such as desk: Service. The person who looks after batchsend knows their names.",
            Kind.PAIRS,
        ),
        KeyField(
            ("notify", "when"),
            "When they are told",
            "",
            Kind.CHOICE,
            (("attention", "Only if a person has to look"), ("always", "Each time")),
        ),
    ),
)

_READING = SettingsGroup(
    "reading",
    "How the list is read",
    "Only if it is not read correctly by itself.",
    (
        KeyField(
            ("list_options", "encoding"),
            "Encoding of a text file",
            "Such as windows-1252. Leave it empty to detect it.",
            Kind.TEXT,
        ),
        KeyField(
            ("list_options", "delimiter"),
            "Character between the cells of a text file",
            "",
            Kind.CHOICE,
            ((None, "Detect it"), (",", "Comma"), (";", "Semicolon"), ("\t", "Tab"), ("|", "Vertical bar")),
        ),
    ),
)

GROUPS = (_STARTS, _AGAIN, _SAFETY, _MYKAARMA, _TROUBLE, _NOTICES, _READING)


def groups_of(campaign: Campaign) -> tuple[SettingsGroup, ...]:
    """Returns the pages for this campaign."""
    return tuple(group for group in GROUPS if campaign.schedule is not None or not group.needs_schedule)
