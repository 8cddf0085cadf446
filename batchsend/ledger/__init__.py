"""The durable record of runs and messages, on SQLite or PostgreSQL.

Begin with `schema` and `cluster_schema` for the tables and `ledger.Ledger` for the transactions. `location` and
`opening` find and open a ledger, `migrations` upgrades an older one, and `leases` says which process may change what
on PostgreSQL. The other modules are queries and changes by subject: runs, history, attempts, updates, opt-outs,
planned starts, purging. This package may not know lists, templates or the network.
"""
