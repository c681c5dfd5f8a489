"""The seed's middleware, one a file, each a function that returns ``app -> app``.

Written in the order in which they should wrap: `shed`, `request_id`, `trace`, `real_ip`,
`access_log`, `metrics`, `recover`, `timeout` around everything; `authenticate` and `rate_limit`
around what needs them. Each is plain ASGI, so they mix with anybody's; one that does nothing after
the application returns what it returns instead of awaiting it, which saves a request a coroutine.
"""

from paceline.http.middleware.access_log import access_log
from paceline.http.middleware.authenticate import authenticate
from paceline.http.middleware.metrics import metrics
from paceline.http.middleware.rate_limit import rate_limit
from paceline.http.middleware.real_ip import real_ip
from paceline.http.middleware.recover import recover
from paceline.http.middleware.request_id import request_id
from paceline.http.middleware.shed import PreAdmission, by_method, shed
from paceline.http.middleware.timeout import timeout
from paceline.http.middleware.trace import trace

__all__ = [
    "PreAdmission",
    "access_log",
    "authenticate",
    "by_method",
    "metrics",
    "rate_limit",
    "real_ip",
    "recover",
    "request_id",
    "shed",
    "timeout",
    "trace",
]
