"""The processes that the web console starts, so that no list and no run holds up the pages.

`registry` starts jobs and finds them again, `process` is the program of a job, and `confirmation` checks that what is
sent is what the user saw. `list_process` runs the functions of `list_preview` for the editor. Nothing here knows
about HTTP.
"""
