"""The seed's middleware, one a file, each a function that returns ``app -> app``.

Written in the order in which they should wrap: `shed`, `request_id`, `trace`, `real_ip`,
`access_log`, `metrics`, `recover`, `timeout` around everything; `authenticate` and `rate_limit`
around what needs them. Each is plain ASGI, so they mix with anybody's; one that does nothing after
the application returns what it returns instead of awaiting it, which saves a request a coroutine.
"""

from paceline.web.middleware.access_log import access_log
from paceline.web.middleware.authenticate import authenticate
from paceline.web.middleware.metrics import metrics
from paceline.web.middleware.rate_limit import rate_limit
from paceline.web.middleware.real_ip import real_ip
from paceline.web.middleware.recover import recover
from paceline.web.middleware.request_id import request_id
from paceline.web.middleware.shed import shed
from paceline.web.middleware.timeout import timeout
from paceline.web.middleware.trace import trace

__all__ = [
    "access_log",
    "authenticate",
    "metrics",
    "rate_limit",
    "real_ip",
    "recover",
    "request_id",
    "shed",
    "timeout",
    "trace",
]
