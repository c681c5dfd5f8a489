"""grpcio's client on bytes: methods by their path, for servers whose messages have no stubs."""

from grpc import aio


def _same(raw: bytes) -> bytes:
    return raw


def one(channel: aio.Channel, path: str) -> "aio.UnaryUnaryMultiCallable[bytes, bytes]":
    """One message to one."""
    return channel.unary_unary(path, request_serializer=_same, response_deserializer=_same)


def many(channel: aio.Channel, path: str) -> "aio.UnaryStreamMultiCallable[bytes, bytes]":
    """One message to many."""
    return channel.unary_stream(path, request_serializer=_same, response_deserializer=_same)


def gathered(channel: aio.Channel, path: str) -> "aio.StreamUnaryMultiCallable[bytes, bytes]":
    """Many messages to one."""
    return channel.stream_unary(path, request_serializer=_same, response_deserializer=_same)


def both(channel: aio.Channel, path: str) -> "aio.StreamStreamMultiCallable[bytes, bytes]":
    """Many messages to many."""
    return channel.stream_stream(path, request_serializer=_same, response_deserializer=_same)
