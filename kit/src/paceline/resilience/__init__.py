"""Resilience: what a service does when its dependencies fail or its callers ask for too much.

Towards dependencies: `Retry` repeats what failed on the way, within a `RetryBudget`;
`CircuitBreaker` stops asking what keeps failing; `Bulkhead` keeps one kind of work from taking a
whole resource. Towards callers: `RateLimiter` bounds each caller, `LoadShedder` all of them
together. None of them knows a protocol or a database.
"""

from paceline.resilience.bulkhead import Bulkhead, BulkheadStats
from paceline.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerStats, CircuitOpen
from paceline.resilience.load_shedding import (
    Admission,
    AdmissionStats,
    LoadShedder,
    LoadSheddingStats,
    Permit,
    Priority,
)
from paceline.resilience.rate_limit import Limiter, RateLimitDecision, RateLimiter, RateLimits
from paceline.resilience.retry import Retry, RetryBudget, RetryStats, is_transient

__all__ = [
    "Admission",
    "AdmissionStats",
    "Bulkhead",
    "BulkheadStats",
    "CircuitBreaker",
    "CircuitBreakerStats",
    "CircuitOpen",
    "Limiter",
    "LoadShedder",
    "LoadSheddingStats",
    "Permit",
    "Priority",
    "RateLimitDecision",
    "RateLimiter",
    "RateLimits",
    "Retry",
    "RetryBudget",
    "RetryStats",
    "is_transient",
]
