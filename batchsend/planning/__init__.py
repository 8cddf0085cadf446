"""Decides which rows would be sent, and why the others would not.

Begin with `plan.make_plan`. `row_judge` judges one row by itself, `planner` applies the rules that need other rows
or the history, and `waiting` decides which rows have to wait. `summary` words the result. This package must not
know `sending`.
"""
