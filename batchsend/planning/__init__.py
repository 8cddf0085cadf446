"""What would be sent, and why the other rows would not.

Begin with `plan.make_plan`. `row_judge` judges one row by itself, `planner` applies the rules that need other
rows or the history, and `waiting` decides which rows have to wait. This package knows nothing of sending.
"""
