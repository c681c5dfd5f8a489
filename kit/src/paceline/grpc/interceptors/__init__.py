"""The seed's interceptors, one a file: functions that give ``(endpoint, method) -> endpoint``.

Written in the order in which they should wrap: `shed`, `request_id`, `trace`, `access_log`,
`metrics`, `recover`, `deadline`, `authenticate`, `rate_limit`. The same form serves unary and
streaming methods, and what a method declares is known when it is wrapped, so a piece that has
nothing to do for it costs nothing.
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
    from paceline.grpc.interceptors.shed import shed
    from paceline.grpc.interceptors.trace import trace
except ModuleNotFoundError as _exc:
    raise missing_extra(__name__, _exc.name or "grpcio", "grpc") from _exc

__all__ = [
    "access_log",
    "authenticate",
    "deadline",
    "metrics",
    "rate_limit",
    "recover",
    "request_id",
    "shed",
    "trace",
]
