"""Customer lists: from a file to numbered rows of text under known headers.

Begin with `customer_list.open_list`. `formats` holds one module for each file format; `headers`, `cells` and
`damage` hold the rules for headers and cells. This package knows nothing of campaigns.
"""
