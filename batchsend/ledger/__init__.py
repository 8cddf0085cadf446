"""The durable record of runs and messages, on SQLite or PostgreSQL.

Begin with `schema` for the tables and `ledger.Ledger` for the transactions. `opening` and `location` find and
open a ledger; the other modules are queries by subject. This package knows nothing of lists, templates or the
network.
"""
