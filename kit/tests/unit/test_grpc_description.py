"""Methods as data: names and kinds from the proto, texts from handlers, examples of requests."""

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from rpc_echo import SERVICE as ECHO
from rpc_echo import add_echo

from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.description import RpcServiceDescription, describe
from paceline.grpc.health import add_health
from paceline.grpc.methods import unary
from paceline.health import Health
from paceline.testing import RecordingLog

SERVICE = "paceline.test.described.Things"


def register() -> None:
    """A service whose request has a field of every sort."""
    file = FileDescriptorProto(
        name="paceline/test/described.proto", package="paceline.test.described", syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )  # fmt: skip
    kind = FieldDescriptorProto
    colour = file.enum_type.add(name="Colour")
    colour.value.add(name="UNSPECIFIED", number=0)
    colour.value.add(name="BLUE", number=1)
    part = file.message_type.add(name="Part")
    part.field.add(name="other_id", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    thing = file.message_type.add(name="Thing")
    labels = thing.nested_type.add(name="LabelsEntry")
    labels.field.add(name="key", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    labels.field.add(name="value", number=2, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    labels.options.map_entry = True
    own, one = ".paceline.test.described", kind.LABEL_OPTIONAL
    add = thing.field.add
    add(name="id", number=1, type=kind.TYPE_STRING, label=one)
    add(name="name", number=2, type=kind.TYPE_STRING, label=one)
    add(name="note", number=3, type=kind.TYPE_STRING, label=one)
    add(name="size", number=4, type=kind.TYPE_INT64, label=one)
    add(name="ready", number=5, type=kind.TYPE_BOOL, label=one)
    add(name="colour", number=6, type=kind.TYPE_ENUM, type_name=f"{own}.Colour", label=one)
    add(name="part", number=7, type=kind.TYPE_MESSAGE, type_name=f"{own}.Part", label=one)
    add(name="parts", number=8, type=kind.TYPE_MESSAGE, type_name=f"{own}.Part",
        label=kind.LABEL_REPEATED)  # fmt: skip
    add(name="labels", number=9, type=kind.TYPE_MESSAGE, type_name=f"{own}.Thing.LabelsEntry",
        label=kind.LABEL_REPEATED)  # fmt: skip
    add(name="at", number=10, type=kind.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp",
        label=one)  # fmt: skip
    thing.oneof_decl.add(name="choice")
    add(name="this", number=11, type=kind.TYPE_INT32, label=one, oneof_index=0)
    add(name="that", number=12, type=kind.TYPE_INT32, label=one, oneof_index=0)
    thing.oneof_decl.add(name="_version")
    add(name="version", number=13, type=kind.TYPE_INT64, label=one, oneof_index=1,
        proto3_optional=True)  # fmt: skip
    service = file.service.add(name="Things")
    service.method.add(name="Get", input_type=f"{own}.Thing", output_type=f"{own}.Part")
    Default().AddSerializedFile(file.SerializeToString())


register()


async def get(request: object, call: Call) -> object:
    """Get one.

    It is there.
    """
    raise NotImplementedError


def described(app: RpcApp) -> dict[str, RpcServiceDescription]:
    return {each.name: each for each in describe(app, sample_id=lambda number: f"id-{number}")}


def test_a_method_has_its_kind_its_messages_and_its_handlers_text() -> None:
    app = RpcApp()
    app.add(SERVICE, {"Get": unary(get, scopes=["things:read", "admin"])})  # type: ignore[type-var]
    (method,) = described(app)[SERVICE].methods
    assert (method.name, method.kind, method.scopes) == ("Get", "unary", ["admin", "things:read"])
    assert method.request == "paceline.test.described.Thing"
    assert method.response == "paceline.test.described.Part"
    assert (method.summary, method.description) == ("Get one", "It is there.")


def test_an_example_has_what_a_request_needs() -> None:
    app = RpcApp()
    app.add(SERVICE, {"Get": unary(get)})  # type: ignore[type-var]
    (method,) = described(app)[SERVICE].methods
    assert method.example == {
        "id": "id-1", "name": "example", "note": "", "size": 1, "ready": False, "colour": "BLUE",
        "part": {"other_id": "id-2"}, "parts": [], "labels": {}, "this": 1,
    }  # fmt: skip


def test_streams_are_named_and_grpcs_own_services_are_left_out() -> None:

    app = RpcApp()
    add_echo(app)
    add_health(app, Health({}, RecordingLog(), draining=lambda: False))
    found = described(app)
    assert list(found) == [ECHO]
    assert [(one.name, one.kind) for one in found[ECHO].methods] == [
        ("Say", "unary"), ("Count", "stream"), ("Join", "client_stream"), ("Chat", "exchange"),
    ]  # fmt: skip
