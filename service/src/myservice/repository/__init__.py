"""PostgreSQL adapters: all of the service's SQL, and nothing else.

Each implements a Protocol that its user declares in ``myservice.service``. Invariant: a transaction
that locks more than one row does so in one order, the same in all of them, so none can deadlock:
first orders by id, then new orders' idempotency keys, then inbox ids, then the ledger's idempotency
keys, then accounts by id; each kind in ascending order, told by Python and not by a collation. Rows
that nobody else can want yet (entries, the outbox) come whenever. Start with ``records``.
"""
