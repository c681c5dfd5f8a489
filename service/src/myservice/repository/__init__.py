"""PostgreSQL adapters: all of the service's SQL, and nothing else.

Each implements a Protocol of ``myservice.service``. Invariant: a transaction that locks more than
one row locks them in the same order as all others, so none can deadlock: one kind after the other,
each by ascending id, sorted by Python and not by a collation. Rows that no other transaction can
want yet may be written at any time.
"""
