"""The campaign file: its keys and types, what is wrong with one, and the times it names.

Begin with `file.load_campaign`, which reads a file, and `campaign.Campaign`, which is what everything else is
given. `quiet_hours`, `zones` and `cron` hold the rules about time. This package knows nothing of lists,
ledgers or sending.
"""
