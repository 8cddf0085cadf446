"""The files that people read after a preview or a run: workbook, CSV, lists and pages, with advice in plain words.

Begin with `output_files`, which writes each file to its place. `table` has the columns, `run_results` their rows;
`workbook` and `results_file` write them, and `pages` makes the HTML pages. Nothing here sends or changes a ledger.
"""
