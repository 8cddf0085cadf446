"""The campaign file: its keys and types, sentences about its problems, and rules about time.

Begin with `file.load_campaign`, which reads a file, and `campaign.Campaign`, which the other packages work with.
`quiet_hours`, `zones` and `cron` hold the rules about time. This package does not know ledgers or sending; of
`lists` it uses only the rules about headers and file endings.
"""
