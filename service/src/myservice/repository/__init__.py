"""PostgreSQL adapters: all of the service's SQL, and nothing else.

Each implements a Protocol of ``myservice.service``. Invariant: a transaction that locks more than
one row locks them in the same order as all others, so none can deadlock: first orders by id, then
the idempotency keys of new orders, then inbox ids, then the idempotency keys of the ledger, then
accounts by id; each kind in ascending order, sorted by Python and not by a collation. Rows that no
other transaction can want yet (entries, the outbox) may be written at any time.
"""
