"""Who may use the web console: `middleware` checks every request, `login` signs people in.

`users` keeps names and password hashes, `sessions` keeps who is signed in.
"""
