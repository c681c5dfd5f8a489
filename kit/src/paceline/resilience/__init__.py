"""Staying up when others do not: retries, circuit breaker, bulkhead, rate limit, load shedding.

Each bounds one kind of harm; none of them knows a protocol or a database.
"""

from paceline.resilience.budget import Budget
from paceline.resilience.bulkhead import Bulkhead
from paceline.resilience.circuit_breaker import Breaker
from paceline.resilience.load_shedding import Admission, LoadShedder, Permit, Priority
from paceline.resilience.rate_limit import Decision, Limiter, RateLimiter, RateLimits
from paceline.resilience.retry import Retry, RetryStats

__all__ = [
    "Admission",
    "Breaker",
    "Budget",
    "Bulkhead",
    "Decision",
    "Limiter",
    "LoadShedder",
    "Permit",
    "Priority",
    "RateLimiter",
    "RateLimits",
    "Retry",
    "RetryStats",
]
