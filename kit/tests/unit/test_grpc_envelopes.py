"""Envelopes and base64 in pieces, however a body is cut."""

from base64 import b64encode
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_exchange import WebExchange

from paceline.errors import Code, Error
from paceline.grpc.envelopes import Envelopes, TextDecoder, envelope
from paceline.grpc.web_request import WebRequest

LIMIT = 100


def envelopes(*pieces: bytes, text: bool = False, disconnects: bool = False) -> Envelopes:
    exchange = WebExchange(pieces, disconnects)
    request = WebRequest({"headers": []}, exchange.receive, exchange.send)
    return Envelopes(request, lambda _, message: message, LIMIT, text=text)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


messages = st.lists(st.binary(max_size=LIMIT), max_size=5)
places = st.lists(st.integers(min_value=0, max_value=1000), max_size=20)


@given(messages, places)
async def test_messages_come_out_as_they_were_put_in(sent: list[bytes], at: list[int]) -> None:
    body = b"".join(envelope(0, message) for message in sent)
    assert [each async for each in envelopes(*cut(body, at))] == sent


@given(messages, places)
async def test_text_may_have_padding_after_each_message(sent: list[bytes], at: list[int]) -> None:
    body = b"".join(b64encode(envelope(0, message)) for message in sent)
    assert [each async for each in envelopes(*cut(body, at), text=True)] == sent


@given(st.binary(max_size=300), places)
async def test_any_body_is_read_or_refused(body: bytes, at: list[int]) -> None:
    for text in (False, True):
        found: list[bytes] = []
        with suppress(Error):
            found = [each async for each in envelopes(*cut(body, at), text=text)]
        assert sum(len(each) + 5 for each in found) <= len(body)


@pytest.mark.parametrize("text", [b"====", b"YQ=a", b"Y Q=", b"a===", b"YQ==="])
def test_what_is_no_base64_is_refused(text: bytes) -> None:
    decoder = TextDecoder()
    with pytest.raises(Error, match="base64"):
        decoder.decode(text + b"====")


async def test_a_message_over_the_limit_is_refused_by_its_length() -> None:
    found = await envelopes(envelope(0, b"x" * (LIMIT + 1))[:5], disconnects=True).single()
    assert isinstance(found, Error)
    assert found.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.UNIMPLEMENTED),
        (envelope(0, b"a") * 2, Code.UNIMPLEMENTED),
        (envelope(0, b"abc")[:-1], Code.INVALID_ARGUMENT),
        (b"\0\0", Code.INVALID_ARGUMENT),
    ],
    ids=["none", "two", "cut in the message", "cut in the prefix"],
)
async def test_one_message_means_one(body: bytes, code: Code) -> None:
    found = await envelopes(body).single()
    assert isinstance(found, Error)
    assert found.code is code


async def test_a_client_that_leaves_is_no_wrong_message() -> None:
    with pytest.raises(Error) as caught:
        await envelopes(envelope(0, b"abc")[:-1], disconnects=True).single()
    assert caught.value.code is Code.CANCELLED


async def test_no_more_is_read_than_the_next_message_needs() -> None:
    exchange = WebExchange([envelope(0, b"a"), envelope(0, b"b"), envelope(0, b"c")])
    request = WebRequest({"headers": []}, exchange.receive, exchange.send)
    found = Envelopes(request, lambda _, message: message, LIMIT)
    assert await anext(found) == b"a"
    assert exchange.taken == 1
