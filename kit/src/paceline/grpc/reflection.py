"""Server reflection, v1 and v1alpha: tools such as grpcurl read the protos from the server.

Without a token and for development: it shows every proto that the process has loaded, so a service
turns it on by a setting. Both versions have the same messages under different names, and the same
handler; tools ask for v1 first and fall back. Invariant: within a stream, a file is sent once, but
for the file that is asked for, which is always in its answer.

Source: grpc/reflection/v1/reflection.proto; where that leaves open what an answer holds, it is what
grpc-go's server answers.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar, cast

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import Message

from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.methods import exchange
from paceline.grpc.protos import reflection_pb2 as pb
from paceline.grpc.protos import reflection_v1alpha_pb2 as pb_alpha

T = TypeVar("T")


def add_reflection(app: RpcApp) -> None:
    """Add both versions of the service, without a token."""
    protos = LoadedProtos(app)
    # The same fields under another name; each handler answers with the messages of its version.
    alpha = cast("type[pb.ServerReflectionResponse]", pb_alpha.ServerReflectionResponse)
    for file, answer in (
        (pb.DESCRIPTOR, pb.ServerReflectionResponse),
        (pb_alpha.DESCRIPTOR, alpha),
    ):
        info = _handler(protos, answer)
        service = file.services_by_name["ServerReflection"]
        app.add(service, {"ServerReflectionInfo": exchange(info, public=True)})


_Info = Callable[[AsyncIterator[Message], Call], AsyncGenerator[Message, None]]


def _handler(protos: "LoadedProtos", kind: type[pb.ServerReflectionResponse]) -> _Info:
    async def info(requests: AsyncIterator[Message], call: Call) -> AsyncGenerator[Message, None]:
        """Answer questions about the services and their protos."""
        del call
        asked = cast("AsyncIterator[pb.ServerReflectionRequest]", requests)
        sent: set[str] = set()
        async for request in asked:
            answer = kind(valid_host=request.host, original_request=request)
            _fill(answer, request, protos, sent)
            yield answer

    return info


def _fill(
    answer: pb.ServerReflectionResponse,
    request: pb.ServerReflectionRequest,
    protos: "LoadedProtos",
    sent: set[str],
) -> None:
    try:
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in protos.services():
                    answer.list_services_response.service.add(name=name)
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                numbers = protos.extension_numbers(name)
                answer.all_extension_numbers_response.base_type_name = name
                answer.all_extension_numbers_response.extension_number.extend(numbers)
            case "file_by_filename":
                _add_file(answer, protos.file(request.file_by_filename), sent)
            case "file_containing_symbol":
                _add_file(answer, protos.file_of_symbol(request.file_containing_symbol), sent)
            case "file_containing_extension":
                extension = request.file_containing_extension
                file = protos.file_of_extension(
                    extension.containing_type, extension.extension_number
                )
                _add_file(answer, file, sent)
            case None:
                raise Error(Code.INVALID_ARGUMENT, "the request has no message_request")
    except KeyError as exc:
        answer.error_response.error_code = Code.NOT_FOUND
        answer.error_response.error_message = str(exc.args[0])


def _add_file(answer: pb.ServerReflectionResponse, file: FileDescriptor, sent: set[str]) -> None:
    """The file, and those that it imports and that have not been sent in this stream."""
    encoded = answer.file_descriptor_response.file_descriptor_proto
    sent.discard(file.name)
    waiting = [file]
    for each in waiting:
        if each.name not in sent:
            sent.add(each.name)
            encoded.append(each.serialized_pb)
            waiting.extend(each.dependencies)


class LoadedProtos:
    """What the process knows of protos: those of the services of ``app``, and the default pool's.

    Names are full names, without a leading dot. Errors of all: KeyError with a text for the caller.
    """

    def __init__(self, app: RpcApp) -> None:
        self._app = app

    def services(self) -> list[str]:
        """The services, in order."""
        return sorted(self._app.services)

    def file(self, name: str) -> FileDescriptor:
        """A file by its path, as others import it."""
        return self._first(lambda pool: pool.FindFileByName(name), f"file {name}")

    def file_of_symbol(self, name: str) -> FileDescriptor:
        """The file that declares a service, a method, a message, a field, an enum or a value."""

        def find(pool: DescriptorPool) -> FileDescriptor:
            try:
                return pool.FindFileContainingSymbol(name)
            except KeyError:  # of everything that a file declares, methods are not found
                return pool.FindMethodByName(name).containing_service.file

        return self._first(find, f"symbol {name}")

    def file_of_extension(self, kind: str, number: int) -> FileDescriptor:
        """The file that extends the message ``kind`` by the field ``number``."""

        def find(pool: DescriptorPool) -> FileDescriptor:
            extended = pool.FindMessageTypeByName(kind)
            extension = pool.FindExtensionByNumber(extended, number)
            return pool.FindFileContainingSymbol(extension.full_name)

        return self._first(find, f"extension {number} of {kind}")

    def extension_numbers(self, kind: str) -> list[int]:
        """The numbers of all extensions of the message ``kind``, in order; maybe none."""

        def find(pool: DescriptorPool) -> list[int]:
            extended = pool.FindMessageTypeByName(kind)
            return sorted(each.number for each in pool.FindAllExtensions(extended))

        return self._first(find, f"message {kind}")

    def _first(self, find: Callable[[DescriptorPool], T], what: str) -> T:
        for pool in self._pools():
            with suppress(KeyError):
                return find(pool)
        raise KeyError(f"there is no {what}")

    def _pools(self) -> list[DescriptorPool]:
        """Each pool once; the default one last, since it may have another version of a file."""
        default = Default()
        found: list[DescriptorPool] = []
        for descriptor, _ in self._app.described:
            pool = descriptor.file.pool
            if pool is not default and not any(pool is each for each in found):
                found.append(pool)
        return [*found, default]
