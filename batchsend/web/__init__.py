"""The web console: `batchsend web` shows the Python API as pages in the browser.

`server` lists the pages; `views` has a module for each, and `auth` decides who may see them. Anything that reads
lists, plans or sends runs in its own process (`jobs`), so no list and no run holds up the pages. Decisions about rows
belong to `planning` and `sending`: the console has no rules of its own.
"""
