"""JSON of messages: what is read, what is refused and with which text, and nothing raises else."""

import json
from contextlib import suppress

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from hypothesis import given
from hypothesis import strategies as st
from rpc_echo import SERVICE

from paceline.errors import Code, Error
from paceline.grpc.json_messages import json_codec
from paceline.grpc.protos import health_pb2, reflection_pb2


def echo(name: str) -> MethodDescriptor:
    found: MethodDescriptor = Default().FindServiceByName(SERVICE).methods_by_name[name]
    return found


HEALTH: MethodDescriptor = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name["Check"]
REFLECTION: MethodDescriptor = next(
    iter(reflection_pb2.DESCRIPTOR.services_by_name.values())
).methods[0]


def refusal(method: MethodDescriptor, raw: bytes) -> str:
    with pytest.raises(Error) as caught:
        json_codec(method)[0](raw)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_messages_become_json_and_back() -> None:
    decode, encode = json_codec(HEALTH)
    assert decode(b'{"service": "a.B", "added": [1]}') == b"\x0a\x03a.B"
    assert encode(b"\x08\x01") == b'{"status":"SERVING"}'


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "the request is empty"),
        (b"{", "JSON"),
        (b'{"\xff', "it is not UTF-8"),
        (b'{"service": 1}', "service"),
        (b'{"service": "a", "service": "b"}', "service"),
        (b'{"a":' + b"[" * 200_000, "recursion depth"),
        (b"[]", "the JSON of a grpc.health.v1.HealthCheckRequest"),
        (b"1", "the JSON of a grpc.health.v1.HealthCheckRequest"),
        (b'"x"', "the JSON of a grpc.health.v1.HealthCheckRequest"),
        (b'{"service": "\\ud800"}', "the JSON of"),
        (b"9" * 10_000, "the JSON of"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_the_messages_json_is_refused_with_a_text(raw: bytes, text: str) -> None:
    assert text in refusal(HEALTH, raw)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["host", "fileByFilename", "fileContainingExtension", "extensionNumber",
                         "containingType", "@type", "service"]),
        inner, max_size=3,
    ),
    max_leaves=10,
)  # fmt: skip


@given(values)
def test_any_json_is_a_message_or_an_invalid_argument(value: object) -> None:
    for method in (HEALTH, REFLECTION, echo("Say")):
        with suppress(Error):
            json_codec(method)[0](json.dumps(value).encode())
