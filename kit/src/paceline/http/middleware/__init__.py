"""Middleware, one a file, each made by a function that returns ``app -> app``.

The order in which they should wrap: `shed`, `request_id`, `trace`, `real_ip`, `access_log`,
`metrics`, `recover`, `timeout` around everything; `authenticate` and `rate_limit` around the routes
that need them. Each is plain ASGI, so foreign middleware fits in between. One that has nothing to
do after the application returns the application's awaitable instead of awaiting it, which saves a
request one coroutine.
"""

from paceline.http.middleware.access_log import access_log
from paceline.http.middleware.authenticate import authenticate
from paceline.http.middleware.metrics import metrics
from paceline.http.middleware.rate_limit import rate_limit
from paceline.http.middleware.real_ip import real_ip
from paceline.http.middleware.recover import recover
from paceline.http.middleware.request_id import request_id
from paceline.http.middleware.shed import Classify, PreAdmission, classify_by_method, shed
from paceline.http.middleware.timeout import timeout
from paceline.http.middleware.trace import trace

__all__ = [
    "Classify",
    "PreAdmission",
    "access_log",
    "authenticate",
    "classify_by_method",
    "metrics",
    "rate_limit",
    "real_ip",
    "recover",
    "request_id",
    "shed",
    "timeout",
    "trace",
]
