"""What a run leaves behind: the results workbook, CSV files, lists, and advice in plain words.

Begin with `output_files`, which decides what goes where. `table` names the columns, `workbook` and
`results_file` write them, and `pages` makes the HTML pages.
"""
