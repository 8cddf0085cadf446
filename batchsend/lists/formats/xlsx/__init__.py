"""Excel workbooks (.xlsx, .xlsm). Start with `reader`, which returns the rows.

`package` opens the ZIP archive, `scan` searches a sheet's XML before it is read, `chunks` splits large sheets, and
`normalize` rewrites unusual XML and sparse sheets into a plain workbook.
"""
