"""The command line: one file for each group of commands, and `main`, which puts them together.

Begin with `main.cli` and then `send`. A command parses its options, calls the Python API in `runs.api` and
prints lines from `text`. Nothing below this package prints or asks.
"""
