"""The processes that the web console starts, so that no list and no run holds up the pages.

`registry` starts jobs and finds them again, `process` is the program of a job, and `confirmation` checks that what is
sent is what the user saw. `reader_pool` runs the functions of `list_preview` in processes whose program is
`reader_process`. Nothing here knows about HTTP.
"""
