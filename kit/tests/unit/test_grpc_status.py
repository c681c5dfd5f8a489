"""Errors as gRPC statuses: the table is complete, and nothing leaks."""

from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from paceline.edge import RateLimited
from paceline.errors import Code, Error, NotFound, ValidationError
from paceline.grpc.status import STATUS, UNKNOWN_ERROR, error_status_of


@pytest.mark.parametrize("code", Code)
def test_every_code_has_the_status_of_its_number(code: Code) -> None:
    assert STATUS[code] == code


def test_every_status_belongs_to_a_code() -> None:
    numbers: set[int] = {status.value[0] for status in grpc.StatusCode}
    assert set(STATUS.values()) == numbers


class Lost(NotFound):
    kind = "thing-lost"


@dataclass(frozen=True)
class Case:
    id: str
    error: Exception
    code: Code
    message: str
    details: tuple[Message, ...] = ()


def retry(seconds: int) -> RetryInfo:
    info = RetryInfo()
    info.retry_delay.FromSeconds(seconds)
    return info


CASES = [
    Case("an error without a kind", Error(Code.ABORTED, "no"), Code.ABORTED, "no"),
    Case("an error of a kind", Lost("gone"), Code.NOT_FOUND, "gone", (ErrorInfo(reason="THING_LOST", domain="shop"),)),
    Case("a field", ValidationError("a.b", "is odd"), Code.INVALID_ARGUMENT, "is odd",
         (ErrorInfo(reason="VALIDATION", domain="shop"),
          BadRequest(field_violations=[BadRequest.FieldViolation(field="a.b", description="is odd")]))),
    Case("no field", ValidationError("", "is odd"), Code.INVALID_ARGUMENT, "is odd", (ErrorInfo(reason="VALIDATION", domain="shop"),)),
    Case("too many", RateLimited(3.0), Code.RESOURCE_EXHAUSTED, "too many requests, slow down",
         (ErrorInfo(reason="TOO_MANY_REQUESTS", domain="shop"), retry(3))),
    Case("a bug", RuntimeError("secret"), Code.INTERNAL, UNKNOWN_ERROR),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_error_shows_its_message_and_its_details(case: Case) -> None:
    refusal = error_status_of(case.error, domain="shop", request_id="r-1")
    assert (refusal.code, refusal.message) == (case.code, case.message)
    status = Status.FromString(refusal.details)
    assert (status.code, status.message) == (case.code, case.message)
    wanted = [*case.details, RequestInfo(request_id="r-1")]
    assert len(status.details) == len(wanted)
    for packed, message in zip(status.details, wanted, strict=True):
        found = type(message)()
        assert packed.Unpack(found)
        assert found == message


def test_a_status_fits_into_what_clients_accept() -> None:
    refusal = error_status_of(ValidationError("f" * 10_000, "m" * 10_000), request_id="r" * 64)
    assert len(refusal.message) + len(refusal.details) < 6000


def test_a_cause_is_not_shown() -> None:
    error = Error(Code.UNAVAILABLE, "try later")
    error.__cause__ = RuntimeError("password is hunter2")
    assert b"hunter2" not in error_status_of(error).details
