"""Writes Excel workbooks. Begin with `sheet`, which says what a sheet has, and `write`, which chooses the writer.

`rustpy` uses rustpy-xlsxwriter, which takes a tenth of the time but has no wheel for some computers. `pure` writes
the same workbook with XlsxWriter, which is pure Python. This package knows cells and formats, and no results.
"""
