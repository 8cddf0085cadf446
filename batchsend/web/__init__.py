"""The same tool in a browser: pages on the Python API, with no rules of their own.

`server` listens; `auth` lets in who may come in; `folder` says which campaigns there are. Whatever reads lists,
plans or sends runs in a process of its own (`jobs`, `readers`), so that no list and no run can hold up the pages.
"""
