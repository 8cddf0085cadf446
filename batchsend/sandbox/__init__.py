"""The local stand-in for the myKaarma send-text API, for rehearsals, demos and tests; it texts no phone.

Begin with `server.Sandbox`; `responder` decides what it answers, and `scenarios` lists the customers with a
particular answer. This package is written from what is known of the API and shares no code with the client,
so that the two can disagree.
"""
