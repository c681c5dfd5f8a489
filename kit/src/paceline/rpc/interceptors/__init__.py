"""The seed's interceptors, one a file: functions that give ``(endpoint, method) -> endpoint``.

Written in the order in which they should wrap: `shed`, `request_id`, `trace`, `access_log`,
`metrics`, `recover`, `deadline`, `authenticate`, `rate_limit`. The same form serves unary and
streaming methods, and what a method declares is known when it is wrapped, so a piece that has
nothing to do for it costs nothing.
"""

from paceline.rpc.interceptors.access_log import access_log
from paceline.rpc.interceptors.authenticate import authenticate
from paceline.rpc.interceptors.deadline import deadline
from paceline.rpc.interceptors.metrics import metrics
from paceline.rpc.interceptors.rate_limit import rate_limit
from paceline.rpc.interceptors.recover import recover
from paceline.rpc.interceptors.request_id import request_id
from paceline.rpc.interceptors.shed import shed
from paceline.rpc.interceptors.trace import trace

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
