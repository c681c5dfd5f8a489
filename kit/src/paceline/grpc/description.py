"""The methods of an application as plain data, for pages that list them.

Names, kinds and messages come from the descriptors, texts from the handlers' docstrings (generated
code has no comments). The example of a request has a value for every field that is not optional,
by its name and type, since a proto says nothing else about it: ids are sample ids, a ``name`` has
some text, numbers are 1, and everything else is empty.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Final

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

from paceline.grpc.app import RpcApp
from paceline.grpc.methods import Kind, MethodHandler

_STANDARD: Final = "grpc."  # health and reflection, which every tool knows
_WELL_KNOWN: Final = "google.protobuf."  # their JSON is not an object of their fields
_MAX_DEPTH: Final = 6


class RpcMethodDescription(msgspec.Struct, frozen=True):
    """One method. ``example``: a request, as JSON."""

    name: str
    kind: Kind
    request: str
    response: str
    scopes: list[str]
    public: bool
    summary: str
    description: str
    example: dict[str, Any]


class RpcServiceDescription(msgspec.Struct, frozen=True):
    """One service, by its full name."""

    name: str
    methods: list[RpcMethodDescription]


def describe(app: RpcApp, *, sample_id: Callable[[int], object]) -> list[RpcServiceDescription]:
    """The services of ``app`` and their methods, without gRPC's own (health, reflection).

    ``sample_id``: makes the ids in an example, from 1, 2, …
    """
    return [
        RpcServiceDescription(
            descriptor.full_name,
            [
                _method(
                    descriptor.methods_by_name[name], handler, (str(sample_id(n)) for n in count(1))
                )
                for name, handler in handlers.items()
            ],
        )
        for descriptor, handlers in app.described
        if not descriptor.full_name.startswith(_STANDARD)
    ]


def _method(
    descriptor: MethodDescriptor, handler: MethodHandler, ids: Iterator[str]
) -> RpcMethodDescription:
    summary, _, description = (inspect.getdoc(handler.run) or "").partition("\n")
    return RpcMethodDescription(
        descriptor.name,
        handler.kind,
        descriptor.input_type.full_name,
        descriptor.output_type.full_name,
        sorted(handler.scopes),
        handler.public,
        summary.rstrip("."),
        description.strip(),
        _message(descriptor.input_type, ids, 0),
    )


def _message(kind: Descriptor, ids: Iterator[str], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        return {}
    return {field.name: _value(field, ids, depth) for field in _needed(kind)}


def _needed(kind: Descriptor) -> Iterable[FieldDescriptor]:
    """Its fields, without optional ones, all but the first of alternatives, and times and such."""
    for field in kind.fields:
        group = field.containing_oneof
        message: Descriptor | None = field.message_type
        if message is not None and message.full_name.startswith(_WELL_KNOWN):
            continue
        if group is None or (len(group.fields) > 1 and group.fields[0] is field):
            yield field


def _value(field: FieldDescriptor, ids: Iterator[str], depth: int) -> Any:
    message: Descriptor | None = field.message_type
    kinds: EnumDescriptor | None = field.enum_type
    if isinstance(field.default_value, list):  # it is repeated
        is_map = message is not None and message.GetOptions().map_entry
        found: Any = {} if is_map else []
    elif message is not None:
        found = _message(message, ids, depth + 1)
    elif kinds is not None:
        found = kinds.values[-1].name
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        found = _text(field.name, ids)
    else:
        found = False if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else 1
    return found


def _text(name: str, ids: Iterator[str]) -> str:
    if name == "id" or name.endswith("_id"):
        return next(ids)
    return "example" if name == "name" else ""
