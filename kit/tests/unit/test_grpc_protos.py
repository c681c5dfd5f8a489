"""The messages of health and reflection beside grpcio's own, in one process."""

from dataclasses import dataclass

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default
from grpc_health.v1 import health_pb2 as their_health
from grpc_reflection.v1alpha import reflection_pb2 as their_reflection

from paceline.grpc.protos import health_pb2, reflection_pb2, reflection_v1alpha_pb2


@dataclass(frozen=True)
class Pair:
    name: str
    ours: FileDescriptor
    theirs: FileDescriptor


def registered(module: str) -> FileDescriptor:
    """What the module of generated code has put into the default pool."""
    return Default().FindFileByName(module.replace(".", "/").removesuffix("_pb2") + ".proto")


PAIRS = [
    Pair("health", health_pb2.DESCRIPTOR, registered(their_health.__name__)),
    Pair("v1alpha", reflection_v1alpha_pb2.DESCRIPTOR, registered(their_reflection.__name__)),
    # Version 1 is v1alpha under another name.
    Pair("v1", reflection_pb2.DESCRIPTOR, registered(their_reflection.__name__)),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_messages_and_services_are_those_of_the_world(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    assert set(ours.message_types_by_name) == set(theirs.message_types_by_name)
    for name, message in ours.message_types_by_name.items():
        other = theirs.message_types_by_name[name]
        numbers = {field.name: (field.number, field.type) for field in message.fields}
        assert numbers == {field.name: (field.number, field.type) for field in other.fields}
    for name, service in ours.services_by_name.items():
        other_service = theirs.services_by_name[name]
        assert set(service.methods_by_name) == set(other_service.methods_by_name)
        for method in service.methods:
            other_method = other_service.methods_by_name[method.name]
            assert method.input_type.name == other_method.input_type.name
            assert method.output_type.name == other_method.output_type.name
            assert method.server_streaming == other_method.server_streaming
            assert method.client_streaming == other_method.client_streaming


def test_they_are_in_pools_of_their_own() -> None:
    files = [health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR, reflection_v1alpha_pb2.DESCRIPTOR]
    pools = [Default(), *(file.pool for file in files)]
    assert len({id(pool) for pool in pools}) == 4


def test_one_reads_what_the_other_wrote() -> None:
    ours = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
    theirs = their_health.HealthCheckResponse.FromString(ours.SerializeToString())
    assert theirs.status == their_health.HealthCheckResponse.NOT_SERVING
