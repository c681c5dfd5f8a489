"""Staying up when others do not: retries, circuit breaker, bulkhead, rate limit, load shedding.

Each bounds one kind of harm; none of them knows a protocol or a database.
"""
