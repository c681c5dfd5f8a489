"""Messages as JSON, in protobuf's canonical mapping: what Connect's "json" codec is.

A service works on bytes of protobuf, so JSON becomes these and back. ``json_format`` is imported
when a method is first called so: a service that is only called by gRPC does without. Unknown
fields are ignored, as Connect's own servers do; nesting is bounded.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from paceline.errors import Code, Error

_MAX_DEPTH: Final = 100
_WELL_KNOWN: Final = "google.protobuf."  # the JSON of some is no object
_MAX_REASON: Final = 300
Codec = Callable[[bytes], bytes]


@lru_cache(maxsize=1024)
def json_codec(method: MethodDescriptor) -> tuple[Codec, Codec]:
    """What makes a request's bytes of JSON, and JSON of an answer's bytes.

    The first raises Error(INVALID_ARGUMENT), the second ValueError for what has no JSON.
    """
    return (
        partial(_from_json, GetMessageClass(method.input_type), _pool_of(method.input_type)),
        partial(_to_json, GetMessageClass(method.output_type), _pool_of(method.output_type)),
    )


def json_value(message: Message, pool: DescriptorPool) -> Any:
    """A message as plain data. Errors: ValueError for one that has no JSON."""
    from google.protobuf import json_format  # noqa: PLC0415 - see the module

    try:
        return json_format.MessageToDict(message, descriptor_pool=pool)
    except (json_format.Error, DecodeError, TypeError) as exc:
        raise ValueError(f"{message.DESCRIPTOR.full_name} has no JSON: {exc}") from exc


def _pool_of(kind: Descriptor) -> DescriptorPool:
    pool: DescriptorPool = kind.file.pool
    return pool


def _from_json(kind: type[Message], pool: DescriptorPool, raw: bytes) -> bytes:
    from google.protobuf import json_format  # noqa: PLC0415 - see the module

    name = kind.DESCRIPTOR.full_name
    if not raw:
        raise Error(Code.INVALID_ARGUMENT, f"the request is empty: send the JSON of a {name}, {{}}")
    if not name.startswith(_WELL_KNOWN) and raw.lstrip()[:1] != b"{":
        # The parser takes a list or a text for a message without fields.
        raise Error(
            Code.INVALID_ARGUMENT, f"the request is not the JSON of a {name}: it is no object"
        )
    try:
        message = json_format.Parse(
            raw.decode(),
            kind(),
            ignore_unknown_fields=True,
            descriptor_pool=pool,
            max_recursion_depth=_MAX_DEPTH,
        )
        return message.SerializeToString()
    except RecursionError:
        reason = "it is nested too deeply"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except (json_format.Error, ValueError, TypeError, KeyError, AttributeError) as exc:
        # The parser's own checks have gaps, in which Python's errors appear.
        reason = str(exc)[:_MAX_REASON]
    raise Error(Code.INVALID_ARGUMENT, f"the request is not the JSON of a {name}: {reason}")


def _to_json(kind: type[Message], pool: DescriptorPool, raw: bytes) -> bytes:
    return msgspec.json.encode(json_value(kind.FromString(raw), pool))
