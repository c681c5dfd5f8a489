"""What HTTP and gRPC servers do alike with a request, once.

Request ids, bearer tokens and failed ones, rate-limit keys, the access log's line, priorities,
deadlines, the level of a failure, and what is refused at registration. HTTP's middleware and gRPC's
interceptors only translate between their protocol and these functions, so both treat the same
request the same way. Invariant: nothing here knows a protocol's messages, and nothing adds an
await to a request.
"""

from paceline.edge.access_lines import AccessLines, EndedRequest, Grade, access_lines
from paceline.edge.access_log import AccessLog
from paceline.edge.authentication import FailureLimit, TooManyFailures, identify, recall
from paceline.edge.bearer import Caller, MissingToken, TokenVerifier, bearer_token
from paceline.edge.deadline import TIMEOUT_HEADERS, RequestDeadline, grpc_timeout
from paceline.edge.failure import failure_log
from paceline.edge.priority import priorities_of
from paceline.edge.rate_limit import RateLimited, rate_limit_key
from paceline.edge.registration import (
    RegistrationError,
    describe_handler,
    parameters_of,
    suggestion,
)
from paceline.edge.request_id import is_plain_id, new_ids
from paceline.edge.token_watch import RECHECK_INTERVAL, token_watched

__all__ = [
    "RECHECK_INTERVAL",
    "TIMEOUT_HEADERS",
    "AccessLines",
    "AccessLog",
    "Caller",
    "EndedRequest",
    "FailureLimit",
    "Grade",
    "MissingToken",
    "RateLimited",
    "RegistrationError",
    "RequestDeadline",
    "TokenVerifier",
    "TooManyFailures",
    "access_lines",
    "bearer_token",
    "describe_handler",
    "failure_log",
    "grpc_timeout",
    "identify",
    "is_plain_id",
    "new_ids",
    "parameters_of",
    "priorities_of",
    "rate_limit_key",
    "recall",
    "suggestion",
    "token_watched",
]
