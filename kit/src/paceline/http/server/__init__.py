"""The HTTP server: listener, HTTP/1.1 connections, TLS, limits and graceful stop.

Any ASGI application runs on it.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.http.server.addresses import host_and_port, reachable_host, server_url
    from paceline.http.server.certificate import Certificate, read_certificate
    from paceline.http.server.fair_share import ConnectionTable, FairShare, SharedListener
    from paceline.http.server.fields import encode_fields, encode_status
    from paceline.http.server.limits import ServerLimits
    from paceline.http.server.listener import bind_socket, listen_error
    from paceline.http.server.prepared import PreparedResponse
    from paceline.http.server.server import HttpServer
    from paceline.http.server.state import AdmissionCheck
    from paceline.http.server.streams import RequestStream, StreamApp, StreamHandler
    from paceline.http.server.tls import TlsFile, TlsFiles, TlsFilesError
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AdmissionCheck": "state",
            "Certificate": "certificate",
            "ConnectionTable": "fair_share",
            "FairShare": "fair_share",
            "HttpServer": "server",
            "PreparedResponse": "prepared",
            "RequestStream": "streams",
            "ServerLimits": "limits",
            "SharedListener": "fair_share",
            "StreamApp": "streams",
            "StreamHandler": "streams",
            "TlsFile": "tls",
            "TlsFiles": "tls",
            "TlsFilesError": "tls",
            "bind_socket": "listener",
            "encode_fields": "fields",
            "encode_status": "fields",
            "host_and_port": "addresses",
            "listen_error": "listener",
            "reachable_host": "addresses",
            "read_certificate": "certificate",
            "server_url": "addresses",
        },
    )

__all__ = [
    "AdmissionCheck",
    "Certificate",
    "ConnectionTable",
    "FairShare",
    "HttpServer",
    "PreparedResponse",
    "RequestStream",
    "ServerLimits",
    "SharedListener",
    "StreamApp",
    "StreamHandler",
    "TlsFile",
    "TlsFiles",
    "TlsFilesError",
    "bind_socket",
    "encode_fields",
    "encode_status",
    "host_and_port",
    "listen_error",
    "reachable_host",
    "read_certificate",
    "server_url",
]
