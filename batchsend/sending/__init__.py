"""Sending the messages of one run: claim, pace, POST, record.

Begin with `dispatch`, then `sender.Sender`. `outbox` claims rows and stores outcomes, `pacing` keeps the rate
limit, and `locks` keeps two processes apart. `cluster` sends the same run from several processes. This
package knows nothing of lists, templates or plans.
"""
