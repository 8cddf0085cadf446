"""Excel workbooks (.xlsx, .xlsm). Start with `reader`, which returns the rows.

`package` opens the ZIP archive. `scan` searches a sheet's XML: python-calamine reads a plain one, which is fast, and
`unusual` reads any other with openpyxl.
"""
