"""Customer lists: a file becomes numbered rows of text with known headers.

Start with `customer_list.open_list`. `formats` has one module per file format; `headers`, `cells` and `damage` have
the rules for headers and cells. This package knows nothing about campaigns.
"""
