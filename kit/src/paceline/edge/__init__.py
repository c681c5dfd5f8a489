"""What HTTP and gRPC servers do alike with a request, once.

Request ids, bearer tokens, rate-limit keys, the access log's line, priorities, deadlines and the
place in a trace. HTTP's middleware and gRPC's interceptors only translate between their protocol
and these functions, so both treat the same request the same way. Invariant: nothing here knows a
protocol's messages, and nothing adds an await to a request.
"""

from paceline.edge.access_log import AccessLog, milliseconds
from paceline.edge.bearer import Caller, MissingToken, TokenVerifier, bearer_token
from paceline.edge.deadline import RequestDeadline
from paceline.edge.failure import failure_log
from paceline.edge.priority import priorities_of
from paceline.edge.rate_limit import RateLimited, address_key, caller_key
from paceline.edge.request_id import request_ids
from paceline.edge.trace import ambient_trace

__all__ = [
    "AccessLog",
    "Caller",
    "MissingToken",
    "RateLimited",
    "RequestDeadline",
    "TokenVerifier",
    "address_key",
    "ambient_trace",
    "bearer_token",
    "caller_key",
    "failure_log",
    "milliseconds",
    "priorities_of",
    "request_ids",
]
