"""One run sent by several processes on a PostgreSQL ledger.

Begin with `dispatch`: `send_run` sends a run from one process under a lease, and around it is the `send` that shares
its run. `worker` is a worker. `outbox` claims chunks of rows, `pacing` shares one rate limit, and `open_runs` keeps
the shared state of runs. `ledger.leases` says which process may send.
"""
