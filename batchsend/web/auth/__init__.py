"""Who may use the web console.

`middleware` checks every request, `users` keeps names and password hashes, and `sessions` keeps who is signed in. The
sign-in page is in `web/views/login`. Nothing here knows about campaigns.
"""
