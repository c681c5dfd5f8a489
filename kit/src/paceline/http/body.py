"""Reading a JSON body: bounded, decoded once, refused with a reason.

The checks, in order: too large (413), not JSON (400: malformed, not UTF-8, a key given twice,
nested too deeply), not of the handler's type (422, each wrong field with its JSON pointer).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from decimal import Decimal
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from paceline.concurrency import name_timeout
from paceline.http.asgi import Message, Receive, Scope, headers_of
from paceline.http.binding import is_struct, struct_errors
from paceline.http.problem import ClientDisconnected, HttpError, InvalidRequest
from paceline.json_keys import RepeatedKeyError, check_distinct_keys

_WITH_FRACTION: Final = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_BEYOND_INTEGERS: Final = 2**64


def body_reader(kind: Any, max_bytes: int) -> Callable[[Scope, Receive], Awaitable[Any]]:
    """The function that reads a body of type ``kind`` and of at most ``max_bytes`` bytes."""
    decode = msgspec.json.Decoder(kind).decode
    integers = _integer_fields(kind)

    async def read(scope: Scope, receive: Receive) -> Any:
        raw = await read_body(scope, receive, max_bytes)
        try:
            try:
                value = decode(raw)
            except msgspec.ValidationError:
                plain = _with_plain_integers(raw, integers)
                if plain is None:
                    raise
                value = decode(plain)
        except msgspec.ValidationError as exc:
            raise InvalidRequest(struct_errors(_parse(raw), kind, exc, strict=True)) from exc
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise _malformed(exc) from exc
        _require_distinct_keys(raw)
        return value

    return read


def _integer_fields(kind: Any) -> frozenset[str]:
    """The fields of a struct that are integers, or None."""
    if not is_struct(kind):
        return frozenset()
    fields = msgspec.structs.fields(kind)
    return frozenset(each.encode_name for each in fields if _is_integer(each.type))


def _is_integer(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _is_integer(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return all(_is_integer(each) or each is NoneType for each in get_args(kind))
    return kind is int


def _with_plain_integers(raw: bytes, names: AbstractSet[str]) -> bytes | None:
    """The body with 5.0 and 5e0 as 5, which JSON Schema calls integers; None if it has none.

    Of the fields in ``names`` only; all other text stays as it is.
    """
    if not names:
        return None
    try:
        given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    whole = {
        name: msgspec.Raw(b"%d" % number)
        for name in names & given.keys()
        if (number := _whole_number(bytes(given[name]))) is not None
    }
    return msgspec.json.encode({**given, **whole}) if whole else None


def _whole_number(text: bytes) -> int | None:
    if not _WITH_FRACTION.fullmatch(text):
        return None
    number = Decimal(text.decode())
    fits = abs(number) < _BEYOND_INTEGERS and number == number.to_integral_value()
    return int(number) if fits else None


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body. Errors: HttpError(413), ClientDisconnected."""
    declared = headers_of(scope).get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > max_bytes:
        raise _too_large(max_bytes)
    message = await _received(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= max_bytes:
        return body
    chunks = [body]
    size = len(body)
    while message.get("more_body", False) and size <= max_bytes:
        message = await _received(receive)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if size > max_bytes:
        raise _too_large(max_bytes)
    return b"".join(chunks)


async def _received(receive: Receive) -> Message:
    try:
        message = await receive()
    except asyncio.CancelledError:
        name_timeout("reading the request's body")
        raise
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message


def _parse(raw: bytes) -> object:
    """The whole document: the typed decoder stopped at the first wrong value."""
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _malformed(exc) from exc
    _require_distinct_keys(raw)
    return value


def _require_distinct_keys(raw: bytes) -> None:
    try:
        check_distinct_keys(raw)
    except (RepeatedKeyError, UnicodeDecodeError, RecursionError) as exc:
        raise _malformed(exc) from exc


def _malformed(exc: Exception) -> HttpError:
    match exc:
        case RecursionError():
            reason = "it is nested too deeply"
        case RepeatedKeyError():
            reason = str(exc)
        case UnicodeDecodeError():
            reason = "it is not UTF-8"
        case _:
            reason = str(exc).removeprefix("JSON is malformed: ").lower()
    return HttpError(HTTPStatus.BAD_REQUEST, f"the body is not valid JSON: {reason}")


def _too_large(max_bytes: int) -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than {max_bytes} bytes",
        headers=[(b"connection", b"close")],
    )
