"""`batchsend hours`: the hours of states that campaigns can keep."""

from __future__ import annotations

import click

from batchsend.cli.options import echo_lines
from batchsend.errors import BatchsendError


@click.command(short_help="Print the lawful hours of each state.")
@click.argument("state", nargs=-1, metavar="[STATE]")
def hours(state: tuple[str, ...]) -> None:
    """Print the hours of each state that `quiet_hours = "US-states"` keeps, with their sources.

    STATE is its name or its two letters; without it, all states are printed. This is not legal advice.
    """
    from batchsend.campaigns.zones import nearest_state, state_code, state_name
    from batchsend.cli.text.hours import hours_lines, state_lines

    if not state:
        echo_lines(hours_lines())
        return
    name = " ".join(state)
    code = state_code(name)
    if code is None:
        near = nearest_state(name)
        hint = (
            f"did you mean {state_name(near)} ({near})?"
            if near
            else "write its name or its two letters, such as FL"
        )
        raise BatchsendError(f"{name} is not a state of the USA or a province of Canada; {hint}")
    echo_lines(state_lines(code))
