"""Sends the texts of one run: claims rows, keeps the rate limit, posts requests, records outcomes.

Begin with `dispatch`, then `sender.Sender`. `run_settings` says how a run is sent, `outbox` claims rows and stores
outcomes, `pacing` keeps the rate limit, and `locks` lets only one process send a campaign. `cluster` sends the same
run from several processes. This package knows nothing of lists, templates or plans.
"""
