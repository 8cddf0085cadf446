"""Everything we know of the myKaarma API: requests, answers, delivery updates and the HTTP client.

Begin with `protocol`, which builds requests and judges answers without any network, then `client`, which
sends them. This package never imports the sandbox, so that the two can disagree.
"""
