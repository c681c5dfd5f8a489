"""Interceptors, one a file, each made by a function: ``(endpoint, method) -> endpoint``.

The order in which they should wrap: `shed`, `request_id`, `trace`, `access_log`, `metrics`,
`recover`, `deadline`, `authenticate`, `rate_limit`. The same form serves unary and streaming
methods, and a method's declaration is known when it is wrapped, so an interceptor that has nothing
to do for a method costs it nothing. Rejected: grpcio's own interceptors, a chain that is run anew
for each call and has neither the answer nor the error.
"""

from paceline._lazy import missing_extra

try:  # eager: each function is named as its module, which would hide a lazy name
    from paceline.grpc.interceptors.access_log import access_log
    from paceline.grpc.interceptors.authenticate import authenticate
    from paceline.grpc.interceptors.deadline import deadline
    from paceline.grpc.interceptors.metrics import metrics
    from paceline.grpc.interceptors.rate_limit import rate_limit
    from paceline.grpc.interceptors.recover import recover
    from paceline.grpc.interceptors.request_id import request_id
    from paceline.grpc.interceptors.shed import Classify, PreAdmission, classify_by_scope, shed
    from paceline.grpc.interceptors.trace import trace
except ModuleNotFoundError as _exc:
    raise missing_extra(__name__, _exc.name or "protobuf", "grpc") from _exc

__all__ = [
    "Classify",
    "PreAdmission",
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
