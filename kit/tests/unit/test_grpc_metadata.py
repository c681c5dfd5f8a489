"""Metadata, messages of errors and time-outs: what is written can be read again."""

from base64 import b64encode
from contextlib import suppress
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.edge import grpc_timeout
from paceline.errors import Code, Error
from paceline.grpc.compression import choose_encoding, compress, decompress
from paceline.grpc.metadata import encode_message, fields_of, metadata_fields, read_metadata

NAMES = st.from_regex(r"x-[0-9a-z_.-]{1,20}", fullmatch=True).filter(lambda n: n[-4:] != "-bin")
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.strip)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20))
def test_text_is_read_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    assert read_metadata(metadata_fields(pairs)) == pairs


@given(st.lists(st.tuples(NAMES.map("{}-bin".format), st.binary(max_size=50)), max_size=10))
def test_bytes_are_read_as_they_were_written(pairs: list[tuple[str, bytes]]) -> None:
    fields = metadata_fields(pairs)
    assert read_metadata(fields) == pairs
    assert all(b"=" not in value for _, value in fields)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_base64_may_be_padded_and_joined(first: bytes, second: bytes) -> None:
    value = b64encode(first) + b", " + b64encode(second).rstrip(b"=")
    assert read_metadata([(b"a-bin", value)]) == [("a-bin", first), ("a-bin", second)]


@pytest.mark.parametrize("value", [b"a", b"a*bc", b"====a", b"\xff"], ids=repr)
def test_a_binary_value_that_is_no_base64_is_refused(value: bytes) -> None:
    with pytest.raises(Error, match="a-bin is not base64") as caught:
        read_metadata([(b"a-bin", value)])
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_fields_of_the_protocol_are_no_metadata() -> None:
    names = (b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"user-agent", b"x")
    assert read_metadata([(name, b"v") for name in names]) == [("user-agent", "v"), ("x", "v")]


def test_text_beyond_ascii_that_came_can_be_sent_back() -> None:
    fields = [(b"x", "é".encode())]
    assert metadata_fields(read_metadata(fields)) == fields


def test_the_last_of_two_fields_counts_and_two_tokens_are_none() -> None:
    headers = [(b"x", b"1"), (b"x", b"2"), (b"authorization", b"a"), (b"authorization", b"b")]
    assert fields_of(headers) == {b"x": b"2", b"authorization": b""}
    assert fields_of(headers[:3]) == {b"x": b"2", b"authorization": b"a"}


@given(st.text())
def test_a_message_is_ascii_and_decodes_to_itself(text: str) -> None:
    encoded = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote(encoded.decode()) == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0), (b"2M", 120.0), (b"3S", 3.0), (b"99999999m", 99_999.999),
        (b"5u", 5e-6), (b"7n", 7e-9), (b"0S", 0.0),
        (b"", None), (b"S", None), (b"1", None), (b"1s", None), (b"1.5S", None), (b" 1S", None),
        (b"+1S", None), (b"123456789S", None), ("١S".encode(), None),
    ],
)  # fmt: skip
def test_a_timeout_has_up_to_eight_digits_and_a_unit(value: bytes, seconds: float | None) -> None:
    found = grpc_timeout(value)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@given(st.binary(max_size=2000), st.sampled_from([b"gzip", b"deflate"]), st.integers(-2, 2))
def test_a_message_is_decompressed_up_to_its_limit(
    message: bytes, encoding: bytes, margin: int
) -> None:
    limit = max(0, len(message) + margin)
    found = decompress(compress(message, encoding), encoding, limit)
    assert found == (message if len(message) <= limit else None)


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate"]))
def test_what_is_not_compressed_raises_nothing_else(data: bytes, encoding: bytes) -> None:
    with suppress(Error):
        decompress(data, encoding, 1000)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"gzip", b"gzip"), (b"deflate,gzip", b"gzip"), (b" deflate ", b"deflate"),
        (b"identity", None), (b"", None), (b"gzipped", None), (None, None),
    ],
)  # fmt: skip
def test_an_encoding_is_chosen_among_those_that_the_client_names(
    accepted: bytes | None, chosen: bytes | None
) -> None:
    assert choose_encoding(accepted) == chosen
