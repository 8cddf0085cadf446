"""Excel workbooks: `reader` gives the rows, and the other modules help it.

`package` opens the ZIP archive, `scan` looks at a sheet before it is read, `chunks` reads long sheets in
chunks, and `normalize` rewrites workbooks of unusual programs into the form that the reader understands.
"""
