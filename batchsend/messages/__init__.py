"""Turns a row into the text that is sent: templates, filters, SMS segments and phone numbers.

Start with `template.MessageTemplate` for rendering and `sms` for segments. The rules here are pure: no network, no
ledger.
"""
