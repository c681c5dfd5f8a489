"""gRPC: one application of typed methods, served by grpcio's aio server in this process.

Methods are declared with what they need, and interceptors wrap them all alike, unary and streaming,
the service's own and the health service's. Invariant: bytes are decoded, errors translated and
answers encoded here, so a handler receives messages and raises ``paceline.errors``.

Example: ``app = RpcApp(*interceptors)``, ``app.add("my.v1.Things", {"Get": unary(handler.get)})``,
``server = RpcServer(app, host="127.0.0.1", port=50051)``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.grpc.app import RpcApp
    from paceline.grpc.call import Call, Endpoint, ErrorStatus, Interceptor, Method
    from paceline.grpc.description import (
        RpcMethodDescription,
        RpcServiceDescription,
        describe,
    )
    from paceline.grpc.fields import (
        convert_field,
        convert_text,
        convert_time,
        convert_uuid,
        timestamp,
        unix_seconds,
    )
    from paceline.grpc.health import HEALTH_METHODS, add_health
    from paceline.grpc.methods import MethodHandler, exchange, stream, unary
    from paceline.grpc.reflection import add_reflection
    from paceline.grpc.server import RpcLimits, RpcServer
    from paceline.grpc.status import STATUS, error_status_of
    from paceline.grpc.streams import ShuttingDown
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Call": "call",
            "Endpoint": "call",
            "ErrorStatus": "call",
            "HEALTH_METHODS": "health",
            "Interceptor": "call",
            "Method": "call",
            "MethodHandler": "methods",
            "RpcApp": "app",
            "RpcLimits": "server",
            "RpcMethodDescription": "description",
            "RpcServer": "server",
            "RpcServiceDescription": "description",
            "STATUS": "status",
            "ShuttingDown": "streams",
            "add_health": "health",
            "add_reflection": "reflection",
            "convert_field": "fields",
            "convert_text": "fields",
            "convert_time": "fields",
            "convert_uuid": "fields",
            "describe": "description",
            "error_status_of": "status",
            "exchange": "methods",
            "stream": "methods",
            "timestamp": "fields",
            "unary": "methods",
            "unix_seconds": "fields",
        },
        extra="grpc",
    )

__all__ = [
    "HEALTH_METHODS",
    "STATUS",
    "Call",
    "Endpoint",
    "ErrorStatus",
    "Interceptor",
    "Method",
    "MethodHandler",
    "RpcApp",
    "RpcLimits",
    "RpcMethodDescription",
    "RpcServer",
    "RpcServiceDescription",
    "ShuttingDown",
    "add_health",
    "add_reflection",
    "convert_field",
    "convert_text",
    "convert_time",
    "convert_uuid",
    "describe",
    "error_status_of",
    "exchange",
    "stream",
    "timestamp",
    "unary",
    "unix_seconds",
]
