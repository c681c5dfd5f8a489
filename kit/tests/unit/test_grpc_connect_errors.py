"""Connect's table of codes is complete, and errors are written as its page says."""

import json

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from paceline.errors import Code
from paceline.grpc.call import ErrorStatus
from paceline.grpc.connect_errors import CODES, encode_end, encode_error

# connectrpc.com/docs/protocol#error-codes
SPECIFIED = {
    "canceled": 499, "unknown": 500, "invalid_argument": 400, "deadline_exceeded": 504,
    "not_found": 404, "already_exists": 409, "permission_denied": 403, "resource_exhausted": 429,
    "failed_precondition": 400, "aborted": 409, "out_of_range": 400, "unimplemented": 501,
    "internal": 500, "unavailable": 503, "data_loss": 500, "unauthenticated": 401,
}  # fmt: skip


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_error_code_has_its_name_and_status(code: Code) -> None:
    name, status = CODES[code]
    assert SPECIFIED[name] == status
    assert name == code.name.lower() or (name, code) == ("canceled", Code.CANCELLED)


def test_the_table_has_no_other_codes() -> None:
    assert dict(CODES.values()) == SPECIFIED


def packed(message: RetryInfo) -> bytes:
    status = Status(code=14)
    status.details.add().Pack(message)
    return status.SerializeToString()


def test_an_error_has_its_details_in_base64_and_as_json() -> None:
    retry = RetryInfo()
    retry.retry_delay.FromSeconds(30)
    error = ErrorStatus(Code.UNAVAILABLE, "back off", packed(retry))
    assert json.loads(encode_error(error)) == {
        "code": "unavailable",
        "message": "back off",
        "details": [
            {
                "type": "google.rpc.RetryInfo",
                "value": "CgIIHg",
                "debug": {"retryDelay": "30s"},
            }
        ],
    }


@pytest.mark.parametrize("raw", [b"\x08", b"\xff\xff"], ids=["cut short", "nonsense"])
def test_a_detail_that_nobody_can_read_has_no_debug_member(raw: bytes) -> None:
    details = [
        AnyMessage(type_url="type.googleapis.com/no.such.Type", value=raw),
        AnyMessage(type_url="type.googleapis.com/google.rpc.RetryInfo", value=raw),
    ]
    error = ErrorStatus(Code.ABORTED, "", Status(details=details).SerializeToString())
    found = json.loads(encode_error(error))
    assert [each.keys() for each in found["details"]] == [{"type", "value"}] * 2
    assert "message" not in found


def test_the_end_of_a_stream_has_all_values_of_its_metadata() -> None:
    trailing = [(b"a", b"1"), (b"b-bin", b"AAE"), (b"a", b"2")]
    assert json.loads(encode_end(None, trailing)) == {
        "metadata": {"a": ["1", "2"], "b-bin": ["AAE"]}
    }
    assert encode_end(None, []) == b"{}"
