"""gRPC: one application of typed methods, served by gRPC, gRPC-Web and Connect on one port.

Methods are declared with what they need, and interceptors wrap them all alike, unary and streaming,
the service's own and the health service's. Invariant: bytes are decoded, errors translated and
answers encoded here, so a handler receives messages and raises ``paceline.errors``.

Example: ``app = RpcApp(*interceptors)``, ``app.add("my.v1.Things", {"Get": unary(handler.get)})``,
``server = RpcServer(app, log, host="127.0.0.1", port=50051)``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.grpc.app import AdmissionCheck, RpcApp
    from paceline.grpc.call import Call, Context, Endpoint, ErrorStatus, Interceptor, Method
    from paceline.grpc.cors import read_origins
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
    from paceline.grpc.limits import RpcLimits
    from paceline.grpc.metadata import Metadata
    from paceline.grpc.methods import MethodHandler, client_stream, exchange, stream, unary
    from paceline.grpc.reflection import add_reflection
    from paceline.grpc.route import Route
    from paceline.grpc.server import RpcServer
    from paceline.grpc.status import STATUS, error_status_of
    from paceline.grpc.streams import ShuttingDown
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AdmissionCheck": "app",
            "Call": "call",
            "Context": "call",
            "Endpoint": "call",
            "ErrorStatus": "call",
            "HEALTH_METHODS": "health",
            "Interceptor": "call",
            "Metadata": "metadata",
            "Method": "call",
            "MethodHandler": "methods",
            "Route": "route",
            "RpcApp": "app",
            "RpcLimits": "limits",
            "RpcMethodDescription": "description",
            "RpcServer": "server",
            "RpcServiceDescription": "description",
            "STATUS": "status",
            "ShuttingDown": "streams",
            "add_health": "health",
            "add_reflection": "reflection",
            "client_stream": "methods",
            "convert_field": "fields",
            "convert_text": "fields",
            "convert_time": "fields",
            "convert_uuid": "fields",
            "describe": "description",
            "error_status_of": "status",
            "exchange": "methods",
            "read_origins": "cors",
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
    "AdmissionCheck",
    "Call",
    "Context",
    "Endpoint",
    "ErrorStatus",
    "Interceptor",
    "Metadata",
    "Method",
    "MethodHandler",
    "Route",
    "RpcApp",
    "RpcLimits",
    "RpcMethodDescription",
    "RpcServer",
    "RpcServiceDescription",
    "ShuttingDown",
    "add_health",
    "add_reflection",
    "client_stream",
    "convert_field",
    "convert_text",
    "convert_time",
    "convert_uuid",
    "describe",
    "error_status_of",
    "exchange",
    "read_origins",
    "stream",
    "timestamp",
    "unary",
    "unix_seconds",
]
