"""Interceptors, one a file, each made by a function: ``(endpoint, method) -> endpoint``.

The order in which they should wrap: `shed`, `request_id`, `trace`, `access_log`, `metrics`,
`recover`, `deadline`, `authenticate`, `rate_limit`. The same form serves unary and streaming
methods, and a method's declaration is known when it is wrapped, so an interceptor that has nothing
to do for a method costs it nothing. Rejected: grpcio's own interceptors, a chain that is run anew
for each call and has neither the answer nor the error.
"""

from paceline.grpc.interceptors.access_log import access_log
from paceline.grpc.interceptors.authenticate import authenticate
from paceline.grpc.interceptors.deadline import deadline
from paceline.grpc.interceptors.metrics import metrics
from paceline.grpc.interceptors.rate_limit import rate_limit
from paceline.grpc.interceptors.recover import recover
from paceline.grpc.interceptors.request_id import request_id
from paceline.grpc.interceptors.shed import Classify, classify_by_scope, shed
from paceline.grpc.interceptors.trace import trace

__all__ = [
    "Classify",
    "access_log",
    "authenticate",
    "classify_by_scope",
    "deadline",
    "metrics",
    "rate_limit",
    "recover",
    "request_id",
    "shed",
    "trace",
]
