"""What the terminal shows: pure functions from facts to lines.

`plan` shows a plan before sending, `report` shows how a start went, and `ledger` shows runs and history.
"""
