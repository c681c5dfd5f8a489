"""What HTTP and gRPC share: tokens, ids, limiter keys, priorities, levels and deadlines."""

import asyncio
import math
from dataclasses import dataclass

import pytest

from paceline.concurrency import DeadlineExceeded
from paceline.edge import (
    AccessLog,
    MissingToken,
    RequestDeadline,
    bearer_token,
    failure_log,
    is_plain_id,
    new_ids,
    priorities_of,
    rate_limit_key,
)
from paceline.errors import Error, Unauthorized
from paceline.grpc import Method
from paceline.grpc.interceptors import classify_by_scope
from paceline.http.middleware import classify_by_method
from paceline.resilience import Priority
from paceline.testing import RecordingLog


@dataclass(frozen=True)
class Ada:
    subject: str = "ada"
    scopes: frozenset[str] = frozenset()
    expires_at: float = math.inf


@pytest.mark.parametrize(
    "authorization", [b"Bearer abc", b"bearer abc", b"BEARER abc"], ids=lambda value: value.decode()
)
def test_the_scheme_of_a_token_may_be_spelled_in_any_case(authorization: bytes) -> None:
    assert bearer_token(authorization) == "abc"


@pytest.mark.parametrize(
    "authorization", [b"", b"abc", b"Basic abc", "Bearer é".encode("latin-1"), b"Bearer\tabc"]
)
def test_a_malformed_authorization_is_no_missing_token(authorization: bytes) -> None:
    with pytest.raises(Unauthorized, match="Bearer <token>") as caught:
        bearer_token(authorization)
    assert not isinstance(caught.value, MissingToken)


def test_no_authorization_is_a_missing_token() -> None:
    with pytest.raises(MissingToken):
        bearer_token(None)


def test_new_ids_are_plain_and_differ_between_processes_and_requests() -> None:
    one, other = new_ids(), new_ids()
    ids = [next(ids) for ids in (one, other) for _ in range(100)]
    assert len(set(ids)) == 200
    assert all(map(is_plain_id, ids))


def test_a_caller_has_one_key_and_an_address_another() -> None:
    keys = {
        rate_limit_key(Ada(), "192.0.2.1"),
        rate_limit_key(Ada(), "192.0.2.2"),
        rate_limit_key(None, "192.0.2.1"),
        rate_limit_key(None, "ada"),
        rate_limit_key(None, None),
    }
    assert keys == {"principal ada", "address 192.0.2.1", "address ada", "address unknown"}


def test_a_line_of_a_debug_path_is_at_debug_level() -> None:
    log = RecordingLog()
    lines = AccessLog(log, "done", "path", debug_paths=["/health"])
    for path in ("/health", "/things"):
        lines.by_path.get(path, lines.default)(path)
    assert log.lines == [
        ("debug", "done", {"path": "/health"}),
        ("info", "done", {"path": "/things"}),
    ]


def test_a_deadline_that_the_client_imposed_is_only_a_warning() -> None:
    log = RecordingLog()
    for exc in (DeadlineExceeded("late", client_imposed=True), DeadlineExceeded("late")):
        failure_log(log, exc)("failed")
    assert [level for level, _, _ in log.lines] == ["warning", "error"]


def test_a_path_named_twice_is_never_refused() -> None:
    assert priorities_of(["/a"], ["/a", "/b"]) == {
        "/a": Priority.HEALTH,
        "/b": Priority.BACKGROUND,
    }


@dataclass(frozen=True)
class Classified:
    id: str
    method: Method
    priority: Priority


@pytest.mark.parametrize(
    "case",
    [
        Classified("a probe", Method("/health.Health/Check", public=True), Priority.HEALTH),
        Classified("a watch", Method("/health.Health/Watch", streams=True), Priority.HEALTH),
        Classified("a write", Method("/a.A/Set", scopes=frozenset({"a:write"})), Priority.WRITE),
        Classified("a read", Method("/a.A/Get", scopes=frozenset({"a:read"})), Priority.READ),
        Classified(
            "a stream",
            Method("/a.A/Watch", streams=True, scopes=frozenset({"a:read"})),
            Priority.BACKGROUND,
        ),
        Classified("a report", Method("/a.A/Report"), Priority.BACKGROUND),
    ],
    ids=lambda case: case.id,
)
def test_a_methods_priority_follows_from_its_declaration(case: Classified) -> None:
    classify = classify_by_scope(
        health=["/health.Health/Check", "/health.Health/Watch"], background=["/a.A/Report"]
    )
    assert classify(case.method) is case.priority


def test_a_requests_priority_follows_from_its_method_and_path() -> None:
    classify = classify_by_method(health=["/health"], background=["/report"])
    found = [
        classify(method, path)
        for method, path in [
            ("GET", "/health"), ("POST", "/things"), ("GET", "/things"), ("GET", "/report"),
        ]
    ]  # fmt: skip
    assert found == [Priority.HEALTH, Priority.WRITE, Priority.READ, Priority.BACKGROUND]


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0.01, "the call took longer than the 0.01s set by the client (grpc-timeout)"),
        (9.0, "the call took longer than the 0.02s set by the service"),
    ],
    ids=["the client's", "the service's"],
)
async def test_the_shorter_deadline_ends_a_request_and_is_named(
    seconds: float, message: str
) -> None:
    deadline = RequestDeadline(0.02, "the call", set_by="the service")
    with pytest.raises(DeadlineExceeded) as caught, deadline.block_for(seconds, "grpc-timeout"):
        await asyncio.Event().wait()
    assert caught.value.message == message


def test_an_unreadable_timeout_is_an_error_that_names_its_header() -> None:
    with pytest.raises(Error, match=r"Request-Timeout: expected seconds"):
        RequestDeadline(1.0, "the request").block_from({b"request-timeout": b"soon"})
