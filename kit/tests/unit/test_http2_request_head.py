"""Heads and trailers of HTTP/2: what a client may send, field by field."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.server.http2.request_head import MalformedRequest, check_trailers, read_head

Fields = list[tuple[bytes, bytes]]

METHOD, SCHEME, PATH = (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a?b")
AUTHORITY, HOST = (b":authority", b"example.com:80"), (b"host", b"example.com:80")
START = [METHOD, SCHEME, PATH, AUTHORITY]
CONNECT = (b":method", b"CONNECT")


@dataclass(frozen=True)
class Valid:
    name: str
    fields: Fields
    headers: Fields
    authority: bytes = b"example.com:80"
    target: bytes = b"/a?b"
    length: int | None = None


VALID = [
    Valid("the least", START, []),
    Valid("another order", [AUTHORITY, PATH, METHOD, SCHEME], []),
    Valid("host alone", [METHOD, SCHEME, PATH, HOST], [HOST], authority=b""),
    Valid("host beside the same authority", [*START, HOST], []),
    Valid("host in other letters", [*START, (b"host", b"EXAMPLE.com:80")], []),
    Valid("regular fields", [*START, (b"b", b"2"), (b"a", b"1")], [(b"b", b"2"), (b"a", b"1")]),
    Valid("a field twice", [*START, (b"a", b"1"), (b"a", b"2")], [(b"a", b"1"), (b"a", b"2")]),
    Valid("an empty value", [*START, (b"a", b"")], [(b"a", b"")]),
    Valid("blanks inside", [*START, (b"a", b"1 \t2")], [(b"a", b"1 \t2")]),
    Valid("latin-1", [*START, (b"a", b"\xe4")], [(b"a", b"\xe4")]),
    Valid("a long value", [*START, (b"a", b"x" * 999)], [(b"a", b"x" * 999)]),
    Valid("every character of a name", [*START, (b"!#$%&'*+-.^_`|~09az", b"")],
          [(b"!#$%&'*+-.^_`|~09az", b"")]),
    Valid("te: trailers", [*START, (b"te", b"trailers")], [(b"te", b"trailers")]),
    Valid("a length", [*START, (b"content-length", b"12")], [(b"content-length", b"12")],
          length=12),
    Valid("a cookie", [*START, (b"cookie", b"a=1; b=2")], [(b"cookie", b"a=1; b=2")]),
    Valid("cookie crumbs", [*START, (b"cookie", b"a=1"), (b"x", b""), (b"cookie", b"b=2")],
          [(b"x", b""), (b"cookie", b"a=1; b=2")]),
    Valid("empty cookie crumbs", [*START, *[(b"cookie", each) for each in (b"", b"a=1", b"")]],
          [(b"cookie", b"a=1")]),
    Valid("OPTIONS *", [(b":method", b"OPTIONS"), SCHEME, (b":path", b"*"), AUTHORITY], [],
          target=b"*"),
    Valid("CONNECT", [CONNECT, AUTHORITY], [], target=b"example.com:80"),
    Valid("another method", [(b":method", b"M-SEARCH"), SCHEME, PATH, AUTHORITY], []),
    Valid("IPv6", [METHOD, SCHEME, PATH, (b":authority", b"[::1]:80")], [],
          authority=b"[::1]:80"),
]  # fmt: skip


@pytest.mark.parametrize("case", VALID, ids=lambda case: case.name)
def test_a_valid_head_is_read(case: Valid) -> None:
    head = read_head(case.fields)
    assert head.headers == case.headers
    assert head.authority == case.authority
    assert head.target == case.target
    assert head.content_length == case.length
    assert head.method.encode() == dict(case.fields)[b":method"]


@dataclass(frozen=True)
class Malformed:
    name: str
    fields: Fields


def changed(name: bytes, value: bytes) -> Fields:
    return [(name, value) if field[0] == name else field for field in START]


def without(field: tuple[bytes, bytes]) -> Fields:
    return [other for other in START if other != field]


MALFORMED = [
    Malformed("no fields", []),
    *[Malformed(f"no {field[0].decode()}", without(field)) for field in START],
    *[Malformed(f"{f[0].decode()} twice", [*START, f]) for f in START],
    *[Malformed(f"{f[0].decode()} last", [*without(f), (b"a", b""), f]) for f in START],
    *[Malformed(f"{f[0].decode()} empty", changed(f[0], b"")) for f in START],
    *[Malformed(f"{f[0].decode()} after te", [*without(f), (b"te", b"trailers"), f]) for f in START],
    *[Malformed(f"{f[0].decode()} after host", [*without(f), HOST, f]) for f in START[:3]],
    *[Malformed(f"a line break in {f[0].decode()}", changed(f[0], f[1] + b"\n")) for f in START],
    *[Malformed(f"a blank in {f[0].decode()}", changed(f[0], f[1] + b" x")) for f in START],
    *[Malformed(f"8 bits in {f[0].decode()}", changed(f[0], f[1] + b"\xe4")) for f in START],
    Malformed("a pseudo-field of a response", [*START, (b":status", b"200")]),
    Malformed("an unknown pseudo-field", [(b":protocol", b"websocket"), *START]),
    Malformed("a pseudo-field in upper case", [(b":Method", b"GET"), SCHEME, PATH, AUTHORITY]),
    Malformed("a colon alone", [*START, (b":", b"")]),
    Malformed("a path without a slash", changed(b":path", b"a")),
    Malformed("an absolute path", changed(b":path", b"http://a/")),
    Malformed("GET *", changed(b":path", b"*")),
    Malformed("OPTIONS **", [(b":method", b"OPTIONS"), SCHEME, (b":path", b"**"), AUTHORITY]),
    Malformed("user information", changed(b":authority", b"user@example.com")),
    Malformed("a path as authority", changed(b":authority", b"example.com/a")),
    Malformed("CONNECT with a path", [CONNECT, AUTHORITY, PATH]),
    Malformed("CONNECT with a scheme", [CONNECT, AUTHORITY, SCHEME]),
    Malformed("CONNECT without authority", [CONNECT, HOST]),
    Malformed("another host", [*START, (b"host", b"example.org")]),
    Malformed("an empty host", [METHOD, SCHEME, PATH, (b"host", b"")]),
    Malformed("two hosts", [*START, HOST, HOST]),
    Malformed("an empty name", [*START, (b"", b"a")]),
    *[Malformed(f"{n.decode('latin-1')!r} in a name", [*START, (b"a" + n + b"b", b"")])
      for n in (b"A", b" ", b":", b"\0", b"\r", b"\n", b"\t", b"\x7f", b"\xe4", b"(", b",")],
    Malformed("a line break after a name", [*START, (b"a\n", b"")]),
    *[Malformed(f"{v!r} in a value", [*START, (b"a", b"1" + v + b"2")])
      for v in (b"\0", b"\r", b"\n", b"\r\n", b"\x01", b"\x1b", b"\x7f")],
    *[Malformed(f"{v!r} as a value", [*START, (b"a", v)])
      for v in (b" ", b"\t", b" a", b"a ", b"\ta", b"a\t", b"a\n", b"\0", b"a" * 999 + b"\r")],
    *[Malformed(n.decode(), [*START, (n, b"x")])
      for n in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")],
    Malformed("te: gzip", [*START, (b"te", b"gzip")]),
    Malformed("te: trailers, gzip", [*START, (b"te", b"trailers, gzip")]),
    Malformed("te, twice", [*START, (b"te", b"trailers"), (b"te", b"gzip")]),
    *[Malformed(f"content-length {v!r}", [*START, (b"content-length", v)])
      for v in (b"", b"-1", b"+1", b"1, 1", b"0x1", b"1.0", b"\xb2", b"9" * 19, b"1 ")],
    Malformed("two lengths", [*START, (b"content-length", b"1"), (b"content-length", b"1")]),
]  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_a_malformed_head_is_refused_every_time(case: Malformed) -> None:
    for _ in range(2):
        with pytest.raises(MalformedRequest):
            read_head(case.fields)


def test_the_fields_are_not_changed_and_many_crumbs_become_one_cookie() -> None:
    fields = [*START, *[(b"cookie", b"c%d=1" % i) for i in range(90)]]
    before = fields.copy()
    (cookie,) = read_head(fields).headers
    assert cookie == (b"cookie", b"; ".join([b"c%d=1" % i for i in range(90)]))
    assert fields == before


TRAILERS = [
    Malformed("a pseudo-field", [(b":path", b"/")]),
    Malformed("a pseudo-field of a response", [(b":status", b"200")]),
    Malformed("upper case", [(b"Grpc-Status", b"0")]),
    Malformed("a field of the connection", [(b"transfer-encoding", b"chunked")]),
    Malformed("a line break", [(b"a", b"1\n2")]),
]


@pytest.mark.parametrize("case", TRAILERS, ids=lambda case: case.name)
def test_malformed_trailers_are_refused(case: Malformed) -> None:
    with pytest.raises(MalformedRequest):
        check_trailers(case.fields)


def test_trailers_are_regular_fields() -> None:
    check_trailers([])
    check_trailers([(b"grpc-status", b"0"), (b"x", b"")])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"cookie", b"host", b"te", b"content-length", b":path"])
            | st.binary(max_size=6),
            st.sampled_from([b"1", b"trailers", b"example.com:80"]) | st.binary(max_size=6),
        ),
        max_size=6,
    )
)
def test_what_is_read_has_one_meaning_in_http_1_1(fields: Fields) -> None:
    try:
        head = read_head([*START, *fields])
    except MalformedRequest:
        return
    for name, value in head.headers:
        assert name
        assert name == name.lower()
        assert not set(name) & set(b" \t\r\n\0:")
        assert not set(value) & set(b"\r\n\0")
        assert value == value.strip()
    names = [name for name, _ in head.headers]
    assert not {b"transfer-encoding", b"connection", b"upgrade", b"host"} & set(names)
    assert names.count(b"content-length") <= 1
