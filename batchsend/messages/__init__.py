"""From a row to the text that is sent: templates, filters, SMS segments and phone numbers.

Begin with `template.Template` for rendering and `sms` for segments. The rules here are pure: no network, no
ledger.
"""
