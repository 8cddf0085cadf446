"""The myKaarma API: requests, answers, delivery updates and the HTTP client.

Begin with `protocol`, which builds requests and judges answers without any network. `client` sends them over
`connection`, and `updates` reads what the API reports later. This package may not import the sandbox: both implement
the API independently, so that one can reveal a mistake in the other.
"""
