"""One run sent by several processes on a PostgreSQL ledger.

Begin with `run_sender`, which sends a run from one process under a lease. `dispatch` is the `send` that shares its
run, `worker` a worker. `leases` says which process may send, `outbox` claims chunks of rows, `pacing` shares one rate
limit, `open_runs` keeps the shared state of runs, and `queue` is the Procrastinate queue.
"""
