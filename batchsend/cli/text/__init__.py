"""The lines that the terminal shows, made by pure functions.

`plan` shows a plan before sending, `report` shows how a start went, and `ledger` shows runs and history.
"""
