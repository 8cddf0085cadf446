"""Who may use the web console: `middleware` checks every request.

`users` keeps names and password hashes, `sessions` keeps who is signed in. The sign-in page is in `web/views/login`.
"""
