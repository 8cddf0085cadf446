"""Decides which rows would be sent, and why the others would not.

Begin with `plan.make_plan`. `rules` lists the rules, which work on a pandas frame of the list's rows. `planner`
applies them to one chunk after another, and `waiting` decides which rows have to wait. `summary` words the result.
This package must not know `sending`.
"""
