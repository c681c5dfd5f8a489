"""gRPC on grpcio's aio server: one application of typed methods, in this process, stopped by us.

``app`` is where to start: methods are declared with what they need, interceptors wrap them all
alike, unary and streaming, ours and the health service's. Invariant: bytes are decoded, errors
translated and answers encoded here, so a handler sees messages and raises ``paceline.errors``.
Rejected: grpcio's own interceptors, a chain that is run anew for each call and knows neither the
answer nor the error. Then read ``call``, ``status``, ``server``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.grpc.app import RpcApp
    from paceline.grpc.call import Call, Method
    from paceline.grpc.fields import convert_field, convert_text, convert_uuid, unix_seconds
    from paceline.grpc.health import PROBES, add_health
    from paceline.grpc.methods import stream, unary
    from paceline.grpc.reflection import add_reflection
    from paceline.grpc.server import RpcServer
    from paceline.grpc.streams import Ended
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Call": "call",
            "Ended": "streams",
            "Method": "call",
            "PROBES": "health",
            "RpcApp": "app",
            "RpcServer": "server",
            "add_health": "health",
            "add_reflection": "reflection",
            "convert_field": "fields",
            "convert_text": "fields",
            "convert_uuid": "fields",
            "stream": "methods",
            "unary": "methods",
            "unix_seconds": "fields",
        },
        extra="grpc",
    )

__all__ = [
    "PROBES",
    "Call",
    "Ended",
    "Method",
    "RpcApp",
    "RpcServer",
    "add_health",
    "add_reflection",
    "convert_field",
    "convert_text",
    "convert_uuid",
    "stream",
    "unary",
    "unix_seconds",
]
