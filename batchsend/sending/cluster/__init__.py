"""One run sent by several processes on a PostgreSQL ledger.

Begin with `dispatch` for a `send` that shares its run and `worker` for a worker's part. `leases` says who may
send, `outbox` claims chunks of rows, `pacing` shares one rate limit, `open_runs` lists the runs that need
hands, and `queue` is the Procrastinate queue.
"""
